/* Sums of exponentials, for what follows the table. */

#pragma once

#include <math.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

/* e^x for x <= 0, to about one part in 10^7; e^x = 2^n e^r with r between -ln 2 / 2 and ln 2 / 2. */
INLINE float exponential(float x) {
    x = x < -87 ? -87 : x;
    float n = (float)(int32_t)(x * 1.44269504f - 0.5f), r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1 + r * (1 + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)))));
    union { int32_t i; float f; } scale = {((int32_t)n + 127) << 23};
    return p * scale.f;
}

/* x (A) -> ln softmax x */
INLINE void log_softmax(const int64_t A, const float *x, float *out) {
    float most = x[0], total = 0;
    for (int64_t a = 1; a < A; a++) most = x[a] > most ? x[a] : most;
    for (int64_t a = 0; a < A; a++) total += exponential(x[a] - most);
    const float whole = most + logf(total);
    for (int64_t a = 0; a < A; a++) out[a] = x[a] - whole;
}
