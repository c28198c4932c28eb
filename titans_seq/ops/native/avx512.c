/* For processors with AVX-512. The right operand's panel is two vectors wide: 16 sums of 32 registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#define ISA avx512
#define BYTES 64
#define MR 8
#define NV 2
#include "isa.h"
#endif
