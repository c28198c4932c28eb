/* Both number types for one instruction set; the including file has set ISA, BYTES, MR and NV. */

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "chunk.h"

#define REAL float
#define REAL_IS_FLOAT 1
#define INTEGER int32_t
#define SQRT sqrtf
#define KIND f32
#include "kind.h"
#undef REAL
#undef REAL_IS_FLOAT
#undef INTEGER
#undef SQRT
#undef KIND

#define REAL double
#define REAL_IS_FLOAT 0
#define INTEGER int64_t
#define SQRT sqrt
#define KIND f64
#include "kind.h"
