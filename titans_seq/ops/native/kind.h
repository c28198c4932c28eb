/* Everything for one number type: included with REAL, REAL_IS_FLOAT, INTEGER, SQRT, KIND and, from the instruction
 * set, ISA, BYTES (of a vector), MR and NV (a tile of the products). */

#define VL (BYTES / (long)sizeof(REAL))

#include "simd.h"
#include "gemm.h"
#include "pointwise.h"
#include "bias.h"
#include "gates.h"
#include "work.h"
#include "forward.h"
#include "backward.h"
#include "layers.h"

/* 0, or 1 where there is no room. */
int JOIN3(titans_chunk, KIND, ISA)(const struct chunk_call *c, int backward) {
    int failed = 0;
    const int most = c->threads < c->rows ? (int)c->threads : (int)c->rows, threads = most > 1 ? most : 1;
#pragma omp parallel num_threads(threads)
    {
        work_t work;
        int mine = NAMED(open_work)(&work, c, backward);
        if (mine) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp barrier
#pragma omp for schedule(dynamic, 1)
        for (long row = 0; row < c->rows; row++)
            if (!failed) (backward ? NAMED(backward_row) : NAMED(forward_row))(&work, row);
    }
    return failed;
}

#undef VL
#undef vec
#undef ivec
#undef NR
#undef INLINE
#undef LOAD
#undef STORE
#undef SPLAT
#undef CHOOSE
#undef SHUFFLE
#undef PADDED
#undef gates_t
#undef work_t
#undef JOIN3_
#undef JOIN3
#undef NAMED
