/* What Python hands to the kernels; the fields and their order are repeated in `arguments.py`. Read once. */
#ifndef TITANS_CHUNK_H
#define TITANS_CHUNK_H

#include <stddef.h>
#include <stdint.h>

/* Changes whenever a structure or a function does; `__init__.py` holds the same number and refuses another library. */
enum { NATIVE_VERSION = 5 };

enum { LAYERS = 8 }; /* most layers of a memory network */

enum bias { L2, DOT_PRODUCT, HUBER, HUBER_NORM, HUBER_MIXTURE, ROBUST };
enum activation { GELU = 0, SILU = 1 };
enum how { SET, ADD, SUBTRACT };                             /* what a product does with the result's old value */
enum part { FULL, LEFT_LOWER, LEFT_UPPER, RESULT_LOWER };    /* the part of a triangular operand or result that is not zero */

/* A tensor with one vector or number per token of every row: its strides in numbers, vectors themselves without gaps.
 * A null pointer stands for what is not there. */
struct chunk_tokens {
    void *data;
    int64_t batch, head, token;
};

/* Rows are batch x heads; what has no strides is contiguous; `real` is float or double. A call reads `tokens` tokens
 * from position `offset` within a chunk of `chunk` tokens. */
struct chunk_call {
    int64_t rows, heads, tokens, chunk, offset, threads;
    int64_t layers, widths[LAYERS + 1];                      /* of keys, hidden layers, values */
    int64_t bias, activation, normalised, residual;
    double max_error, option;                                /* 0: none; the bias's own number: sharpness or shift */
    struct chunk_tokens q, k, v, rate, forget, momentum, threshold;
    const uint8_t *mask;                                     /* (rows / heads, tokens), 0 where a token is passed over */
    const void *start, *anchor;                              /* (rows, R, size) and (rows, size); anchor null at a border */
    void *saved;                                             /* (rows, records, record) */
    struct chunk_tokens y, surprise;                         /* forward */
    void *end, *last_anchor;                                 /* last_anchor: A at the last border passed, or null */
    struct chunk_tokens y_bar;                               /* backward, from here on */
    const void *end_bar, *last_anchor_bar;
    struct chunk_tokens q_bar, k_bar, v_bar, rate_bar, forget_bar, momentum_bar, threshold_bar;
    void *start_bar, *anchor_bar;
};

enum layer { INPUTS, OUTPUTS, SWIGLU, RMS, LINEAR };
enum { LAYER_PARTS = 16 }; /* of the rows of SWIGLU and RMS; the others go by batch row and head */

enum { LINEAR_ROWS = 96, LINEAR_SUMS = 256 }; /* rows of a block of LINEAR: of the products, and of the sums over rows */

/* One of the layers of `layers.h`. */
struct layer_call {
    int64_t what, backward, batch, tokens, heads, key, value, width, threads;
    double eps;
    const void *x, *tail, *weight, *gate, *y_bar;            /* x (B, T, ...), tail (B, width - 1, ...), weight, gate (B, T, ...); LINEAR: gate is b */
    void *y, *x_bar, *tail_bar, *weight_bar, *gate_bar;      /* weight_bar: one sum per part, or per batch row */
    struct chunk_tokens q, k, v;                             /* INPUTS: they or their adjoints; OUTPUTS: reads and theirs */
};

/* At least `bytes` for the calling thread, on huge pages, the same again at its next call; null where there are none. */
void *titans_room(size_t bytes);

/* Ask for huge pages where the system gives them only on demand; no harm where it does not. */
void titans_huge_pages(void *start, size_t bytes);

#endif
