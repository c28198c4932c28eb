/* Products of small matrices, all in the caches of one core.
 *
 * The right operand is packed in panels of NR columns, (columns / NR, K, NR), zeros behind the last column. The left one
 * is read number by number and may lie either way: element (m, k) at A[m * ars + k * acs]. The result is rows (m at
 * C + m * crs, panel p at + p * cps), which covers both row-major buffers and packed panels. */

/* `rows` rows of `panels` panels that lie K * NR apart in B and cps apart in C. */
INLINE void NAMED(tile)(int rows, int panels, long K, long whole, const REAL *A, long ars, long acs, const REAL *B, REAL *C,
                        long crs, long cps, int how) {
    vec sum[MR][2 * NV];
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
        for (int n = 0; n < panels * NV; n++) sum[m][n] = SPLAT(0);
    for (long k = 0; k < K; k++, A += acs, B += NR) {
        vec b[2 * NV];
#pragma GCC unroll 4
        for (int n = 0; n < panels * NV; n++) b[n] = LOAD(B + n / NV * whole * NR + n % NV * VL);
#pragma GCC unroll 16
        for (int m = 0; m < rows; m++) {
            vec a = SPLAT(A[m * ars]);
#pragma GCC unroll 4
            for (int n = 0; n < panels * NV; n++) sum[m][n] += a * b[n];
        }
    }
#pragma GCC unroll 16
    for (int m = 0; m < rows; m++)
#pragma GCC unroll 4
        for (int n = 0; n < panels * NV; n++) {
            REAL *c = C + m * crs + n / NV * cps + n % NV * VL;
            if (how == SET) STORE(c, sum[m][n]);
            else if (how == ADD) STORE(c, LOAD(c) + sum[m][n]);
            else STORE(c, LOAD(c) - sum[m][n]);
        }
}

/* One function per size and way of the left operand, so that sizes, and strides of one, are known to the compiler. */
#define TILE(size, pair)                                                                                              \
    static void NAMED(of_##size##_##pair)(long K, long whole, const REAL *A, long ars, long acs, const REAL *B,    \
                                             REAL *C, long crs, long cps, int how) {                                  \
        if (acs == 1) NAMED(tile)(size, pair, K, whole, A, ars, 1, B, C, crs, cps, how);                            \
        else NAMED(tile)(size, pair, K, whole, A, 1, acs, B, C, crs, cps, how);                                     \
    }
TILE(1, 1)
TILE(2, 1)
TILE(4, 1)
TILE(MR, 1)
#ifdef MR_OF_TWO
TILE(1, 2)
TILE(2, 2)
TILE(4, 2)
TILE(MR_OF_TWO, 2)
#endif
#undef TILE

static void NAMED(gemm)(long M, long N, long K, const REAL *A, long ars, long acs, const REAL *B, REAL *C, long crs,
                        long cps, int how, int part) {
    for (long n = 0, step; n < N; n += step, B += K * step, C += step / NR * cps) {
        int two = 0, most = MR;
#ifdef MR_OF_TWO /* the corner that RESULT_LOWER saves is worth more than the wider tile */
        two = N - n > NR && part != RESULT_LOWER;
        most = two ? MR_OF_TWO : MR;
#endif
        step = two ? 2 * NR : NR;
        for (long m = 0, rows; m < M; m += rows) {
            long left = M - m, from = 0, to = K;
            rows = left >= most ? most : left >= 4 ? 4 : left >= 2 ? 2 : 1;
            if (part == RESULT_LOWER && m + rows <= n) continue;
            if (part == LEFT_LOWER && m + rows < K) to = m + rows;
            if (part == LEFT_UPPER) from = m < K ? m : K;
            const REAL *a = A + m * ars + from * acs, *b = B + from * NR;
            REAL *c = C + m * crs;
#ifdef MR_OF_TWO
            if (two) {
                (rows == MR_OF_TWO ? NAMED(of_MR_OF_TWO_2)
                 : rows == 4       ? NAMED(of_4_2)
                 : rows == 2       ? NAMED(of_2_2)
                                   : NAMED(of_1_2))(to - from, K, a, ars, acs, b, c, crs, cps, how);
                continue;
            }
#endif
            (rows == MR  ? NAMED(of_MR_1)
             : rows == 4 ? NAMED(of_4_1)
             : rows == 2 ? NAMED(of_2_1)
                         : NAMED(of_1_1))(to - from, K, a, ars, acs, b, c, crs, cps, how);
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

/* A square of VL vectors, transposed: at distance s, 2 s, ... the off-diagonal squares of every pair change places. */
INLINE void NAMED(transpose)(vec *x) {
#pragma GCC unroll 4
    for (int s = 1; s < VL; s *= 2) {
        ivec low, high;
#pragma GCC unroll 16
        for (int l = 0; l < VL; l++) {
            low[l] = l & s ? VL + l - s : l;
            high[l] = l & s ? VL + l : l + s;
        }
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) {
            if (i & s) continue;
            vec a = x[i], b = x[i + s];
            x[i] = SHUFFLE(a, b, low);
            x[i + s] = SHUFFLE(a, b, high);
        }
    }
}

/* Panels of a (K, N) matrix -> panels of its transpose (N, K). */
static void NAMED(flip)(long K, long N, const REAL *from, REAL *to) {
    for (long k0 = 0; k0 < PADDED(K); k0 += VL)
        for (long n0 = 0; n0 < N; n0 += VL) {
            const REAL *source = from + n0 / NR * K * NR + n0 % NR + k0 * NR;
            REAL *target = to + k0 / NR * N * NR + k0 % NR + n0 * NR;
            vec square[VL];
            for (long i = 0; i < VL; i++) {
                if (k0 + i < K) square[i] = LOAD(source + i * NR);
                else square[i] = SPLAT(0);
            }
            NAMED(transpose)(square);
            for (long i = 0; i < VL && n0 + i < N; i++) STORE(target + i * NR, square[i]);
        }
}
