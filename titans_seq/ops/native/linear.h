/* y = x W' + b and its adjoints: x (rows, key), W (value, key), y (rows, value), b (value), all without gaps.
 *
 * Every number of a result is one sum in the order of its index, whatever the number of rows, of threads, or the place of
 * a row among them: so a row alone has the bits that it has in a batch, and a stream those of its pieces. */

/* Columns from `n` on of rows (K, N) without gaps as one panel, zeros behind the last column. */
static void NAMED(panel_of)(long K, long N, long n, const REAL *rows, REAL *panel) {
    const long here = NAMED(least)(NR, N - n);
    for (long k = 0; k < K; k++, panel += NR) {
        memcpy(panel, rows + k * N + n, here * sizeof(REAL));
        if (here < NR) memset(panel + here, 0, (NR - here) * sizeof(REAL));
    }
}

/* C (rows, N) = A (rows, K) B + bias, B as panels; `edge` (rows, NR) takes the columns of a panel that is not full. */
static void NAMED(product)(long rows, long N, long K, const REAL *A, const REAL *B, const REAL *bias, REAL *C, REAL *edge) {
    const long whole = N / NR * NR;
    if (bias)
        for (long r = 0; r < rows; r++) memcpy(C + r * N, bias, whole * sizeof(REAL));
    NAMED(gemm)(rows, whole, K, A, K, 1, B, C, N, NR, bias ? ADD : SET, FULL);
    if (whole == N) return;
    NAMED(gemm)(rows, N - whole, K, A, K, 1, B + whole * K, edge, NR, NR, SET, FULL);
    for (long r = 0; r < rows; r++)
        for (long n = whole; n < N; n++) C[r * N + n] = edge[r * NR + n - whole] + (bias ? bias[n] : 0);
}

/* Rows [from, to) of the adjoints of W and b; `x_panels` (LINEAR_SUMS, key) and `sums` (to - from, key), padded. */
static void NAMED(weight_sums)(const struct layer_call *c, long from, long to, REAL *x_panels, REAL *sums) {
    const long R = c->batch * c->tokens, K = c->key, N = c->value, ld = PADDED(K);
    const REAL *x = c->x, *y_bar = c->y_bar;
    memset(sums, 0, (to - from) * ld * sizeof(REAL));
    for (long r = 0; r < R; r += LINEAR_SUMS) {
        const long rows = NAMED(least)(LINEAR_SUMS, R - r);
        for (long k = 0; k < K; k += NR) NAMED(panel_of)(rows, K, k, x + r * K, x_panels + k * rows);
        NAMED(gemm)(to - from, K, rows, y_bar + r * N + from, 1, N, x_panels, sums, ld, NR, ADD, FULL);
    }
    for (long n = from; n < to; n++) memcpy((REAL *)c->weight_bar + n * K, sums + (n - from) * ld, K * sizeof(REAL));
    REAL *bias_bar = c->gate_bar;
    if (!bias_bar) return;
    for (long n = from; n < to; n++) bias_bar[n] = 0;
    for (long r = 0; r < R; r++)
        for (long n = from; n < to; n++) bias_bar[n] += y_bar[r * N + n];
}

/* 0, or 1 where there is no room. */
static int NAMED(linear)(const struct layer_call *c) {
    const long R = c->batch * c->tokens, K = c->key, N = c->value;
    const long blocks = (R + LINEAR_ROWS - 1) / LINEAR_ROWS;
    const long threads = NAMED(least)(c->threads, blocks), share = (N + threads - 1) / threads;
    const long columns = c->backward ? K : N, inner = c->backward ? N : K, packed = PADDED(columns) * inner;
    const long edge = LINEAR_ROWS * NR, own = edge + (c->backward ? LINEAR_SUMS * PADDED(K) + share * PADDED(K) : 0);
    REAL *const panels = titans_room((packed + threads * own) * sizeof(REAL));
    if (!panels) return 1;
    const REAL *const left = c->backward ? c->y_bar : c->x, *const bias = c->backward ? NULL : c->gate;
    REAL *const result = c->backward ? c->x_bar : c->y;
    const long sums = c->backward && c->weight_bar ? threads : 0; /* adjoints that nobody asked for have no room */
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (long n = 0; n < columns; n += NR) {
            const REAL *weight = c->weight;
            if (c->backward) NAMED(panel_of)(N, K, n, weight, panels + n * N);
            else NAMED(pack_transposed)(K, NAMED(least)(NR, N - n), weight + n * K, K, panels + n * K);
        }
#pragma omp for schedule(dynamic, 1)
        for (long part = 0; part < (result ? blocks : 0) + sums; part++) {
            /* a part of the loop uses the room of its thread alone */
            REAL *room = panels + packed + omp_get_thread_num() * own;
            const long block = part - sums;
            if (block < 0) {
                const long from = NAMED(least)(N, part * share), to = NAMED(least)(N, from + share);
                if (from < to) NAMED(weight_sums)(c, from, to, room + edge, room + edge + LINEAR_SUMS * PADDED(K));
                continue;
            }
            const long r = block * LINEAR_ROWS;
            NAMED(product)(NAMED(least)(LINEAR_ROWS, R - r), columns, inner, left + r * inner, panels, bias,
                           result + r * columns, room);
        }
    }
    return 0;
}
