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

/* The four (or fewer) steps of a transposition: at distance 1, 2, 4, ... the off-diagonal squares of every pair change
 * places, by what goes to the upper and to the lower vector of a pair. */
struct NAMED(steps) {
    ivec upper[4], lower[4];
};

INLINE void NAMED(prepare)(struct NAMED(steps) *steps) {
    for (int level = 0, s = 1; s < VL; level++, s *= 2)
        for (int l = 0; l < VL; l++) {
            steps->upper[level][l] = l & s ? VL + l - s : l;
            steps->lower[level][l] = l & s ? VL + l : l + s;
        }
    /* To be read from memory where they are used: GCC would build them anew, number by number, for every square. */
    __asm__ volatile("" : "+m"(*steps));
}

/* A square of VL vectors, transposed. */
INLINE void NAMED(transpose)(const struct NAMED(steps) *steps, vec *x) {
#pragma GCC unroll 4
    for (int level = 0, s = 1; s < VL; level++, s *= 2)
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) {
            if (i & s) continue;
            vec a = x[i], b = x[i + s];
            x[i] = SHUFFLE(a, b, steps->upper[level]);
            x[i + s] = SHUFFLE(a, b, steps->lower[level]);
        }
}

/* The transpose of a square of `rows` by `columns` numbers, at most VL by VL; zeros stand for rows that are not there. */
INLINE void NAMED(square)(const struct NAMED(steps) *steps, long rows, long columns, const REAL *from, long step, REAL *to,
                          long stride) {
    vec x[VL];
    if (rows == VL && columns == VL) { /* sizes that the compiler knows stay in registers */
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) x[i] = LOAD(from + i * step);
        NAMED(transpose)(steps, x);
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) STORE(to + i * stride, x[i]);
        return;
    }
    for (long k = 0; k < columns; k++)
        for (long i = 0; i < VL; i++) to[k * stride + i] = i < rows ? from[i * step + k] : 0;
}

/* The transpose of rows (N, ld), K columns used: panels of a (K, N) matrix. */
static void NAMED(pack_transposed)(long K, long N, const REAL *rows, long ld, REAL *panels) {
    struct NAMED(steps) steps;
    NAMED(prepare)(&steps);
    for (long n = 0; n < PADDED(N); n += VL) {
        const long left = N - n, here = left < 0 ? 0 : left < VL ? left : VL;
        REAL *to = panels + n / NR * K * NR + n % NR;
        for (long k = 0; k < K; k += VL)
            NAMED(square)(&steps, here, K - k < VL ? K - k : VL, rows + n * ld + k, ld, to + k * NR, NR);
    }
}

/* Panels of a (K, N) matrix -> panels of its transpose (N, K). */
static void NAMED(flip)(long K, long N, const REAL *from, REAL *to) {
    struct NAMED(steps) steps;
    NAMED(prepare)(&steps);
    for (long k = 0; k < PADDED(K); k += VL) {
        const long left = K - k, here = left < 0 ? 0 : left < VL ? left : VL;
        REAL *target = to + k / NR * N * NR + k % NR;
        for (long n = 0; n < N; n += VL)
            NAMED(square)(&steps, here, N - n < VL ? N - n : VL, from + n / NR * K * NR + n % NR + k * NR, NR, target + n * NR, NR);
    }
}
