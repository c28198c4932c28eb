/* The gates of a chunk as coefficients (design 3.2), by the recurrences that define them, and back.
 *
 *     e[t][j] = eta_t e[t-1][j] (j < t), theta_t (j = t)      G[t] = (1 - alpha_t) G[t-1] + e[t]
 *     m_t = eta_t m_{t-1}      f_t = (1 - alpha_t) f_{t-1} + m_t      beta_t = (1 - alpha_t) beta_{t-1}
 *
 * All factors are at most one, so nothing cancels, and no logarithm is taken. A token that is passed over keeps the row
 * before it. Without momentum G[t][t] = theta_t and there is no S. */

struct NAMED(gates) {
    long ld;                     /* of G and e, padded chunk */
    REAL *G, *e;                 /* (C, ld), lower triangles */
    REAL *beta, *f, *m;          /* (C + 1): entry t + 1 belongs to token t */
    REAL *G_bar, *row, *e_bar;   /* (C, ld), (ld), (ld): backward */
    REAL *beta_bar, *f_bar;      /* (C) */
    REAL m_bar;
    long joined, felt;           /* see `gates_settle` */
    REAL ratio;
};
#define gates_t struct NAMED(gates)
#define FEWEST_JOINED 16 /* tokens for which A + ratio S is worth its sum */

static void NAMED(gates_forward)(gates_t *g, long tokens, const REAL *rate, const REAL *forget, const REAL *momentum,
                                 const uint8_t *mask) {
    long ld = g->ld;
    g->beta[0] = g->m[0] = 1, g->f[0] = 0;
    for (long t = 0; t < tokens; t++) {
        REAL *G = g->G + t * ld, *e = g->e + t * ld;
        if (t) {
            memcpy(G, G - ld, ld * sizeof(REAL));
            if (momentum) memcpy(e, e - ld, ld * sizeof(REAL));
        } else {
            memset(G, 0, ld * sizeof(REAL));
            memset(e, 0, ld * sizeof(REAL));
        }
        g->beta[t + 1] = g->beta[t], g->f[t + 1] = g->f[t], g->m[t + 1] = g->m[t];
        if (mask && !mask[t]) continue;
        REAL keep = forget ? 1 - forget[t] : 1;
        g->beta[t + 1] *= keep;
        if (momentum) {
            for (long j = 0; j < ld; j += VL) STORE(e + j, LOAD(e + j) * momentum[t]);
            e[t] = rate[t];
            g->m[t + 1] *= momentum[t];
            g->f[t + 1] = keep * g->f[t] + g->m[t + 1];
            for (long j = 0; j < ld; j += VL) STORE(G + j, keep * LOAD(G + j) + LOAD(e + j));
        } else {
            for (long j = 0; j < ld; j += VL) STORE(G + j, keep * LOAD(G + j));
            G[t] = rate[t];
        }
    }
}

/* Momentum dies out, and products with what is left of it can be saved:
 *
 *     t >= joined   m_t is lost in f_t's rounding, so f_t = ratio beta_t, and beta A + f S = beta (A + ratio S)
 *     j < felt      token j's share e in S is lost in its share G in A, and in the largest share of another in S
 *
 * Gradients must be lost too: eta_i's is the product without eta_i, so the smallest factor of a product is left out. */
static void NAMED(gates_settle)(gates_t *g, long n, const REAL *rate, const REAL *momentum, const uint8_t *mask) {
    const REAL tiny = (REAL_IS_FLOAT ? (REAL)1.2e-7 : (REAL)2.2e-16) / 64, *G = g->G + (n - 1) * g->ld;
    const REAL *e = g->e + (n - 1) * g->ld;
    g->joined = n, g->felt = 0, g->ratio = 0;
    if (!momentum) return;
    REAL most = 0, whole = 1, without = 1; /* products of eta, and without the smallest */
    for (long j = 0; j < n; j++) most = e[j] > most ? e[j] : most;
    for (long j = n - 1; j >= 0; j--) {
        const int passed = mask && !mask[j];
        const int lost = rate[j] > 0 ? rate[j] * without <= tiny * (G[j] < most ? G[j] : most) : without <= tiny;
        if (!passed && !lost) g->felt = 0;
        else if (!g->felt) g->felt = j + 1;
        if (passed) continue;
        without = without * momentum[j] > whole ? without * momentum[j] : whole;
        whole *= momentum[j];
    }
    whole = without = 1;
    /* Looked for from the front: what a token reads, rounding included, hangs on no later one. */
    for (long t = 0; t <= n - FEWEST_JOINED; t++) {
        if (!mask || mask[t]) {
            without = without * momentum[t] > whole ? without * momentum[t] : whole;
            whole *= momentum[t];
        }
        if (64 * without > tiny * g->f[t + 1] || g->beta[t + 1] <= tiny) continue;
        g->joined = t, g->ratio = g->f[t + 1] / g->beta[t + 1];
        break;
    }
}

/* From adjoints of G, of e's last row (in e_bar), beta, f and m's last entry to those of the gates. */
static void NAMED(gates_backward)(gates_t *g, long tokens, const REAL *forget, const REAL *momentum, const uint8_t *mask,
                                  REAL *rate_bar, REAL *forget_bar, REAL *momentum_bar) {
    long ld = g->ld;
    REAL beta = 0, f = 0, m = g->m_bar, *row = g->row, *e_bar = g->e_bar;
    memset(row, 0, ld * sizeof(REAL));
    for (long t = tokens - 1; t >= 0; t--) {
        NAMED(axpy)(ld, 1, g->G_bar + t * ld, row);
        beta += g->beta_bar[t], f += g->f_bar[t];
        rate_bar[t] = 0;
        if (forget) forget_bar[t] = 0;
        if (momentum) momentum_bar[t] = 0;
        if (mask && !mask[t]) continue;
        REAL keep = forget ? 1 - forget[t] : 1;
        const REAL *before = g->G + (t - 1) * ld, *e_before = g->e + (t - 1) * ld;
        if (forget) forget_bar[t] = -((t ? NAMED(dot)(ld, row, before) : 0) + f * g->f[t] + beta * g->beta[t]);
        if (momentum) {
            NAMED(axpy)(ld, 1, row, e_bar);
            m += f;
            rate_bar[t] = e_bar[t];
            e_bar[t] = 0;
            momentum_bar[t] = (t ? NAMED(dot)(ld, e_bar, e_before) : 0) + m * g->m[t];
            for (long j = 0; j < ld; j += VL) STORE(e_bar + j, momentum[t] * LOAD(e_bar + j));
            m *= momentum[t];
        } else {
            rate_bar[t] = row[t];
            row[t] = 0;
        }
        for (long j = 0; j < ld; j += VL) STORE(row + j, keep * LOAD(row + j));
        beta *= keep, f *= keep;
    }
}
