/* What Python hands to the kernels; the fields and their order are repeated in `arguments.py`. Read once. */
#ifndef TITANS_CHUNK_H
#define TITANS_CHUNK_H

#include <stdint.h>

enum { LAYERS = 8 }; /* most layers of a memory network */

enum bias { L2 = 0, DOT_PRODUCT = 1 };
enum activation { GELU = 0, SILU = 1 };
enum how { SET, ADD, SUBTRACT };                             /* what a product does with the result's old value */
enum part { FULL, LEFT_LOWER, LEFT_UPPER, RESULT_LOWER };    /* the part of a triangular operand or result that is not zero */

/* Tensors are contiguous, with rows = batch x heads; `real` is float or double. A null pointer stands for what is not
 * there. A call reads `tokens` tokens from position `offset` within a chunk of `chunk` tokens. */
struct chunk_call {
    int64_t rows, heads, tokens, chunk, offset, threads;
    int64_t layers, widths[LAYERS + 1];                      /* of keys, hidden layers, values */
    int64_t bias, activation, normalised, residual;
    double max_error;                                        /* 0: none */
    const void *q, *k, *v;                                   /* (rows, tokens, width) */
    const void *rate, *forget, *momentum;                    /* (rows, tokens) */
    const uint8_t *mask;                                     /* (rows / heads, tokens), 0 where a token is passed over */
    const void *start, *anchor;                              /* (rows, R, size) and (rows, size); anchor null at a border */
    void *saved;                                             /* (rows, records, record) */
    void *y, *surprise, *end, *last_anchor;                  /* forward; last_anchor: A at the last border passed, or null */
    const void *y_bar, *end_bar, *last_anchor_bar;           /* backward, from here on */
    void *q_bar, *k_bar, *v_bar, *rate_bar, *forget_bar, *momentum_bar, *start_bar, *anchor_bar;
};

#endif
