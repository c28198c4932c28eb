/* One row, last chunk first. X and Y are the adjoints of A and S behind the chunk; what a chunk sends back to the
 * state at its start is added to them once they were used. */

/* What the tokens that read A + ratio S send to A and S: X1 = sum beta h z_bar^T, ratio X1. Before them all of f is
 * passed on by f at the first of them, whose adjoint is <S, X1> / beta; it is then no longer beta's, which got both. */
static void NAMED(joined_back)(work_t *s, long n, long j, const REAL *S) {
    gates_t *g = &s->gates;
    const long joined = g->joined, rest = n - joined, ld = s->ld[j], ldz = s->ld[j + 1];
    REAL *X = s->X[j], *Y = s->Y[j], *sums = s->flipped;
    vec SX = SPLAT(0);
    NAMED(pack)(rest, s->w[j + 1], s->zq_bar[j] + joined * ldz, ldz, s->packed);
    NAMED(weigh)(rest, ld, s->h[j] + joined * ld, g->beta + 1 + joined, s->scaled);
    NAMED(outer)(s, rest, j, s->scaled, s->packed, sums, SET);
    for (long i = 0; i < s->panel[j]; i += VL) {
        const vec x = LOAD(sums + i);
        SX += x * LOAD(S + i);
        STORE(X + i, LOAD(X + i) + x);
        STORE(Y + i, LOAD(Y + i) + g->ratio * x);
    }
    const REAL f_bar = NAMED(total)(SX) / g->beta[joined + 1];
    g->f_bar[joined] += f_bar;
    g->beta_bar[joined] -= g->ratio * f_bar;
}

/* Through `read` at layer j: h_bar, the adjoints of beta, f and G, what the keys' inputs and errors take of it, and what
 * the state at the chunk's start does. */
static void NAMED(read_back_layer)(work_t *s, long n, long j, const REAL *flipped_A, REAL *const *S, REAL *h_bar) {
    gates_t *g = &s->gates;
    const long ld = s->ld[j], in = s->w[j], out = s->w[j + 1], ldC = s->ldC;
    const long ldz = s->ld[j + 1], joined = g->joined, rest = n - joined;
    const REAL *h = s->h[j], *zq_bar = s->zq_bar[j];
    NAMED(back)(s, joined, j, zq_bar, flipped_A, s->scaled, SET);
    for (long t = 0; t < joined; t++) g->beta_bar[t] += NAMED(dot)(ld, s->scaled + t * ld, h + t * ld);
    NAMED(weigh)(joined, ld, s->scaled, g->beta + 1, h_bar);
    if (s->parts == 2) {
        NAMED(flip)(in, out, S[j], s->flipped);
        NAMED(back)(s, joined, j, zq_bar, s->flipped, s->scaled, SET);
        for (long t = 0; t < joined; t++) {
            g->f_bar[t] += NAMED(dot)(ld, s->scaled + t * ld, h + t * ld);
            NAMED(axpy)(ld, g->f[t + 1], s->scaled + t * ld, h_bar + t * ld);
        }
    }
    if (rest) { /* through beta (A + ratio S) h; what of it is f's, `joined_back` says */
        NAMED(join)(s, ld * out, flipped_A, s->flipped, s->flipped);
        NAMED(back)(s, rest, j, zq_bar + joined * ldz, s->flipped, s->scaled, SET);
        for (long t = 0; t < rest; t++) g->beta_bar[joined + t] += NAMED(dot)(ld, s->scaled + t * ld, h + (joined + t) * ld);
        NAMED(weigh)(rest, ld, s->scaled, g->beta + 1 + joined, h_bar + joined * ld);
    }
    NAMED(scores)(s, n, in, ld, h, s->a[j], s->P);
    NAMED(scores)(s, n, out, ldz, zq_bar, s->d[j], s->Q);
    for (long t = 0; t < n; t++)
        for (long i = 0; i <= t; i++) g->G_bar[t * ldC + i] -= s->P[t * ldC + i] * s->Q[t * ldC + i];
    NAMED(times_gates)(s, n, s->P, s->P);
    NAMED(times_gates)(s, n, s->Q, s->Q);
    NAMED(pack)(n, in, s->a[j], ld, s->packed);
    NAMED(gemm)(n, in, n, s->Q, ldC, 1, s->packed, h_bar, ld, NR, SUBTRACT, LEFT_LOWER);
    NAMED(pack)(n, in, h, ld, s->packed);
    NAMED(gemm)(n, in, n, s->Q, 1, ldC, s->packed, s->a_bar[j], ld, NR, SUBTRACT, LEFT_UPPER);
    NAMED(pack)(n, out, zq_bar, ldz, s->packed);
    NAMED(gemm)(n, out, n, s->P, 1, ldC, s->packed, s->d_bar[j], ldz, NR, SUBTRACT, LEFT_UPPER);
    if (rest) {
        NAMED(joined_back)(s, n, j, S[j]);
        NAMED(pack)(joined, out, zq_bar, ldz, s->packed);
    }
    NAMED(weigh)(joined, ld, h, g->beta + 1, s->scaled);
    NAMED(outer)(s, joined, j, s->scaled, s->packed, s->X[j], ADD);
    if (s->parts == 1) return;
    NAMED(weigh)(joined, ld, h, g->f + 1, s->scaled);
    NAMED(outer)(s, joined, j, s->scaled, s->packed, s->Y[j], ADD);
}

/* Through all reads: y_bar -> the queries' adjoint, in `other`. */
static void NAMED(read_back)(work_t *s, long n, REAL *const *flipped_A, REAL *const *S, REAL *const *zq) {
    const struct chunk_call *c = s->c;
    const long L = s->L, Dv = s->w[L], ldv = s->ld[L];
    for (long j = 0; j + 1 < L; j++)
        NAMED(activate)(c->activation, n * s->ld[j + 1], zq[j], s->h[j + 1], s->zq_bar[j], NULL); /* its slope, for now */
    for (long t = 0; t < n; t++) {
        REAL *bar = s->zq_bar[L - 1] + t * ldv;
        if (!c->normalised) {
            memcpy(bar, s->y_bar + t * ldv, Dv * sizeof(REAL));
            continue;
        }
        REAL rstd = NAMED(layer_norm)(Dv, zq[L - 1] + t * ldv, s->other);
        NAMED(layer_norm_back)(Dv, s->y_bar + t * ldv, s->other, rstd, bar);
    }
    for (long j = L - 1; j >= 0; j--) {
        NAMED(read_back_layer)(s, n, j, flipped_A[j], S, s->other);
        if (j) NAMED(times)(n * s->ld[j], s->other, s->zq_bar[j - 1], s->zq_bar[j - 1]);
    }
    if (c->residual) NAMED(axpy)(n * ldv, 1, s->y_bar, s->other);
}

/* Through the sums of A <- keep A + push S - sum share0 d a^T and its like for S: the first shares of a_bar and d_bar. */
static void NAMED(sums_back)(work_t *s, long n, long j, const REAL *const *share, REAL *const *share_bar) {
    const long ld = s->ld[j + 1];
    REAL *const bars[2] = {s->X[j], s->Y[j]};
    for (long r = 0; r < s->parts; r++) {
        const long first = r ? s->gates.felt : 0; /* tokens before it have no share in S */
        NAMED(through)(s, n - first, j, s->a[j] + first * s->ld[j], bars[r], s->scaled + first * ld, SET);
        if (r == 0) memset(s->d_bar[j], 0, n * ld * sizeof(REAL));
        for (long t = first; t < n; t++) {
            share_bar[r][t] -= NAMED(dot)(ld, s->scaled + t * ld, s->d[j] + t * ld);
            NAMED(axpy)(ld, -share[r][t], s->scaled + t * ld, s->d_bar[j] + t * ld);
        }
        NAMED(flip)(s->w[j], s->w[j + 1], bars[r], s->flipped);
        NAMED(weigh)(n - first, ld, s->d[j] + first * ld, share[r] + first, s->scaled);
        if (r == 0) memset(s->a_bar[j], 0, n * s->ld[j] * sizeof(REAL));
        NAMED(back)(s, n - first, j, s->scaled, s->flipped, s->a_bar[j] + first * s->ld[j], SUBTRACT);
    }
}

/* Through the writes of a piece, the last thing it did; X and Y become what decay and momentum leave of them. */
static void NAMED(write_back)(work_t *s, long n, REAL *const *A, REAL *const *S) {
    gates_t *g = &s->gates;
    const REAL keep = g->beta[n], fade = g->m[n], push = g->f[n];
    const REAL *const share[2] = {g->G + (n - 1) * g->ld, g->e + (n - 1) * g->ld};
    REAL *const share_bar[2] = {s->share0_bar, s->share1_bar};
    memset(share_bar[0], 0, s->ldC * sizeof(REAL));
    memset(share_bar[1], 0, s->ldC * sizeof(REAL));
    for (long j = 0; j < s->L; j++) {
        NAMED(sums_back)(s, n, j, share, share_bar);
        REAL *X = s->X[j], *Y = s->Y[j];
        const REAL *weights = A[j], *momentum = s->parts == 2 ? S[j] : NULL;
        vec XA = SPLAT(0), XS = SPLAT(0), YS = SPLAT(0);
        for (long i = 0, size = s->panel[j]; i < size; i += VL) {
            const vec x = LOAD(X + i);
            XA += x * LOAD(weights + i);
            STORE(X + i, keep * x);
            if (!momentum) continue;
            const vec y = LOAD(Y + i), m = LOAD(momentum + i);
            XS += x * m, YS += y * m;
            STORE(Y + i, fade * y + push * x);
        }
        g->beta_bar[n - 1] += NAMED(total)(XA), g->f_bar[n - 1] += NAMED(total)(XS), g->m_bar += NAMED(total)(YS);
    }
    NAMED(axpy)(s->ldC, 1, share_bar[0], g->G_bar + (n - 1) * g->ld);
    memcpy(g->e_bar, share_bar[1], s->ldC * sizeof(REAL));
}

/* Through LayerNorm's derivative and the bias at the last layer: d_bar -> z_bar, v_bar, and what k_bar takes of it. */
static void NAMED(top_back)(work_t *s, long n) {
    const struct chunk_call *c = s->c;
    const long last = s->L - 1, Dv = s->w[s->L], ldv = s->ld[s->L];
    REAL *e_bar = s->scaled, *r_bar = e_bar + ldv, *inner = r_bar + ldv, *room = inner + ldv;
    for (long t = 0; t < n; t++) {
        const REAL *top = s->d_bar[last] + t * ldv, *normal = s->normal + t * ldv, *gap = s->gap + t * ldv;
        const REAL *error = s->error + t * ldv, *v = s->v + t * ldv;
        REAL *z_bar = s->z_bar[last] + t * ldv, rstd = s->rstd[t];
        if (c->normalised) NAMED(layer_norm_back)(Dv, top, normal, rstd, e_bar);
        else memcpy(e_bar, top, Dv * sizeof(REAL));
        REAL *v_bar = s->v_bar + t * ldv, *k_bar = s->k_bar + t * s->ld[0];
        memset(e_bar + Dv, 0, (ldv - Dv) * sizeof(REAL));
        s->threshold_bar[t] = NAMED(error_back)(c, ldv, gap, v, s->threshold[t], room, e_bar, r_bar, v_bar);
        for (long i = 0; i < Dv; i++) v_bar[i] -= r_bar[i];
        for (long i = 0; i < s->w[0]; i++) k_bar[i] = c->residual ? r_bar[i] : 0;
        if (!c->normalised) {
            memcpy(z_bar, r_bar, Dv * sizeof(REAL));
            continue;
        }
        const REAL along = -rstd * NAMED(sum_of)(Dv, error, normal) / Dv, share = NAMED(sum_of)(Dv, top, normal) / Dv;
        const REAL scale = -rstd * NAMED(sum_of)(Dv, top, s->d[last] + t * ldv) / Dv;
        for (long i = 0; i < Dv; i++) inner[i] = along * top[i] - share * rstd * error[i] + r_bar[i];
        NAMED(layer_norm_back)(Dv, inner, normal, rstd, z_bar);
        for (long i = 0; i < Dv; i++) z_bar[i] += scale * normal[i];
    }
}

/* Through the keys' path, errors first; `anchor_bar` takes the adjoint of the weights at which surprises are taken. */
static void NAMED(key_back)(work_t *s, long n, REAL *const *anchor, REAL *const *anchor_bar) {
    const long L = s->L;
    for (long j = 0; j + 1 < L; j++) {
        NAMED(times)(n * s->ld[j + 1], s->d_bar[j], s->slope[j], s->scaled);
        NAMED(times)(n * s->ld[j + 1], s->d_bar[j], s->z_bar[j], s->z_bar[j]); /* held t bend */
        NAMED(through)(s, n, j + 1, s->scaled, anchor[j + 1], s->d_bar[j + 1], ADD);
        NAMED(pack)(n, s->w[j + 2], s->d[j + 1], s->ld[j + 2], s->packed);
        NAMED(outer)(s, n, j + 1, s->scaled, s->packed, anchor_bar[j + 1], ADD);
    }
    NAMED(top_back)(s, n);
    for (long j = L - 1; j >= 0; j--) {
        NAMED(pack)(n, s->w[j + 1], s->z_bar[j], s->ld[j + 1], s->packed);
        NAMED(outer)(s, n, j, s->a[j], s->packed, anchor_bar[j], ADD);
        NAMED(back)(s, n, j, s->z_bar[j], s->flipped_anchor[j], s->a_bar[j], ADD);
        if (j) NAMED(add_times)(n * s->ld[j], s->a_bar[j], s->slope[j - 1], s->z_bar[j - 1]);
    }
    NAMED(axpy)(n * s->ld[0], 1, s->a_bar[0], s->k_bar);
}

static void NAMED(backward_piece)(work_t *s, long row, int64_t at, long n, REAL *record) {
    const struct chunk_call *c = s->c;
    gates_t *g = &s->gates;
    const long D = s->w[0], ld = s->ld[0], Dv = s->w[s->L], ldv = s->ld[s->L], apart = at == 0 && c->anchor;
    REAL *A[LAYERS], *S[LAYERS], *z[LAYERS], *zq[LAYERS];
    NAMED(unpack_record)(s, record, A, S, z, zq);
    NAMED(begin_piece)(s, row, at, n);
    NAMED(fetch)(s, &c->y_bar, row, at, n, Dv, ldv, s->y_bar);
    memset(g->G_bar, 0, n * g->ld * sizeof(REAL));
    memset(g->beta_bar, 0, n * sizeof(REAL));
    memset(g->f_bar, 0, n * sizeof(REAL));
    g->m_bar = 0;
    REAL *const *anchor = apart ? s->anchor : A;
    NAMED(key_path)(s, n, anchor, z, 1);
    NAMED(flip)(s->w[0], s->w[1], anchor[0], s->flipped_anchor[0]);
    for (long j = 0; apart && j < s->L; j++) NAMED(flip)(s->w[j], s->w[j + 1], A[j], s->flipped_A[j]);
    NAMED(write_back)(s, n, A, S);
    NAMED(read_back)(s, n, apart ? s->flipped_A : s->flipped_anchor, S, zq);
    NAMED(deliver)(s, &c->q_bar, row, at, n, D, ld, s->other);
    NAMED(key_back)(s, n, anchor, apart ? s->anchor_bar : s->X);
    NAMED(deliver)(s, &c->k_bar, row, at, n, D, ld, s->k_bar);
    NAMED(deliver)(s, &c->v_bar, row, at, n, Dv, ldv, s->v_bar);
    NAMED(gates_backward)(g, n, c->forget.data ? s->forget : NULL, c->momentum.data ? s->momentum : NULL,
                          c->mask ? c->mask + row / c->heads * c->tokens + at : NULL, s->rate_bar, s->forget_bar,
                          s->momentum_bar);
    NAMED(deliver)(s, &c->rate_bar, row, at, n, 1, 1, s->rate_bar);
    NAMED(deliver)(s, &c->forget_bar, row, at, n, 1, 1, s->forget_bar);
    NAMED(deliver)(s, &c->momentum_bar, row, at, n, 1, 1, s->momentum_bar);
    NAMED(deliver)(s, &c->threshold_bar, row, at, n, 1, 1, s->threshold_bar);
}

static void NAMED(backward_row)(work_t *s, long row) {
    const struct chunk_call *c = s->c;
    const long pieces = NAMED(pieces)(c), parts = s->parts, size = s->size;
    REAL *record = (REAL *)c->saved + (row + 1) * pieces * s->record;
    for (long j = 0; j < s->L; j++) {
        memset(s->X[j], 0, s->panel[j] * sizeof(REAL));
        memset(s->Y[j], 0, s->panel[j] * sizeof(REAL));
        memset(s->anchor_bar[j], 0, s->panel[j] * sizeof(REAL));
    }
    if (c->anchor) NAMED(from_flat)(s, (const REAL *)c->anchor + row * size, s->anchor);
    if (c->end_bar) {
        NAMED(from_flat)(s, (const REAL *)c->end_bar + row * parts * size, s->X);
        if (parts == 2) NAMED(from_flat)(s, (const REAL *)c->end_bar + (row * parts + 1) * size, s->Y);
    }
    int64_t end = c->tokens, border_seen = 0;
    while (end > 0) {
        int64_t first = (c->offset + end - 1) / c->chunk * c->chunk - c->offset, at = first > 0 ? first : 0;
        if (!border_seen && (c->offset + end) % c->chunk == 0) {
            border_seen = 1;
            if (c->last_anchor_bar) {
                NAMED(from_flat)(s, (const REAL *)c->last_anchor_bar + row * size, s->A);
                for (long j = 0; j < s->L; j++) NAMED(axpy)(s->panel[j], 1, s->A[j], s->X[j]);
            }
        }
        record -= s->record;
        NAMED(backward_piece)(s, row, at, end - at, record);
        end = at;
    }
    NAMED(to_flat)(s, s->X, (REAL *)c->start_bar + row * parts * size);
    if (parts == 2) NAMED(to_flat)(s, s->Y, (REAL *)c->start_bar + (row * parts + 1) * size);
    if (c->anchor) NAMED(to_flat)(s, s->anchor_bar, (REAL *)c->anchor_bar + row * size);
}
