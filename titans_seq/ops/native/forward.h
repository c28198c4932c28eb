/* One row, chunk by chunk: the keys' way through the anchor, the reads, the writes (design 3.2). */

/* Outputs, activations and errors of the keys; slope and bend where there is room. z is given where it was saved. */
static void NAMED(key_path)(work_t *s, long n, REAL *const *anchor, REAL *const *z, int known) {
    const struct chunk_call *c = s->c;
    const long L = s->L, last = L - 1, Dv = s->w[L], ldv = s->ld[L];
    for (long j = 0; j < L; j++) {
        if (!known) NAMED(through)(s, n, j, s->a[j], anchor[j], z[j], SET);
        if (j < last) NAMED(activate)(c->activation, n * s->ld[j + 1], z[j], s->a[j + 1], s->slope[j], s->bend[j]);
    }
    for (long t = 0; t < n; t++) {
        const REAL *out = z[last] + t * ldv, *v = s->v + t * ldv, *k = s->a[0] + t * s->ld[0];
        REAL *normal = s->normal + t * ldv, *gap = s->gap + t * ldv, *error = s->error + t * ldv, *d = s->d[last] + t * ldv;
        if (c->normalised) s->rstd[t] = NAMED(layer_norm)(Dv, out, normal);
        else memcpy(normal, out, Dv * sizeof(REAL));
        for (long i = 0; i < Dv; i++) gap[i] = normal[i] - v[i] + (c->residual ? k[i] : 0);
        NAMED(error)(c, ldv, gap, v, s->threshold[t], error);
        if (c->normalised) NAMED(layer_norm_back)(Dv, error, normal, s->rstd[t], d);
        else memcpy(d, error, Dv * sizeof(REAL));
    }
    for (long j = last; j > 0; j--) {
        NAMED(flip)(s->w[j], s->w[j + 1], anchor[j], s->flipped_anchor[j]);
        NAMED(back)(s, n, j, s->d[j], s->flipped_anchor[j], s->t[j - 1], SET);
        NAMED(times)(n * s->ld[j], s->t[j - 1], s->slope[j - 1], s->d[j - 1]);
        if (known) NAMED(times)(n * s->ld[j], s->t[j - 1], s->bend[j - 1], s->t[j - 1]); /* all that is asked of them later */
    }
}

/* P = x y^T of tokens, lower triangle; y's transpose is packed on the way. */
static void NAMED(scores)(work_t *s, long n, long width, long ld, const REAL *x, const REAL *y, REAL *P) {
    NAMED(pack_transposed)(width, n, y, ld, s->packed);
    NAMED(gemm)(n, n, width, x, ld, 1, s->packed, P, s->ldC, NR, SET, RESULT_LOWER);
}

/* P times G, zero above the diagonal. */
static void NAMED(times_gates)(const work_t *s, long n, const REAL *P, REAL *out) {
    const long ld = s->ldC;
    for (long t = 0; t < n; t++) {
        for (long i = 0; i <= t; i++) out[t * ld + i] = P[t * ld + i] * s->gates.G[t * ld + i];
        memset(out + t * ld + t + 1, 0, (ld - t - 1) * sizeof(REAL));
    }
}

/* out = x + ratio y, panels of layer j. */
static void NAMED(join)(const work_t *s, long count, const REAL *x, const REAL *y, REAL *out) {
    for (long i = 0; i < count; i += VL) STORE(out + i, LOAD(x + i) + s->gates.ratio * LOAD(y + i));
}

/* The queries' outputs zq = beta A h + f S h - (h a^T o G) d, layer by layer. */
static void NAMED(read)(work_t *s, long n, REAL *const *zq) {
    const struct chunk_call *c = s->c;
    const long joined = s->gates.joined;
    for (long j = 0; j < s->L; j++) {
        NAMED(weigh)(n, s->ld[j], s->h[j], s->gates.beta + 1, s->scaled);
        NAMED(through)(s, joined, j, s->scaled, s->A[j], zq[j], SET);
        if (joined < n) {
            NAMED(join)(s, s->panel[j], s->A[j], s->S[j], s->flipped);
            NAMED(through)(s, n - joined, j, s->scaled + joined * s->ld[j], s->flipped, zq[j] + joined * s->ld[j + 1], SET);
        }
        if (s->parts == 2) {
            NAMED(weigh)(joined, s->ld[j], s->h[j], s->gates.f + 1, s->scaled);
            NAMED(through)(s, joined, j, s->scaled, s->S[j], zq[j], ADD);
        }
        NAMED(scores)(s, n, s->w[j], s->ld[j], s->h[j], s->a[j], s->P);
        NAMED(times_gates)(s, n, s->P, s->P);
        NAMED(pack)(n, s->w[j + 1], s->d[j], s->ld[j + 1], s->packed);
        NAMED(gemm)(n, s->w[j + 1], n, s->P, s->ldC, 1, s->packed, zq[j], s->ld[j + 1], NR, SUBTRACT, LEFT_LOWER);
        if (j + 1 < s->L) NAMED(activate)(c->activation, n * s->ld[j + 1], zq[j], s->h[j + 1], NULL, NULL);
    }
}

/* The reads of a piece, in `other`, and the length of every token's surprise, in `rate_bar`. */
static void NAMED(emit)(work_t *s, long n, const REAL *zq) {
    const struct chunk_call *c = s->c;
    const long Dv = s->w[s->L], ldv = s->ld[s->L];
    for (long t = 0; t < n; t++) {
        REAL *y = s->other + t * Dv, square = 0;
        if (c->normalised) NAMED(layer_norm)(Dv, zq + t * ldv, y);
        else memcpy(y, zq + t * ldv, Dv * sizeof(REAL));
        for (long i = 0; c->residual && i < Dv; i++) y[i] += s->h[0][t * s->ld[0] + i];
        for (long j = 0; j < s->L; j++) {
            const REAL *d = s->d[j] + t * s->ld[j + 1], *a = s->a[j] + t * s->ld[j];
            square += NAMED(dot)(s->ld[j + 1], d, d) * NAMED(dot)(s->ld[j], a, a);
        }
        s->rate_bar[t] = SQRT(square);
    }
}

/* A <- keep A + push S - sum_j share0_j d_j a_j^T and S <- keep S - sum_j share1_j d_j a_j^T. */
static void NAMED(write)(work_t *s, long n) {
    const gates_t *g = &s->gates;
    const REAL keep = g->beta[n], fade = g->m[n], push = g->f[n];
    for (long j = 0; j < s->L; j++) {
        REAL *A = s->A[j], *S = s->S[j];
        for (long i = 0; i < s->panel[j]; i += VL) {
            vec old = keep * LOAD(A + i);
            if (s->parts == 2) {
                old += push * LOAD(S + i);
                STORE(S + i, fade * LOAD(S + i));
            }
            STORE(A + i, old);
        }
        NAMED(pack)(n, s->w[j + 1], s->d[j], s->ld[j + 1], s->packed);
        NAMED(weigh)(n, s->ld[j], s->a[j], g->G + (n - 1) * g->ld, s->scaled);
        NAMED(outer)(s, n, j, s->scaled, s->packed, A, SUBTRACT);
        if (s->parts == 1) continue;
        const long felt = g->felt, rest = n - felt;
        if (felt) NAMED(pack)(rest, s->w[j + 1], s->d[j] + felt * s->ld[j + 1], s->ld[j + 1], s->packed);
        NAMED(weigh)(rest, s->ld[j], s->a[j] + felt * s->ld[j], g->e + (n - 1) * g->ld + felt, s->scaled);
        NAMED(outer)(s, rest, j, s->scaled, s->packed, S, SUBTRACT);
    }
}

/* Where the parts of a piece's record lie; without a record, in the row's own room. */
static void NAMED(unpack_record)(work_t *s, REAL *record, REAL **A, REAL **S, REAL **z, REAL **zq) {
    for (long j = 0; j < s->L; j++) {
        A[j] = record, record += s->panel[j];
        if (s->parts == 2) S[j] = record, record += s->panel[j];
        z[j] = record, record += s->C * s->ld[j + 1];
        zq[j] = record, record += s->C * s->ld[j + 1];
    }
}

static void NAMED(begin_piece)(work_t *s, long row, int64_t at, long n) {
    const struct chunk_call *c = s->c;
    NAMED(fetch)(s, &c->q, row, at, n, s->w[0], s->ld[0], s->h[0]);
    NAMED(fetch)(s, &c->k, row, at, n, s->w[0], s->ld[0], s->a[0]);
    NAMED(fetch)(s, &c->v, row, at, n, s->w[s->L], s->ld[s->L], s->v);
    NAMED(fetch)(s, &c->rate, row, at, n, 1, 1, s->rate);
    NAMED(fetch)(s, &c->forget, row, at, n, 1, 1, s->forget);
    NAMED(fetch)(s, &c->momentum, row, at, n, 1, 1, s->momentum);
    NAMED(fetch)(s, &c->threshold, row, at, n, 1, 1, s->threshold);
    const uint8_t *const mask = c->mask ? c->mask + row / c->heads * c->tokens + at : NULL;
    NAMED(gates_forward)(&s->gates, n, s->rate, c->forget.data ? s->forget : NULL, c->momentum.data ? s->momentum : NULL,
                         mask);
    NAMED(gates_settle)(&s->gates, n, s->rate, c->momentum.data ? s->momentum : NULL, mask);
}

static void NAMED(forward_row)(work_t *s, long row) {
    const struct chunk_call *c = s->c;
    const long pieces = NAMED(pieces)(c), Dv = s->w[s->L];
    REAL *record = c->saved ? (REAL *)c->saved + row * pieces * s->record : NULL;
    const REAL *start = (const REAL *)c->start + row * s->parts * s->size;
    REAL *z[LAYERS], *zq[LAYERS], *A[LAYERS], *S[LAYERS];
    NAMED(from_flat)(s, start, s->A);
    if (s->parts == 2) NAMED(from_flat)(s, start + s->size, s->S);
    if (c->anchor) NAMED(from_flat)(s, (const REAL *)c->anchor + row * s->size, s->anchor);
    memcpy(z, s->z, sizeof z);
    memcpy(zq, s->zq, sizeof zq);
    for (int64_t at = 0, n; at < c->tokens; at += n) {
        n = NAMED(piece)(c, at);
        if (record) {
            NAMED(unpack_record)(s, record, A, S, z, zq);
            for (long j = 0; j < s->L; j++) {
                memcpy(A[j], s->A[j], s->panel[j] * sizeof(REAL));
                if (s->parts == 2) memcpy(S[j], s->S[j], s->panel[j] * sizeof(REAL));
            }
            record += s->record;
        }
        NAMED(begin_piece)(s, row, at, n);
        NAMED(key_path)(s, n, at == 0 && c->anchor ? s->anchor : s->A, z, 0);
        NAMED(read)(s, n, zq);
        NAMED(emit)(s, n, zq[s->L - 1]);
        NAMED(deliver)(s, &c->y, row, at, n, Dv, Dv, s->other);
        NAMED(deliver)(s, &c->surprise, row, at, n, 1, 1, s->rate_bar);
        NAMED(write)(s, n);
        if (c->last_anchor && (c->offset + at + n) % c->chunk == 0) /* the last border that is passed stays */
            NAMED(to_flat)(s, s->A, (REAL *)c->last_anchor + row * s->size);
    }
    NAMED(to_flat)(s, s->A, (REAL *)c->end + row * s->parts * s->size);
    if (s->parts == 2) NAMED(to_flat)(s, s->S, (REAL *)c->end + (row * s->parts + 1) * s->size);
}
