/* Functions of single numbers and of single tokens: activations with two derivatives, LayerNorm, the bias's error. */

#if REAL_IS_FLOAT
INLINE vec NAMED(exponential)(vec x) {
    x = CHOOSE(x < -87.3f, SPLAT(-87.3f), x);
    x = CHOOSE(x > 88.0f, SPLAT(88.0f), x);
    const vec magic = SPLAT(12582912.0f); /* 1.5 x 2^23: adding it rounds to a whole number */
    vec shifted = x * 1.44269504f + magic, n = shifted - magic;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = SPLAT(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    ivec power = ((ivec)shifted - (ivec)magic + 127) << 23;
    return p * (vec)power;
}

/* exp(x^2) erfc(x) for x >= 0 as t times a polynomial of t = 1 / (1 + 0.45 x), fitted by us: relative error 3e-8. */
INLINE vec NAMED(scaled_erfc)(vec x) {
    static const float c[10] = {0.25388533f, 0.25388284f,  0.22827833f, 0.17519015f,  0.12025781f,
                                -0.02324321f, 0.14392589f, -0.30212895f, 0.19153843f, -0.04158661f};
    vec t = 1.0f / (1.0f + 0.45f * x), p = SPLAT(c[9]);
#pragma GCC unroll 9
    for (int i = 8; i >= 0; i--) p = p * t + c[i];
    return p * t;
}

INLINE void NAMED(normal)(vec z, vec *below, vec *density) {
    vec size = CHOOSE(z < 0, -z, z), e = NAMED(exponential)(z * z * -0.5f);
    vec tail = 0.5f * e * NAMED(scaled_erfc)(size * 0.70710678f);
    *below = CHOOSE(z < 0, tail, 1.0f - tail);
    *density = 0.39894228f * e;
}
#else
INLINE vec NAMED(exponential)(vec x) {
    for (int i = 0; i < VL; i++) x[i] = exp(x[i]);
    return x;
}

INLINE void NAMED(normal)(vec z, vec *below, vec *density) {
    for (int i = 0; i < VL; i++) (*below)[i] = 0.5 * erfc(z[i] * -0.7071067811865476);
    *density = 0.3989422804014327 * NAMED(exponential)(z * z * -0.5);
}
#endif

/* act(z); act'(z) and act''(z) where there is room for them. */
static void NAMED(activate)(int64_t kind, long count, const REAL *z, REAL *value, REAL *slope, REAL *bend) {
    for (long i = 0; i < count; i += VL) {
        vec x = LOAD(z + i), share, rest;
        if (kind == GELU) {
            NAMED(normal)(x, &share, &rest);
            STORE(value + i, x * share);
            if (slope) STORE(slope + i, share + x * rest);
            if (bend) STORE(bend + i, rest * (2 - x * x));
        } else {
            share = 1 / (1 + NAMED(exponential)(-x));
            rest = share * (1 - share);
            STORE(value + i, x * share);
            if (slope) STORE(slope + i, share + x * rest);
            if (bend) STORE(bend + i, rest * (2 + x - 2 * x * share));
        }
    }
}

/* Halves on halves: one number after the other would wait for every sum. */
INLINE REAL NAMED(total)(vec x) {
#pragma GCC unroll 4
    for (int s = VL / 2; s > 0; s /= 2) {
        ivec from;
#pragma GCC unroll 16
        for (int l = 0; l < VL; l++) from[l] = (l + s) % VL;
        x += SHUFFLE(x, x, from);
    }
    return x[0];
}

/* <x, y> of ``count`` numbers, a multiple of VL. */
INLINE REAL NAMED(dot)(long count, const REAL *x, const REAL *y) {
    vec sum = SPLAT(0);
    for (long i = 0; i < count; i += VL) sum += LOAD(x + i) * LOAD(y + i);
    return NAMED(total)(sum);
}

/* y += scale x */
INLINE void NAMED(axpy)(long count, REAL scale, const REAL *x, REAL *y) {
    for (long i = 0; i < count; i += VL) STORE(y + i, LOAD(y + i) + scale * LOAD(x + i));
}

/* out = x y */
INLINE void NAMED(times)(long count, const REAL *x, const REAL *y, REAL *out) {
    for (long i = 0; i < count; i += VL) STORE(out + i, LOAD(x + i) * LOAD(y + i));
}

/* out += x y */
INLINE void NAMED(add_times)(long count, const REAL *x, const REAL *y, REAL *out) {
    for (long i = 0; i < count; i += VL) STORE(out + i, LOAD(out + i) + LOAD(x + i) * LOAD(y + i));
}

/* out[t] = weight[t] x[t] for ``rows`` tokens of width ld */
static void NAMED(weigh)(long rows, long ld, const REAL *x, const REAL *weight, REAL *out) {
    for (long t = 0; t < rows; t++) {
        const vec times = SPLAT(weight[t]);
        for (long i = 0; i < ld; i += VL) STORE(out + t * ld + i, times * LOAD(x + t * ld + i));
    }
}

/* Sums over the numbers of one token, whole vectors first. */
INLINE REAL NAMED(sum_of)(long width, const REAL *x, const REAL *y) {
    vec sums = SPLAT(0);
    long i = 0;
    for (; i + VL <= width; i += VL) {
        if (y) sums += LOAD(x + i) * LOAD(y + i);
        else sums += LOAD(x + i);
    }
    REAL sum = NAMED(total)(sums);
    for (; i < width; i++) sum += y ? x[i] * y[i] : x[i];
    return sum;
}

/* LayerNorm of one token, no affine part. Returns the reciprocal deviation. */
INLINE REAL NAMED(layer_norm)(long width, const REAL *x, REAL *normal) {
    REAL mean = NAMED(sum_of)(width, x, NULL) / width;
    for (long i = 0; i < width; i++) normal[i] = x[i] - mean;
    REAL rstd = 1 / SQRT(NAMED(sum_of)(width, normal, normal) / width + (REAL)1e-5);
    for (long i = 0; i < width; i++) normal[i] *= rstd;
    return rstd;
}

/* Adjoint of LayerNorm, which is also its derivative along e: rstd (e - mean e - normal mean(e normal)). */
INLINE void NAMED(layer_norm_back)(long width, const REAL *e, const REAL *normal, REAL rstd, REAL *out) {
    REAL mean = NAMED(sum_of)(width, e, NULL) / width, along = NAMED(sum_of)(width, e, normal) / width;
    for (long i = 0; i < width; i++) out[i] = rstd * (e[i] - mean - normal[i] * along);
}

