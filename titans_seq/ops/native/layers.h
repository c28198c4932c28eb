/* The layers around a memory, each in one pass over its numbers, forward and backward:
 *
 *   inputs   h = SiLU(sum_i w_i x[t - i]) per channel; per head q, k = h / |h| and v = h
 *   outputs  y = reads / rms(reads) * weight * SiLU(gate), per head
 *   swiglu   y = SiLU(x_1) x_2, x = (x_1, x_2)
 *   rms      y = x / rms(x) * weight
 *   linear   y = x W' + b, in linear.h
 *
 * Adjoints of weights come as sums over fixed parts, so that the number of threads changes no bit. */

static inline long NAMED(least)(long a, long b) { return a < b ? a : b; }

/* SiLU of a padded buffer, and its slope where there is room. */
static void NAMED(silu)(long count, const REAL *x, REAL *y, REAL *slope) {
    for (long i = 0; i < count; i += VL) {
        vec z = LOAD(x + i), share = 1 / (1 + NAMED(exponential)(-z));
        STORE(y + i, z * share);
        if (slope) STORE(slope + i, share + z * share * (1 - share));
    }
}

static REAL *NAMED(at)(const struct chunk_tokens *x, long b, long h, long t) {
    return (REAL *)x->data + b * x->batch + h * x->head + t * x->token;
}

#define AHEAD 6 /* rows: a head's share of a row is too short for the processor's own prefetching */

INLINE void NAMED(ahead)(long n, const REAL *x, int written) {
    for (long j = 0; j < n; j += 64 / (long)sizeof(REAL)) {
        if (written) __builtin_prefetch(x + j, 1);
        else __builtin_prefetch(x + j, 0);
    }
}

/* Row t of x for channels from `first`, which lies in the tail where t < 0. */
static const REAL *NAMED(row_of)(const struct layer_call *c, const void *x, const void *tail, long b, long t, long first) {
    const long W = c->heads * (2 * c->key + c->value), before = c->width - 1;
    if (t >= 0) return (const REAL *)x + (b * c->tokens + t) * W + first;
    return (const REAL *)tail + (b * before + before + t) * W + first;
}

/* What the convolution gives at t, in a padded buffer. */
static void NAMED(convolve)(const struct layer_call *c, long b, long t, long first, long n, REAL *pre) {
    const long W = c->heads * (2 * c->key + c->value);
    for (long i = 0; i < c->width; i++) {
        const REAL *restrict x = NAMED(row_of)(c, c->x, c->tail, b, t - i, first);
        const REAL *restrict w = (const REAL *)c->weight + i * W + first;
        if (i == 0) {
            NAMED(ahead)(n, x + AHEAD * W, 0);
            for (long j = 0; j < n; j++) pre[j] = w[j] * x[j];
        } else
            for (long j = 0; j < n; j++) pre[j] += w[j] * x[j];
    }
}

INLINE REAL NAMED(unit)(long n, const REAL *x) {
    REAL length = SQRT(NAMED(sum_of)(n, x, x));
    return 1 / (length > (REAL)1e-12 ? length : (REAL)1e-12);
}

static void NAMED(inputs_forward)(const struct layer_call *c, long b, long h, REAL *room) {
    const long D = c->key, n = 2 * D + c->value, first = h * n;
    REAL *pre = room, *y = room + PADDED(n);
    for (long t = 0; t < c->tokens; t++) {
        NAMED(convolve)(c, b, t, first, n, pre);
        NAMED(silu)(PADDED(n), pre, y, NULL);
        const REAL one[2] = {NAMED(unit)(D, y), NAMED(unit)(D, y + D)};
        NAMED(ahead)(D, NAMED(at)(&c->q, b, h, t + AHEAD), 1);
        NAMED(ahead)(D, NAMED(at)(&c->k, b, h, t + AHEAD), 1);
        NAMED(ahead)(c->value, NAMED(at)(&c->v, b, h, t + AHEAD), 1);
        REAL *out[2] = {NAMED(at)(&c->q, b, h, t), NAMED(at)(&c->k, b, h, t)};
        for (long s = 0; s < 2; s++)
            for (long j = 0; j < D; j++) out[s][j] = y[s * D + j] * one[s];
        memcpy(NAMED(at)(&c->v, b, h, t), y + 2 * D, c->value * sizeof(REAL));
    }
}

/* Adjoint of h = x / |x|, written to `bar`: one (h_bar - h <h, h_bar>). */
INLINE void NAMED(unit_back)(long n, const REAL *x, REAL one, const REAL *h_bar, REAL *bar) {
    const REAL along = one < (REAL)1e12 ? NAMED(sum_of)(n, x, h_bar) * one * one : 0;
    for (long j = 0; j < n; j++) bar[j] = one * (h_bar[j] - along * x[j]);
}

static void NAMED(inputs_backward)(const struct layer_call *c, long b, long h, REAL *room) {
    const long D = c->key, n = 2 * D + c->value, ld = PADDED(n), first = h * n, W = c->heads * n, width = c->width;
    REAL *pre = room, *y = pre + ld, *slope = y + ld, *recent = slope + ld; /* adjoints of pre, by t modulo width */
    memset(recent, 0, width * ld * sizeof(REAL));
    REAL *weight_bar = (REAL *)c->weight_bar + b * width * W + first;
    for (long i = 0; i < width; i++) memset(weight_bar + i * W, 0, n * sizeof(REAL));
    for (long t = 0; t < c->tokens + width - 1; t++) {
        REAL *bar = recent + t % width * ld;
        if (t < c->tokens) {
            NAMED(convolve)(c, b, t, first, n, pre);
            NAMED(silu)(ld, pre, y, slope);
            NAMED(ahead)(D, NAMED(at)(&c->q, b, h, t + AHEAD), 0);
            NAMED(ahead)(D, NAMED(at)(&c->k, b, h, t + AHEAD), 0);
            NAMED(ahead)(c->value, NAMED(at)(&c->v, b, h, t + AHEAD), 0);
            NAMED(unit_back)(D, y, NAMED(unit)(D, y), NAMED(at)(&c->q, b, h, t), bar);
            NAMED(unit_back)(D, y + D, NAMED(unit)(D, y + D), NAMED(at)(&c->k, b, h, t), bar + D);
            memcpy(bar + 2 * D, NAMED(at)(&c->v, b, h, t), c->value * sizeof(REAL));
            for (long j = 0; j < ld; j += VL) STORE(bar + j, LOAD(bar + j) * LOAD(slope + j));
            for (long i = 0; i < width; i++) {
                const REAL *restrict x = NAMED(row_of)(c, c->x, c->tail, b, t - i, first);
                REAL *restrict sum = weight_bar + i * W;
                for (long j = 0; j < n; j++) sum[j] += bar[j] * x[j];
            }
        } else
            memset(bar, 0, ld * sizeof(REAL));
        /* all that x[t - width + 1] went into is known now */
        const long done = t - width + 1;
        REAL *restrict x_bar = (REAL *)NAMED(row_of)(c, c->x_bar, c->tail_bar, b, done, first);
        NAMED(ahead)(n, x_bar + AHEAD * W, 1);
        for (long i = 0; i < width; i++) {
            const REAL *restrict w = (const REAL *)c->weight + i * W + first;
            const REAL *restrict later = recent + (done + i + width) % width * ld;
            if (i == 0)
                for (long j = 0; j < n; j++) x_bar[j] = done + i < 0 ? 0 : w[j] * later[j];
            else if (done + i >= 0)
                for (long j = 0; j < n; j++) x_bar[j] += w[j] * later[j];
        }
    }
}

static void NAMED(outputs_forward)(const struct layer_call *c, long b, long h, REAL *room) {
    const long n = c->value, W = c->heads * n;
    const REAL *weight = (const REAL *)c->weight + h * n;
    REAL *z = room, *s = room + PADDED(n);
    for (long t = 0; t < c->tokens; t++) {
        const long place = (b * c->tokens + t) * W + h * n;
        const REAL *restrict x = NAMED(at)(&c->q, b, h, t);
        REAL *restrict y = (REAL *)c->y + place;
        memcpy(z, (const REAL *)c->gate + place, n * sizeof(REAL));
        NAMED(silu)(PADDED(n), z, s, NULL);
        const REAL one = 1 / SQRT(NAMED(sum_of)(n, x, x) / n + (REAL)c->eps);
        for (long j = 0; j < n; j++) y[j] = x[j] * one * weight[j] * s[j];
    }
}

static void NAMED(outputs_backward)(const struct layer_call *c, long b, long h, REAL *room) {
    const long n = c->value, ld = PADDED(n), W = c->heads * n;
    const REAL *weight = (const REAL *)c->weight + h * n;
    REAL *weight_bar = (REAL *)c->weight_bar + b * W + h * n;
    REAL *z = room, *s = z + ld, *slope = s + ld, *inner = slope + ld;
    memset(weight_bar, 0, n * sizeof(REAL));
    for (long t = 0; t < c->tokens; t++) {
        const long place = (b * c->tokens + t) * W + h * n;
        const REAL *restrict x = NAMED(at)(&c->q, b, h, t), *restrict y_bar = (const REAL *)c->y_bar + place;
        REAL *restrict gate_bar = (REAL *)c->gate_bar + place, *restrict x_bar = NAMED(at)(&c->k, b, h, t);
        memcpy(z, (const REAL *)c->gate + place, n * sizeof(REAL));
        NAMED(silu)(ld, z, s, slope);
        const REAL one = 1 / SQRT(NAMED(sum_of)(n, x, x) / n + (REAL)c->eps);
        for (long j = 0; j < n; j++) {
            const REAL normal = x[j] * one, bar = y_bar[j] * s[j];
            gate_bar[j] = y_bar[j] * normal * weight[j] * slope[j];
            weight_bar[j] += bar * normal;
            inner[j] = bar * weight[j];
        }
        const REAL along = NAMED(sum_of)(n, inner, x) * one * one / n;
        for (long j = 0; j < n; j++) x_bar[j] = one * (inner[j] - along * x[j]);
    }
}

/* Rows [from, to) of x (rows, 2 n): `value` is n. */
static void NAMED(swiglu)(const struct layer_call *c, long from, long to, int backward, REAL *room) {
    const long n = c->value;
    REAL *z = room, *s = z + PADDED(n), *slope = s + PADDED(n);
    for (long t = from; t < to; t++) {
        const REAL *restrict x = (const REAL *)c->x + t * 2 * n;
        memcpy(z, x, n * sizeof(REAL));
        NAMED(silu)(PADDED(n), z, s, backward ? slope : NULL);
        if (!backward) {
            REAL *restrict y = (REAL *)c->y + t * n;
            for (long j = 0; j < n; j++) y[j] = s[j] * x[n + j];
            continue;
        }
        const REAL *restrict y_bar = (const REAL *)c->y_bar + t * n;
        REAL *restrict x_bar = (REAL *)c->x_bar + t * 2 * n;
        for (long j = 0; j < n; j++) {
            x_bar[j] = y_bar[j] * x[n + j] * slope[j];
            x_bar[n + j] = y_bar[j] * s[j];
        }
    }
}

static void NAMED(rms)(const struct layer_call *c, long from, long to, REAL *weight_bar, REAL *inner) {
    const long n = c->value;
    const REAL *restrict weight = c->weight;
    for (long t = from; t < to; t++) {
        const REAL *restrict x = (const REAL *)c->x + t * n;
        const REAL one = 1 / SQRT(NAMED(sum_of)(n, x, x) / n + (REAL)c->eps);
        if (!weight_bar) {
            REAL *restrict y = (REAL *)c->y + t * n;
            for (long j = 0; j < n; j++) y[j] = x[j] * one * weight[j];
            continue;
        }
        const REAL *restrict y_bar = (const REAL *)c->y_bar + t * n;
        REAL *restrict x_bar = (REAL *)c->x_bar + t * n;
        for (long j = 0; j < n; j++) {
            weight_bar[j] += y_bar[j] * x[j] * one;
            inner[j] = y_bar[j] * weight[j];
        }
        const REAL along = NAMED(sum_of)(n, inner, x) * one * one / n;
        for (long j = 0; j < n; j++) x_bar[j] = one * (inner[j] - along * x[j]);
    }
}

static void NAMED(part_of_layer)(const struct layer_call *c, long part, REAL *room) {
    const long rows = c->batch * c->tokens, from = rows * part / LAYER_PARTS, to = rows * (part + 1) / LAYER_PARTS;
    const long b = part / c->heads, h = part % c->heads;
    switch (c->what) {
    case INPUTS: (c->backward ? NAMED(inputs_backward) : NAMED(inputs_forward))(c, b, h, room); break;
    case OUTPUTS: (c->backward ? NAMED(outputs_backward) : NAMED(outputs_forward))(c, b, h, room); break;
    case SWIGLU: NAMED(swiglu)(c, from, to, (int)c->backward, room); break;
    default: {
        REAL *weight_bar = c->backward ? (REAL *)c->weight_bar + part * c->value : NULL;
        if (weight_bar) memset(weight_bar, 0, c->value * sizeof(REAL));
        NAMED(rms)(c, from, to, weight_bar, room);
    }
    }
}

#include "linear.h"

/* 0, or 1 where there is no room. */
int JOIN3(titans_layer, KIND, ISA)(const struct layer_call *c) {
    if (c->what == LINEAR) return NAMED(linear)(c);
    const long parts = c->what == INPUTS || c->what == OUTPUTS ? c->batch * c->heads : LAYER_PARTS;
    const long count = (c->width + 4) * PADDED(2 * c->key + c->value);
    const int threads = (int)NAMED(least)(c->threads, parts);
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        REAL *room = NULL;
        if (posix_memalign((void **)&room, 64, count * sizeof(REAL))) {
            room = NULL;
#pragma omp atomic write
            failed = 1;
        } else
            memset(room, 0, count * sizeof(REAL));
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
        for (long part = 0; part < parts; part++)
            if (!failed) NAMED(part_of_layer)(c, part, room);
        free(room);
    }
    return failed;
}
