/* Room for one row's work, allocated once per thread, and sizes that follow from the call. */

struct NAMED(work) {
    const struct chunk_call *c;
    long L, C, ldC, parts, widest, size;
    long w[LAYERS + 1], ld[LAYERS + 1];     /* widths, and padded to whole panels */
    long panel[LAYERS], panels;             /* numbers of A's panels per layer, and of all layers */
    long record;                            /* what a chunk leaves for its backward pass: A, S, outputs for k and q */
    gates_t gates;
    REAL *block, *A[LAYERS], *S[LAYERS], *anchor[LAYERS], *flipped_anchor[LAYERS];
    REAL *rate, *forget, *momentum, *threshold; /* of the tokens at hand */
    REAL *v, *a[LAYERS], *z[LAYERS], *slope[LAYERS], *bend[LAYERS], *t[LAYERS], *d[LAYERS], *h[LAYERS], *zq[LAYERS];
    REAL *normal, *gap, *error, *rstd;
    REAL *P, *Q, *scaled, *other, *packed, *flipped;
    /* backward */
    REAL *X[LAYERS], *Y[LAYERS], *anchor_bar[LAYERS], *a_bar[LAYERS], *d_bar[LAYERS], *z_bar[LAYERS], *zq_bar[LAYERS];
    REAL *flipped_A[LAYERS];
    REAL *share0_bar, *share1_bar, *y_bar, *k_bar, *v_bar, *rate_bar, *forget_bar, *momentum_bar;
    REAL *threshold_bar;
};
#define work_t struct NAMED(work)

/* Hands out pieces of a block; with a null block it only counts. */
static REAL *NAMED(take)(REAL *block, size_t *used, long count) {
    REAL *piece = block ? block + *used : NULL;
    *used += (size_t)(count + 15) / 16 * 16;
    return piece;
}

static void NAMED(lay_out)(work_t *s, REAL *block, int backward, size_t *used) {
    const long L = s->L, C = s->C, ldC = s->ldC;
    *used = 0;
#define TAKE(count) NAMED(take)(block, used, count)
    gates_t *g = &s->gates;
    g->ld = ldC;
    g->G = TAKE(C * ldC), g->e = TAKE(C * ldC);
    g->beta = TAKE(C + 1), g->f = TAKE(C + 1), g->m = TAKE(C + 1);
    g->G_bar = TAKE(C * ldC), g->row = TAKE(ldC), g->e_bar = TAKE(ldC);
    g->beta_bar = TAKE(C), g->f_bar = TAKE(C);
    s->rate = TAKE(C), s->forget = TAKE(C), s->momentum = TAKE(C);
    s->threshold = TAKE(C), s->threshold_bar = TAKE(C);
    s->rate_bar = TAKE(C), s->forget_bar = TAKE(C), s->momentum_bar = TAKE(C);
    s->y_bar = TAKE(C * s->ld[L]), s->k_bar = TAKE(C * s->ld[0]), s->v_bar = TAKE(C * s->ld[L]);
    s->v = TAKE(C * s->ld[L]);
    s->normal = TAKE(C * s->ld[L]), s->gap = TAKE(C * s->ld[L]), s->error = TAKE(C * s->ld[L]);
    s->rstd = TAKE(C);
    s->share0_bar = TAKE(ldC), s->share1_bar = TAKE(ldC);
    s->P = TAKE(C * ldC), s->Q = TAKE(C * ldC);
    s->scaled = TAKE((C < 4 ? 4 : C) * s->widest), s->other = TAKE(C * s->widest);
    s->packed = TAKE((C + NR) * s->widest), s->flipped = TAKE(s->widest * s->widest);
    for (long j = 0; j < L; j++) {
        s->A[j] = TAKE(s->panel[j]), s->S[j] = TAKE(s->panel[j]), s->anchor[j] = TAKE(s->panel[j]);
        s->flipped_anchor[j] = TAKE(s->ld[j] * s->w[j + 1]);
        s->a[j] = TAKE(C * s->ld[j]), s->h[j] = TAKE(C * s->ld[j]);
        s->z[j] = TAKE(C * s->ld[j + 1]), s->zq[j] = TAKE(C * s->ld[j + 1]);
        s->slope[j] = TAKE(C * s->ld[j + 1]), s->t[j] = TAKE(C * s->ld[j + 1]), s->d[j] = TAKE(C * s->ld[j + 1]);
        if (!backward) continue;
        s->bend[j] = TAKE(C * s->ld[j + 1]);
        s->X[j] = TAKE(s->panel[j]), s->Y[j] = TAKE(s->panel[j]), s->anchor_bar[j] = TAKE(s->panel[j]);
        s->flipped_A[j] = TAKE(s->ld[j] * s->w[j + 1]);
        s->a_bar[j] = TAKE(C * s->ld[j]), s->d_bar[j] = TAKE(C * s->ld[j + 1]);
        s->zq_bar[j] = TAKE(C * s->ld[j + 1]);
        s->z_bar[j] = j + 1 < L ? s->t[j] : TAKE(C * s->ld[j + 1]); /* room is saved for the cache's sake */
    }
#undef TAKE
}

static void NAMED(measure)(work_t *s, const struct chunk_call *c) {
    memset(s, 0, sizeof *s);
    s->c = c, s->L = c->layers, s->C = c->chunk < c->tokens ? c->chunk : c->tokens;
    s->ldC = PADDED(s->C), s->parts = c->momentum.data ? 2 : 1;
    for (long j = 0; j <= s->L; j++) {
        s->w[j] = c->widths[j], s->ld[j] = PADDED(s->w[j]);
        s->widest = s->ld[j] > s->widest ? s->ld[j] : s->widest;
    }
    s->widest = s->ldC > s->widest ? s->ldC : s->widest;
    s->record = 0;
    for (long j = 0; j < s->L; j++) {
        s->panel[j] = s->w[j] * s->ld[j + 1];
        s->panels += s->panel[j], s->size += s->w[j] * s->w[j + 1];
        s->record += 2 * s->C * s->ld[j + 1];
    }
    s->record += s->parts * s->panels;
}

static int NAMED(open_work)(work_t *s, const struct chunk_call *c, int backward) {
    size_t used;
    NAMED(measure)(s, c);
    NAMED(lay_out)(s, NULL, backward, &used);
    s->block = titans_room(used * sizeof(REAL));
    if (!s->block) return 1;
    int padded = s->ldC != s->C;
    for (long j = 0; j <= s->L; j++) padded |= s->ld[j] != s->w[j];
    if (padded) memset(s->block, 0, used * sizeof(REAL)); /* paddings are zero and stay so; nothing else is read unwritten */
    NAMED(lay_out)(s, s->block, backward, &used);
    return 0;
}

/* A flat row of weights, one (out, in) matrix per layer, to panels of the transposed matrices, and back. */
static void NAMED(from_flat)(const work_t *s, const REAL *flat, REAL *const *panels) {
    for (long j = 0; j < s->L; flat += s->w[j] * s->w[j + 1], j++)
        NAMED(pack_transposed)(s->w[j], s->w[j + 1], flat, s->w[j], panels[j]);
}

static void NAMED(to_flat)(const work_t *s, REAL *const *panels, REAL *flat) {
    for (long j = 0; j < s->L; flat += s->w[j] * s->w[j + 1], j++)
        for (long o = 0; o < s->w[j + 1]; o++)
            for (long i = 0; i < s->w[j]; i++) flat[o * s->w[j] + i] = panels[j][(o / NR * s->w[j] + i) * NR + o % NR];
}

/* Tokens [at, at + n) of a row of x into a buffer with rows of ld numbers, and back; nothing where there is no x. */
static void NAMED(fetch)(const work_t *s, const struct chunk_tokens *x, long row, int64_t at, long n, long width, long ld,
                         REAL *to) {
    if (!x->data) return;
    const REAL *from = (const REAL *)x->data + row / s->c->heads * x->batch + row % s->c->heads * x->head + at * x->token;
    for (long t = 0; t < n; t++, to += ld, from += x->token) {
        if (width == 1) *to = *from;
        else memcpy(to, from, width * sizeof(REAL));
    }
}

static void NAMED(deliver)(const work_t *s, const struct chunk_tokens *x, long row, int64_t at, long n, long width, long ld,
                           const REAL *from) {
    if (!x->data) return;
    REAL *to = (REAL *)x->data + row / s->c->heads * x->batch + row % s->c->heads * x->head + at * x->token;
    for (long t = 0; t < n; t++, from += ld, to += x->token) {
        if (width == 1) *to = *from;
        else memcpy(to, from, width * sizeof(REAL));
    }
}

/* Tokens of the piece that starts at ``at``: up to the next border. */
INLINE long NAMED(piece)(const struct chunk_call *c, int64_t at) {
    int64_t room = c->chunk - (c->offset + at) % c->chunk, left = c->tokens - at;
    return room < left ? room : left;
}

INLINE long NAMED(pieces)(const struct chunk_call *c) {
    return (c->offset % c->chunk + c->tokens + c->chunk - 1) / c->chunk;
}

/* result (n, ld[to]) = rows (n, ld[from]) times packed weights of layer j: forward as they lie, backward flipped. */
INLINE void NAMED(through)(const work_t *s, long n, long j, const REAL *x, const REAL *panels, REAL *out, int how) {
    NAMED(gemm)(n, s->w[j + 1], s->w[j], x, s->ld[j], 1, panels, out, s->ld[j + 1], NR, how, FULL);
}

INLINE void NAMED(back)(const work_t *s, long n, long j, const REAL *d, const REAL *flipped, REAL *out, int how) {
    NAMED(gemm)(n, s->w[j], s->w[j + 1], d, s->ld[j + 1], 1, flipped, out, s->ld[j], NR, how, FULL);
}

/* panels of layer j += or -= x^T d, d packed: what the tokens write. */
INLINE void NAMED(outer)(const work_t *s, long n, long j, const REAL *x, const REAL *packed, REAL *panels, int how) {
    NAMED(gemm)(s->w[j], s->w[j + 1], n, x, 1, s->ld[j], packed, panels, NR, s->w[j] * NR, how, FULL);
}
