/* Products of small matrices, all in the caches of one core.
 *
 * The right operand is packed in panels of NR columns, (columns / NR, K, NR), zeros behind the last column. The left one
 * is read number by number and may lie either way: element (m, k) at A[m * ars + k * acs]. The result is rows (m at
 * C + m * crs, panel p at + p * cps), which covers both row-major buffers and packed panels. */

INLINE void NAMED(tile)(int rows, long K, const REAL *A, long ars, long acs, const REAL *B, REAL *C, long crs, int how) {
    vec sum[MR][NV];
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) sum[m][n] = SPLAT(0);
    for (long k = 0; k < K; k++, A += acs, B += NR) {
        vec b[NV];
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) b[n] = LOAD(B + n * VL);
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) {
            vec a = SPLAT(A[m * ars]);
#pragma GCC unroll 4
            for (int n = 0; n < NV; n++) sum[m][n] += a * b[n];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
        for (int n = 0; n < NV; n++) {
            REAL *c = C + m * crs + n * VL;
            if (how == SET) STORE(c, sum[m][n]);
            else if (how == ADD) STORE(c, LOAD(c) + sum[m][n]);
            else STORE(c, LOAD(c) - sum[m][n]);
        }
}

/* One function per number of rows and way of the left operand, so that strides of one are known to the compiler. */
#define TILE(rows)                                                                                                    \
    static void NAMED(rows_##rows)(long K, const REAL *A, long ars, long acs, const REAL *B, REAL *C, long crs,       \
                                   int how) {                                                                         \
        if (acs == 1) NAMED(tile)(rows, K, A, ars, 1, B, C, crs, how);                                                \
        else NAMED(tile)(rows, K, A, 1, acs, B, C, crs, how);                                                         \
    }
TILE(1)
TILE(2)
TILE(4)
TILE(MR)
#undef TILE

static void NAMED(gemm)(long M, long N, long K, const REAL *A, long ars, long acs, const REAL *B, REAL *C, long crs,
                        long cps, int how, int part) {
    for (long n = 0; n < N; n += NR, B += K * NR, C += cps) {
        for (long m = 0, rows; m < M; m += rows) {
            long left = M - m, from = 0, to = K;
            rows = left >= MR ? MR : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            if (part == RESULT_LOWER && m + rows <= n) continue;
            if (part == LEFT_LOWER && m + rows < K) to = m + rows;
            if (part == LEFT_UPPER) from = m < K ? m : K;
            const REAL *a = A + m * ars + from * acs, *b = B + from * NR;
            (rows == MR  ? NAMED(rows_MR)
             : rows == 4 ? NAMED(rows_4)
             : rows == 2 ? NAMED(rows_2)
                         : NAMED(rows_1))(to - from, a, ars, acs, b, C + m * crs, crs, how);
        }
    }
}

/* Rows (K, ld), N of them used and the rest up to PADDED(N) zero, as panels. */
static void NAMED(pack)(long K, long N, const REAL *rows, long ld, REAL *panels) {
    for (long n = 0; n < N; n += NR)
        for (long k = 0; k < K; k++, panels += NR)
#pragma GCC unroll 4
            for (int i = 0; i < NV; i++) STORE(panels + i * VL, LOAD(rows + k * ld + n + i * VL));
}

/* The transpose of rows (N, ld), K columns used: panels of a (K, N) matrix. */
static void NAMED(pack_transposed)(long K, long N, const REAL *rows, long ld, REAL *panels) {
    for (long n = 0; n < N; n += NR, panels += K * NR) {
        long here = N - n < NR ? N - n : NR;
        for (long i = 0; i < here; i++)
            for (long k = 0; k < K; k++) panels[k * NR + i] = rows[(n + i) * ld + k];
        for (long i = here; i < NR; i++)
            for (long k = 0; k < K; k++) panels[k * NR + i] = 0;
    }
}

/* Panels of a (K, N) matrix -> panels of its transpose (N, K). */
static void NAMED(flip)(long K, long N, const REAL *from, REAL *to) {
    for (long k0 = 0; k0 < K; k0 += NR, to += N * NR) {
        long here = K - k0 < NR ? K - k0 : NR;
        for (long n = 0; n < N; n++) {
            const REAL *source = from + (n / NR) * K * NR + k0 * NR + n % NR;
            for (long k = 0; k < here; k++) to[n * NR + k] = source[k * NR];
            for (long k = here; k < NR; k++) to[n * NR + k] = 0;
        }
    }
}
