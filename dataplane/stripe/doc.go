// Package stripe knows how a volume's linear blocks become block rows and how a row survives losses:
// geometry, codecs, and plans over sets of columns. It is pure: values and bytes in, values and bytes out.
//
// A page is the unit of placement: n data chunks and p parity chunks. Consecutive stripe units of a page go
// to consecutive columns, so a block row (the n+p blocks at one offset of the chunks) is the unit of
// consistency. Drawn for n = 2, p = 1, a stripe unit of 4 blocks and a chunk of 8:
//
//	page offset:          |0 1 2 3|4 5 6 7|8 9 10 11|12 13 14 15|
//
//	row in the chunk:      0  1  2  3    4  5  6  7
//	column 0 (data):     | 0  1  2  3 |  8  9 10 11 |
//	column 1 (data):     | 4  5  6  7 | 12 13 14 15 |
//	column 2 (parity P): | P0 P1 P2 P3|  P4 ..   P7 |     Pr = code of block r of columns 0, 1
//
// Columns are numbered data first, parities (P, Q, R) after them. With n = 1 the page is the chunk and
// every column holds the same blocks.
//
// # Codes
//
// Parity bytes are on-disk format: golden vectors in testdata/golden.txt pin them, and what follows
// suffices to write them again. D0 .. D(n-1) are the data blocks of a row.
//
// Reed-Solomon (rs, n 1..16, p 0..3) works byte by byte in GF(2^8) modulo x^8+x^4+x^3+x^2+1 (0x11d), with
// the generator 2:
//
//	P = D0 + D1 + D2 ..             coefficient of column i: 1
//	Q = D0 + 2 D1 + 4 D2 ..         coefficient of column i: 2^i
//	R = D0 + 4 D1 + 16 D2 ..        coefficient of column i: 4^i
//
// Every square submatrix of it is regular (columns are 1, x, x^2 for distinct x), so any n columns
// decode. P is a plain XOR, hence one lost data block costs no multiplication while P is there.
//
// Replica (n = 1, p 0..3) is Reed-Solomon with n = 1: all coefficients are 1, parities are copies.
//
// RDP (rdp, n 1..16, p = 2) is row-diagonal parity, Corbett et al., "Row-Diagonal Parity for Double Disk
// Failure Correction", FAST 2004: XOR only. It codes every 4 KiB block on its own, cut into m = prime - 1
// sub-rows of 4096/m bytes. The prime is the smallest of 3, 5, 17 above n: only for those does m divide a
// block, and 17 suffices up to 16 columns. Columns n .. prime-2 are imaginary zeros, P is column prime-1
// of the array:
//
//	P[r] = D0[r] + D1[r] + ..                                          r = 0 .. m-1
//	Q[d] = sum of X_c[r] with (r + c) mod prime = d, c = 0 .. prime-1  d = 0 .. m-1, X_c = D_c, X_(prime-1) = P
//
// Drawn for prime 5, n = 4, by the diagonal that each sub-row belongs to; diagonal 4 is stored nowhere:
//
//	row   D0 D1 D2 D3  P
//	 0     0  1  2  3  4
//	 1     1  2  3  4  0
//	 2     2  3  4  0  1
//	 3     3  4  0  1  2
package stripe
