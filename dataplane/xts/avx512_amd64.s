#include "textflag.h"

// What the doubling of a tweak folds back: x^7 + x^2 + x + 1, once per AES block.
DATA poly<>+0(SB)/8, $0x87
DATA poly<>+8(SB)/8, $0
DATA poly<>+16(SB)/8, $0x87
DATA poly<>+24(SB)/8, $0
DATA poly<>+32(SB)/8, $0x87
DATA poly<>+40(SB)/8, $0
DATA poly<>+48(SB)/8, $0x87
DATA poly<>+56(SB)/8, $0
GLOBL poly<>(SB), RODATA|NOPTR, $64

// Shifts that make T, T*x, T*x^2, T*x^3 of four times T: what moves up, and what crosses into the upper half.
DATA up<>+0(SB)/8, $0
DATA up<>+8(SB)/8, $0
DATA up<>+16(SB)/8, $1
DATA up<>+24(SB)/8, $1
DATA up<>+32(SB)/8, $2
DATA up<>+40(SB)/8, $2
DATA up<>+48(SB)/8, $3
DATA up<>+56(SB)/8, $3
GLOBL up<>(SB), RODATA|NOPTR, $64

DATA across<>+0(SB)/8, $64
DATA across<>+8(SB)/8, $64
DATA across<>+16(SB)/8, $63
DATA across<>+24(SB)/8, $63
DATA across<>+32(SB)/8, $62
DATA across<>+40(SB)/8, $62
DATA across<>+48(SB)/8, $61
DATA across<>+56(SB)/8, $61
GLOBL across<>(SB), RODATA|NOPTR, $64

// Z0 to Z7 are the 32 AES blocks of one data unit, Z8 to Z15 their tweaks, Z16 to Z30 the round keys.
// AX is where those are, DI where to, SI where from, BX the tweaks, CX how many.

#define KEY(AT, Z) VBROADCASTI32X4 AT(AX), Z

#define KEYS \
	KEY(0, Z16); \
	KEY(16, Z17); \
	KEY(32, Z18); \
	KEY(48, Z19); \
	KEY(64, Z20); \
	KEY(80, Z21); \
	KEY(96, Z22); \
	KEY(112, Z23); \
	KEY(128, Z24); \
	KEY(144, Z25); \
	KEY(160, Z26); \
	KEY(176, Z27); \
	KEY(192, Z28); \
	KEY(208, Z29); \
	KEY(224, Z30)

// TWEAKS1 makes the first four tweaks of T(0), TWEAKS4 four times x^BITS of them. What leaves the upper half
// comes back times the polynomial, what leaves the lower half enters the upper.

#define TWEAKS1 \
	VBROADCASTI32X4 (BX), Z31; \
	VPSLLVQ         up<>(SB), Z31, Z8; \
	VPSRLVQ         across<>(SB), Z31, Z0; \
	VMOVDQU64       poly<>(SB), Z31; \
	VPCLMULQDQ      $1, Z31, Z0, Z1; \
	VPSLLDQ         $8, Z0, Z0; \
	VPTERNLOGQ      $0x96, Z0, Z1, Z8

#define TWEAKS4(BITS, Z, A, B) \
	VPSRLQ     $(64-BITS), Z8, A; \
	VPCLMULQDQ $1, Z31, A, B; \
	VPSLLDQ    $8, A, A; \
	VPSLLQ     $BITS, Z8, Z; \
	VPTERNLOGQ $0x96, A, B, Z

#define TWEAKS \
	TWEAKS1; \
	TWEAKS4(4, Z9, Z0, Z1); \
	TWEAKS4(8, Z10, Z2, Z3); \
	TWEAKS4(12, Z11, Z4, Z5); \
	TWEAKS4(16, Z12, Z6, Z7); \
	TWEAKS4(20, Z13, Z0, Z1); \
	TWEAKS4(24, Z14, Z2, Z3); \
	TWEAKS4(28, Z15, Z4, Z5)

#define ENTER(AT, T, Z) \
	VPXORQ Z16, T, Z; \
	VPXORQ AT(SI), Z, Z

#define LEAVE(AT, T, Z) \
	VPXORQ    T, Z, Z; \
	VMOVDQU64 Z, AT(DI)

#define ROUND(OP, K) \
	OP K, Z0, Z0; \
	OP K, Z1, Z1; \
	OP K, Z2, Z2; \
	OP K, Z3, Z3; \
	OP K, Z4, Z4; \
	OP K, Z5, Z5; \
	OP K, Z6, Z6; \
	OP K, Z7, Z7

#define UNITS(OP, LAST) \
	KEYS; \
	unit: \
	TWEAKS; \
	ENTER(0, Z8, Z0); \
	ENTER(64, Z9, Z1); \
	ENTER(128, Z10, Z2); \
	ENTER(192, Z11, Z3); \
	ENTER(256, Z12, Z4); \
	ENTER(320, Z13, Z5); \
	ENTER(384, Z14, Z6); \
	ENTER(448, Z15, Z7); \
	ROUND(OP, Z17); \
	ROUND(OP, Z18); \
	ROUND(OP, Z19); \
	ROUND(OP, Z20); \
	ROUND(OP, Z21); \
	ROUND(OP, Z22); \
	ROUND(OP, Z23); \
	ROUND(OP, Z24); \
	ROUND(OP, Z25); \
	ROUND(OP, Z26); \
	ROUND(OP, Z27); \
	ROUND(OP, Z28); \
	ROUND(OP, Z29); \
	ROUND(LAST, Z30); \
	LEAVE(0, Z8, Z0); \
	LEAVE(64, Z9, Z1); \
	LEAVE(128, Z10, Z2); \
	LEAVE(192, Z11, Z3); \
	LEAVE(256, Z12, Z4); \
	LEAVE(320, Z13, Z5); \
	LEAVE(384, Z14, Z6); \
	LEAVE(448, Z15, Z7); \
	ADDQ $512, SI; \
	ADDQ $512, DI; \
	ADDQ $16, BX; \
	DECQ CX; \
	JNZ  unit; \
	VZEROUPPER; \
	RET

// func encryptAVX512(round *[240]byte, dst, src, tweaks *byte, n int)
TEXT ·encryptAVX512(SB), NOSPLIT, $0-40
	MOVQ round+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVQ tweaks+24(FP), BX
	MOVQ n+32(FP), CX
	UNITS(VAESENC, VAESENCLAST)

// func decryptAVX512(round *[240]byte, dst, src, tweaks *byte, n int)
TEXT ·decryptAVX512(SB), NOSPLIT, $0-40
	MOVQ round+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVQ tweaks+24(FP), BX
	MOVQ n+32(FP), CX
	UNITS(VAESDEC, VAESDECLAST)
