/* What follows the table: its readings as experts, their mixture with a network's prediction, and the fast weights that
 * learn while reading. The definition, in torch, is titans_seq/tasks/table_experts.py and titans_seq/tasks/mixing.py;
 * sums are taken in another order here, so numbers differ in the last bits. Rows are independent of each other.
 */

#include "table_math.h"

#include <string.h>

#define HITS 16
#define LOGS 4096 /* runs whose logarithm is looked up */

typedef struct {
    int64_t alphabet, orders, copies, middle, longest; /* middle: the order whose hits make the situation */
    const float *score;        /* orders x 256: ln(n + alpha) */
    const float *seen_log;     /* of the sum of an order's counts */
    const int64_t *seen_step;  /* its step, times 17 */
    const float *run_log;      /* LOGS */
    const int64_t *run_step, *longest_step; /* of runs up to `longest`, beyond which nothing changes; times 8 and 7 */
    const int64_t *miss_step, *middle_step;
} Experts;

INLINE void experts_at(const Experts *make, const int64_t A, const uint8_t *counts, const uint8_t *hits,
                       const int64_t *symbol, const int64_t *run, const int64_t *misses, float *scores,
                       int64_t *confidence, int64_t *situation, float *features) {
    int64_t K = make->orders, P = make->copies, longest = 0;
    for (int64_t k = 0; k < K; k++, counts += A, scores += A, features += A + 2) {
        int64_t total = 0;
        float sum = 0;
        for (int64_t a = 0; a < A; a++) {
            total += counts[a];
            sum += scores[a] = make->score[256 * k + counts[a]];
        }
        float mean = sum / (float)A;
        for (int64_t a = 0; a < A; a++) {
            scores[a] -= mean;
            features[a] = scores[a] / 2;
        }
        features[A] = make->seen_log[total];
        features[A + 1] = (float)hits[k] / HITS;
        confidence[k] = make->seen_step[total] + hits[k];
    }
    for (int64_t p = 0; p < P; p++, scores += A, features += A + 3) {
        int64_t live = symbol[p] < A, steps = run[p] < make->longest ? run[p] : make->longest;
        float rest = live ? -1 / (float)A : 0;
        for (int64_t a = 0; a < A; a++) features[a] = scores[a] = a == symbol[p] ? 1 + rest : rest;
        features[A] = (float)live;
        features[A + 1] = run[p] < LOGS ? make->run_log[run[p]] : logf((float)(run[p] + 1)) / logf(32);
        features[A + 2] = (float)misses[p] / 8;
        confidence[K + p] = make->run_step[steps] + make->miss_step[misses[p]];
        longest = steps > longest ? steps : longest;
    }
    *situation = make->longest_step[longest] + make->middle_step[hits[make->middle]];
}

/* Experts of `count` positions: scores (count, E, A), confidence (count, E), situation (count), features (count, F). */
void titans_table_experts(const Experts *make, int64_t count, const uint8_t *counts, const uint8_t *hits,
                          const int64_t *symbol, const int64_t *run, const int64_t *misses, float *scores,
                          int64_t *confidence, int64_t *situation, float *features, int threads) {
    int64_t A = make->alphabet, K = make->orders, P = make->copies, E = K + P, F = K * (A + 2) + P * (A + 3);
#pragma omp parallel for num_threads(threads) if (threads > 1 && count > 1024)
    for (int64_t i = 0; i < count; i++) {
        if (A == 4)
            experts_at(make, 4, counts + i * K * 4, hits + i * K, symbol + i * P, run + i * P, misses + i * P,
                       scores + i * E * 4, confidence + i * E, situation + i, features + i * F);
        else
            experts_at(make, A, counts + i * K * A, hits + i * K, symbol + i * P, run + i * P, misses + i * P,
                       scores + i * E * A, confidence + i * E, situation + i, features + i * F);
    }
}

/* ---- the mixture --------------------------------------------------------------------------------------------------- */

/* E experts with the network's own prediction as the last; scores and confidence are of the others. */
typedef struct {
    int64_t rows, length, experts, alphabet, chunk, levels, situations, pending;
    double rate;
    const float *gate, *own, *scores;                        /* (B, T, E), (B, T, A), (B, T, E - 1, A) */
    const int64_t *confidence, *sure, *situation, *tokens;   /* (B, T, E - 1), then (B, T) */
    const uint8_t *mask;                                     /* (B, T): positions that teach */
    const float *by_confidence, *by_situation;               /* (E, levels), (situations, E) */
    float *fast_confidence, *fast_situation, *slope;         /* (B, E x levels), (B, situations x E), (B, chunk, E) */
    int64_t *where, *fast_at;                                /* (B, chunk, E), (B, chunk) */
    float *last_scores, *last_chance;                        /* (B, E, A), (B, A) */
    int64_t *last_where, *last_situation;                    /* (B, E), (B,) */
    float *mixed, *weights;                                  /* (B, T, A), (B, T, E) */
} Mixture;

INLINE void learn(const Mixture *mix, int64_t row) {
    int64_t E = mix->experts;
    float *by_confidence = mix->fast_confidence + row * E * mix->levels, rate = (float)mix->rate;
    float *by_situation = mix->fast_situation + row * mix->situations * E;
    for (int64_t j = row * mix->chunk; j < (row + 1) * mix->chunk; j++) {
        float *line = by_situation + mix->fast_at[j] * E;
        for (int64_t e = 0; e < E; e++) {
            float step = rate * mix->slope[j * E + e];
            by_confidence[mix->where[j * E + e]] -= step;
            line[e] -= step;
        }
    }
}

INLINE void mix_row(const Mixture *mix, int64_t row, const int64_t A) {
    int64_t E = mix->experts, L = mix->levels, pending = mix->pending, T = mix->length;
    float *last_scores = mix->last_scores + row * E * A, *last_chance = mix->last_chance + row * A;
    int64_t *last_where = mix->last_where + row * E, *last_situation = mix->last_situation + row;
    const float *fast_confidence = mix->fast_confidence + row * E * L;
    const float *fast_situation = mix->fast_situation + row * mix->situations * E;
    for (int64_t t = 0; t < T; t++) {
        int64_t at = row * T + t, slot = row * mix->chunk + pending, situation = mix->situation[at];
        const float *scores = mix->scores + at * (E - 1) * A, *own = mix->own + at * A;
        float *mixed = mix->mixed + at * A, *weights = mix->weights + at * E, *slope = mix->slope + slot * E;
        int64_t *where = mix->where + slot * E;
        /* What comes here was predicted at the position before. */
        float error[256], sum[256];
        for (int64_t a = 0; a < A; a++) error[a] = mix->mask[at] ? last_chance[a] : 0;
        if (mix->mask[at] && mix->tokens[at] < A) error[mix->tokens[at]] -= 1;
        for (int64_t e = 0; e < E; e++) {
            float dot = 0;
            for (int64_t a = 0; a < A; a++) dot += last_scores[e * A + a] * error[a];
            slope[e] = dot, where[e] = last_where[e];
        }
        mix->fast_at[slot] = *last_situation;
        for (int64_t e = 0; e < E; e++) {
            int64_t level = e * L + (e + 1 < E ? mix->confidence[at * (E - 1) + e] : mix->sure[at]);
            int64_t place = situation * E + e;
            last_where[e] = level;
            weights[e] = mix->gate[at * E + e] + (mix->by_confidence[level] + fast_confidence[level]) +
                         (mix->by_situation[place] + fast_situation[place]);
        }
        weights[E - 1] += 1;
        for (int64_t a = 0; a < A; a++) sum[a] = weights[E - 1] * own[a];
        for (int64_t e = 0; e + 1 < E; e++)
            for (int64_t a = 0; a < A; a++) sum[a] += weights[e] * scores[e * A + a];
        float most = sum[0], total = 0;
        for (int64_t a = 1; a < A; a++) most = sum[a] > most ? sum[a] : most;
        for (int64_t a = 0; a < A; a++) {
            mixed[a] = sum[a];
            total += last_chance[a] = exponential(sum[a] - most);
        }
        for (int64_t a = 0; a < A; a++) last_chance[a] /= total;
        memcpy(last_scores, scores, (size_t)((E - 1) * A) * sizeof(float));
        memcpy(last_scores + (E - 1) * A, own, (size_t)A * sizeof(float));
        *last_situation = situation;
        if (++pending < mix->chunk) continue;
        pending = 0;
        if (mix->rate != 0) learn(mix, row);
    }
}

/* Mix every row, and let its fast weights learn at the borders of chunks. */
void titans_table_mix(const Mixture *mix, int threads) {
#pragma omp parallel for num_threads(threads) if (mix->rows > 1 && threads > 1) schedule(dynamic)
    for (int64_t row = 0; row < mix->rows; row++) {
        if (mix->alphabet == 4) mix_row(mix, row, 4);
        else mix_row(mix, row, mix->alphabet);
    }
}

/* Gradients of a mixture. With w the weights that mixed, l the scores and g what comes back to the mixed logits:
 *   gate_e = sum_a g_a l_e,a          (B, T, E), added up into by_confidence (E, levels) and by_situation (situations, E)
 *   own_a  = w_own g_a                (B, T, A)
 *   log_alpha_k = sum w_k (g_a - mean g) alpha_k / (n_a + alpha_k), `share` (K, 256) holding the last factor
 */
void titans_table_mix_adjoint(const Mixture *mix, const float *back, const uint8_t *counts, const float *share,
                              int64_t orders, float *gate, float *own, float *by_confidence, float *by_situation,
                              double *log_alpha) {
    int64_t A = mix->alphabet, E = mix->experts;
    for (int64_t at = 0; at < mix->rows * mix->length; at++, back += A, own += A, gate += E) {
        const float *scores = mix->scores + at * (E - 1) * A, *weights = mix->weights + at * E;
        float mean = 0;
        for (int64_t a = 0; a < A; a++) mean += back[a] / (float)A;
        for (int64_t e = 0; e < E; e++) {
            const float *line = e + 1 < E ? scores + e * A : mix->own + at * A;
            int64_t level = e + 1 < E ? mix->confidence[at * (E - 1) + e] : mix->sure[at];
            float dot = 0;
            for (int64_t a = 0; a < A; a++) dot += back[a] * line[a];
            gate[e] = dot;
            by_confidence[e * mix->levels + level] += dot;
            by_situation[mix->situation[at] * E + e] += dot;
        }
        for (int64_t a = 0; a < A; a++) own[a] = weights[E - 1] * back[a];
        for (int64_t k = 0; k < orders; k++, counts += A) {
            float dot = 0;
            for (int64_t a = 0; a < A; a++) dot += (back[a] - mean) * share[256 * k + counts[a]];
            log_alpha[k] += (double)(weights[k] * dot);
        }
    }
}
