#include "textflag.h"

// One step of the AES-256 key schedule: X0 and X1 are the two last round keys, X2 is what
// AESKEYGENASSIST made of the later one.

#define PREFIXSUM(K) \
	MOVO   K, X3; \
	PSLLO  $4, X3; \
	PXOR   X3, K; \
	PSLLO  $4, X3; \
	PXOR   X3, K; \
	PSLLO  $4, X3; \
	PXOR   X3, K

#define EVENKEY(RCON, AT) \
	AESKEYGENASSIST $RCON, X1, X2; \
	PSHUFD          $0xff, X2, X2; \
	PREFIXSUM(X0); \
	PXOR            X2, X0; \
	MOVUPS          X0, AT(BX)

#define ODDKEY(AT) \
	AESKEYGENASSIST $0, X0, X2; \
	PSHUFD          $0xaa, X2, X2; \
	PREFIXSUM(X1); \
	PXOR            X2, X1; \
	MOVUPS          X1, AT(BX)

// func expandKey(key *byte, round *[240]byte)
TEXT ·expandKey(SB), NOSPLIT, $0-16
	MOVQ   key+0(FP), AX
	MOVQ   round+8(FP), BX
	MOVUPS 0(AX), X0
	MOVUPS 16(AX), X1
	MOVUPS X0, 0(BX)
	MOVUPS X1, 16(BX)
	EVENKEY(0x01, 32)
	ODDKEY(48)
	EVENKEY(0x02, 64)
	ODDKEY(80)
	EVENKEY(0x04, 96)
	ODDKEY(112)
	EVENKEY(0x08, 128)
	ODDKEY(144)
	EVENKEY(0x10, 160)
	ODDKEY(176)
	EVENKEY(0x20, 192)
	ODDKEY(208)
	EVENKEY(0x40, 224)
	PXOR   X0, X0
	PXOR   X1, X1
	PXOR   X2, X2
	PXOR   X3, X3
	RET

// func invertKey(encrypt, decrypt *[240]byte)
TEXT ·invertKey(SB), NOSPLIT, $0-16
	MOVQ   encrypt+0(FP), AX
	MOVQ   decrypt+8(FP), BX
	MOVUPS 224(AX), X0
	MOVUPS X0, 0(BX)
	MOVUPS 0(AX), X0
	MOVUPS X0, 224(BX)
	MOVQ   $208, CX

inverse:
	MOVUPS (AX)(CX*1), X0
	AESIMC X0, X0
	ADDQ   $16, BX
	MOVUPS X0, (BX)
	SUBQ   $16, CX
	JNZ    inverse
	RET

// X0 to X7 are eight AES blocks, AX the round keys.

#define ROUND(OP, AT) \
	MOVUPS AT(AX), X8; \
	OP     X8, X0; \
	OP     X8, X1; \
	OP     X8, X2; \
	OP     X8, X3; \
	OP     X8, X4; \
	OP     X8, X5; \
	OP     X8, X6; \
	OP     X8, X7

#define ROUNDS(OP, LAST) \
	ROUND(PXOR, 0); \
	ROUND(OP, 16); \
	ROUND(OP, 32); \
	ROUND(OP, 48); \
	ROUND(OP, 64); \
	ROUND(OP, 80); \
	ROUND(OP, 96); \
	ROUND(OP, 112); \
	ROUND(OP, 128); \
	ROUND(OP, 144); \
	ROUND(OP, 160); \
	ROUND(OP, 176); \
	ROUND(OP, 192); \
	ROUND(OP, 208); \
	ROUND(LAST, 224)

#define LOAD(FROM) \
	MOVUPS 0(FROM), X0; \
	MOVUPS 16(FROM), X1; \
	MOVUPS 32(FROM), X2; \
	MOVUPS 48(FROM), X3; \
	MOVUPS 64(FROM), X4; \
	MOVUPS 80(FROM), X5; \
	MOVUPS 96(FROM), X6; \
	MOVUPS 112(FROM), X7

#define STORE(TO) \
	MOVUPS X0, 0(TO); \
	MOVUPS X1, 16(TO); \
	MOVUPS X2, 32(TO); \
	MOVUPS X3, 48(TO); \
	MOVUPS X4, 64(TO); \
	MOVUPS X5, 80(TO); \
	MOVUPS X6, 96(TO); \
	MOVUPS X7, 112(TO)

// func encryptBlocks(round *[240]byte, blocks *byte, groups int)
TEXT ·encryptBlocks(SB), NOSPLIT, $0-24
	MOVQ round+0(FP), AX
	MOVQ blocks+8(FP), BX
	MOVQ groups+16(FP), CX

group:
	LOAD(BX)
	ROUNDS(AESENC, AESENCLAST)
	STORE(BX)
	ADDQ $128, BX
	DECQ CX
	JNZ  group
	RET

// The tweak is kept in R8 (low) and R9 (high). TWEAK puts it down at AT on the stack and doubles it.

#define TWEAK(AT) \
	MOVQ R8, AT(SP); \
	MOVQ R9, (AT+8)(SP); \
	MOVQ R9, R10; \
	SARQ $63, R10; \
	ANDQ $0x87, R10; \
	ADDQ R8, R8; \
	ADCQ R9, R9; \
	XORQ R10, R8

#define TWEAKS \
	TWEAK(0); \
	TWEAK(16); \
	TWEAK(32); \
	TWEAK(48); \
	TWEAK(64); \
	TWEAK(80); \
	TWEAK(96); \
	TWEAK(112)

#define WHITENONE(AT, X) \
	MOVUPS AT(SP), X8; \
	PXOR   X8, X

#define WHITEN \
	WHITENONE(0, X0); \
	WHITENONE(16, X1); \
	WHITENONE(32, X2); \
	WHITENONE(48, X3); \
	WHITENONE(64, X4); \
	WHITENONE(80, X5); \
	WHITENONE(96, X6); \
	WHITENONE(112, X7)

// A data unit is four groups of eight blocks. DI is where to, SI where from, BX the tweaks, CX how many.

#define UNITS(OP, LAST) \
	unit: \
	MOVQ 0(BX), R8; \
	MOVQ 8(BX), R9; \
	MOVQ $4, DX; \
	group: \
	TWEAKS; \
	LOAD(SI); \
	WHITEN; \
	ROUNDS(OP, LAST); \
	WHITEN; \
	STORE(DI); \
	ADDQ $128, SI; \
	ADDQ $128, DI; \
	DECQ DX; \
	JNZ  group; \
	ADDQ $16, BX; \
	DECQ CX; \
	JNZ  unit; \
	RET

// func encryptAESNI(round *[240]byte, dst, src, tweaks *byte, n int)
TEXT ·encryptAESNI(SB), NOSPLIT, $128-40
	MOVQ round+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVQ tweaks+24(FP), BX
	MOVQ n+32(FP), CX
	UNITS(AESENC, AESENCLAST)

// func decryptAESNI(round *[240]byte, dst, src, tweaks *byte, n int)
TEXT ·decryptAESNI(SB), NOSPLIT, $128-40
	MOVQ round+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVQ tweaks+24(FP), BX
	MOVQ n+32(FP), CX
	UNITS(AESDEC, AESDECLAST)
