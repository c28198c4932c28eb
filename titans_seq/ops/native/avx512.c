/* For processors with AVX-512. Tiles of 8 x 2 vectors, or 6 x 4 over two panels, of 32 registers. */
#if defined(__x86_64__) && defined(__GNUC__)
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#define ISA avx512
#define BYTES 64
#define MR 8
#define NV 2
#define MR_OF_TWO 6
#include "isa.h"
#endif
