/* What stands behind the first mixture in reading: titans_seq/tasks/second_mixing.py and averaging.py, the definitions
 * in torch. Both go on token by token, so nothing hangs on how a stream is cut. Rows are independent of each other.
 */

#include <string.h>

#include "table_math.h"

/* ---- the second mixture -------------------------------------------------------------------------------------------- */

/* N parts: the first mixture, the network, E experts. Two mixtures: one by set 0, one by set 1 + `set`, of S sets. */
typedef struct {
    int64_t rows, length, experts, alphabet, sets, span, pending;
    double rate;
    const float *first, *own, *scores;    /* (B, T, A), (B, T, A), (B, T, E, A) */
    const int64_t *set, *tokens;          /* (B, T) */
    const uint8_t *mask;                  /* (B, T): positions that teach */
    float *weights, *slope;               /* (B, S, N): what was learned, and what the unfinished span adds to it */
    float *parts, *chance;                /* (B, N, A), (B, 2, A): the prediction whose token has not come yet */
    int64_t *last_set;                    /* (B,) */
    float *out;                           /* (B, T, 2, A) */
} Second;

INLINE void again_row(const Second *mix, int64_t row, const int64_t A) {
    const int64_t E = mix->experts, N = E + 2, T = mix->length;
    float *weights = mix->weights + row * mix->sets * N, *slope = mix->slope + row * mix->sets * N;
    float *parts = mix->parts + row * N * A, *chance = mix->chance + row * 2 * A;
    int64_t pending = mix->pending;
    for (int64_t t = 0; t < T; t++) {
        const int64_t at = row * T + t;
        float *out = mix->out + at * 2 * A;
        /* What comes here was predicted at the position before. */
        for (int64_t m = 0; m < 2 && mix->mask[at]; m++) {
            float *line = slope + (m ? 1 + mix->last_set[row] : 0) * N, error[256];
            for (int64_t a = 0; a < A; a++) error[a] = chance[m * A + a] - (a == mix->tokens[at]);
            for (int64_t n = 0; n < N; n++) {
                float dot = 0;
                for (int64_t a = 0; a < A; a++) dot += parts[n * A + a] * error[a];
                line[n] += dot;
            }
        }
        memcpy(parts, mix->first + at * A, (size_t)A * sizeof(float));
        memcpy(parts + A, mix->own + at * A, (size_t)A * sizeof(float));
        memcpy(parts + 2 * A, mix->scores + at * E * A, (size_t)(E * A) * sizeof(float));
        mix->last_set[row] = mix->set[at];
        for (int64_t m = 0; m < 2; m++) {
            const float *u = weights + (m ? 1 + mix->set[at] : 0) * N;
            float sum[256];
            for (int64_t a = 0; a < A; a++) sum[a] = parts[a];
            for (int64_t n = 0; n < N; n++)
                for (int64_t a = 0; a < A; a++) sum[a] += u[n] * parts[n * A + a];
            log_softmax(A, sum, out + m * A);
            for (int64_t a = 0; a < A; a++) chance[m * A + a] = exponential(out[m * A + a]);
        }
        if (++pending < mix->span) continue;
        pending = 0;
        for (int64_t i = 0; i < mix->sets * N; i++) weights[i] -= (float)mix->rate * slope[i], slope[i] = 0;
    }
}

/* Log-probabilities (B, T, 2, A) of both; what is carried goes on in place. */
void titans_mix_again(const Second *mix, int threads) {
#pragma omp parallel for num_threads(threads) if (mix->rows > 1 && threads > 1) schedule(dynamic)
    for (int64_t row = 0; row < mix->rows; row++) {
        if (mix->alphabet == 4) again_row(mix, row, 4);
        else again_row(mix, row, mix->alphabet);
    }
}

/* ---- the average over predictors ----------------------------------------------------------------------------------- */

#define MOST 12 /* predictors: mixtures, the network, up to eight orders */

typedef struct {
    int64_t length, experts, alphabet, mixtures, first, orders;
    float keep, prior;
} Average;

INLINE void average_row(const Average *how, const int64_t A, const float *mixed, const float *own, const float *scores,
                        const int64_t *tokens, const uint8_t *mask, float *evidence, float *last, float *out) {
    const int64_t W = how->mixtures, M = W + 1 + how->orders;
    for (int64_t t = 0; t < how->length; t++, mixed += W * A, own += A, scores += how->experts * A, out += A) {
        float most = -INFINITY, total = 0, weight[MOST];
        if (mask[t])
            for (int64_t m = 0; m < M; m++) evidence[m] = how->keep * evidence[m] + last[m * A + tokens[t]];
        for (int64_t m = 0; m < W; m++) log_softmax(A, mixed + m * A, last + m * A);
        log_softmax(A, own, last + W * A);
        for (int64_t m = W + 1; m < M; m++) log_softmax(A, scores + (how->first + m - W - 1) * A, last + m * A);
        for (int64_t m = 0; m < M; m++) {
            weight[m] = evidence[m] - (m < W ? 0 : how->prior);
            most = weight[m] > most ? weight[m] : most;
        }
        for (int64_t m = 0; m < M; m++) total += weight[m] = exponential(weight[m] - most);
        for (int64_t a = 0; a < A; a++) {
            float sum = 0;
            for (int64_t m = 0; m < M; m++) sum += weight[m] * exponential(last[m * A + a]);
            out[a] = logf(sum / total);
        }
    }
}

/* Log-probabilities (rows, length, A); evidence (rows, M) and last (rows, M, A) go on in place. */
void titans_average(int64_t rows, int64_t length, int64_t experts, int64_t alphabet, int64_t mixtures, int64_t first,
                    int64_t orders, float keep, float prior, const float *mixed, const float *own, const float *scores,
                    const int64_t *tokens, const uint8_t *mask, float *evidence, float *last, float *out, int threads) {
    const Average how = {length, experts, alphabet, mixtures, first, orders, keep, prior};
    const int64_t W = mixtures, M = W + 1 + orders, A = alphabet;
#pragma omp parallel for num_threads(threads) if (rows > 1 && threads > 1) schedule(dynamic)
    for (int64_t row = 0; row < rows; row++) {
        const int64_t at = row * length;
        if (A == 4)
            average_row(&how, 4, mixed + at * W * 4, own + at * 4, scores + at * experts * 4, tokens + at, mask + at,
                        evidence + row * M, last + row * M * 4, out + at * 4);
        else
            average_row(&how, A, mixed + at * W * A, own + at * A, scores + at * experts * A, tokens + at, mask + at,
                        evidence + row * M, last + row * M * A, out + at * A);
    }
}
