/* For every other processor, and the one that chooses among all. */
#define ISA generic
#define BYTES 16
#define MR 6
#define NV 2
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)
int titans_chunk_f32_avx512(const struct chunk_call *c, int backward);
int titans_chunk_f64_avx512(const struct chunk_call *c, int backward);
int titans_chunk_f32_avx2(const struct chunk_call *c, int backward);
int titans_chunk_f64_avx2(const struct chunk_call *c, int backward);
int titans_layer_f32_avx512(const struct layer_call *c);
int titans_layer_f64_avx512(const struct layer_call *c);
int titans_layer_f32_avx2(const struct layer_call *c);
int titans_layer_f64_avx2(const struct layer_call *c);
#endif

int titans_version(void) { return NATIVE_VERSION; }

/* 3: AVX-512, 2: AVX2, 1: neither. */
int titans_level(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return 3;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 2;
#endif
    return 1;
}

/* Forward or backward at `level`, or the best this processor has where that is lower. */
int titans_chunk(const struct chunk_call *c, int backward, int is_double, int level) {
    const int best = titans_level();
    if (level > best) level = best;
#if defined(__x86_64__) && defined(__GNUC__)
    if (level == 3) return (is_double ? titans_chunk_f64_avx512 : titans_chunk_f32_avx512)(c, backward);
    if (level == 2) return (is_double ? titans_chunk_f64_avx2 : titans_chunk_f32_avx2)(c, backward);
#endif
    return (is_double ? titans_chunk_f64_generic : titans_chunk_f32_generic)(c, backward);
}

int titans_layer(const struct layer_call *c, int is_double, int level) {
    const int best = titans_level();
    if (level > best) level = best;
#if defined(__x86_64__) && defined(__GNUC__)
    if (level == 3) return (is_double ? titans_layer_f64_avx512 : titans_layer_f32_avx512)(c);
    if (level == 2) return (is_double ? titans_layer_f64_avx2 : titans_layer_f32_avx2)(c);
#endif
    return (is_double ? titans_layer_f64_generic : titans_layer_f32_generic)(c);
}

/* The library is called through ctypes; Python's build tools ask for this name all the same. */
void *PyInit__kernels(void) { return 0; }
