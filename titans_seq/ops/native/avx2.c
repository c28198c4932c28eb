/* For processors with AVX2 and FMA: 12 sums of 16 registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx2,fma")
#define ISA avx2
#define BYTES 32
#define MR 6
#define NV 2
#include "isa.h"
#endif
