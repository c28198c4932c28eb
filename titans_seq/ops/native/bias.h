/* The attentional bias's error of one token, e = d loss / d M(k), and its adjoint (see `ops/biases.py` for the losses).
 * Vectors are padded with zeros, and every error of zeros is zero, so that whole vectors are worked on. */

INLINE vec NAMED(tanh)(vec x) { return 1 - 2 / (NAMED(exponential)(2 * x) + 1); }

/* Length of r as the biases take it, away from zero. */
INLINE REAL NAMED(length)(long width, const REAL *r) { return SQRT(NAMED(sum_of)(width, r, r) + (REAL)1e-12); }

/* e = scale r */
INLINE void NAMED(scaled)(long width, REAL scale, const REAL *r, REAL *e) {
    for (long i = 0; i < width; i += VL) STORE(e + i, scale * LOAD(r + i));
}

/* Before it is shortened to max_error. */
static void NAMED(raw_error)(const struct chunk_call *c, long width, const REAL *r, const REAL *v, REAL delta, REAL *e) {
    const REAL n = c->bias >= HUBER_NORM ? NAMED(length)(width, r) : 0, option = (REAL)c->option;
    switch (c->bias) {
    case L2: NAMED(scaled)(width, 2, r, e); break;
    case DOT_PRODUCT: NAMED(scaled)(width, -2, v, e); break;
    case HUBER_NORM: NAMED(scaled)(width, n <= delta ? 1 : delta / n, r, e); break;
    case ROBUST: NAMED(scaled)(width, 1 + option / n, r, e); break;
    case HUBER:
        for (long i = 0; i < width; i += VL) {
            vec x = LOAD(r + i);
            x = CHOOSE(x > delta, SPLAT(delta), x);
            STORE(e + i, CHOOSE(x < -delta, SPLAT(-delta), x));
        }
        break;
    default:
        if (n <= delta) NAMED(scaled)(width, 2, r, e);
        else
            for (long i = 0; i < width; i += VL) STORE(e + i, delta * NAMED(tanh)(option * LOAD(r + i)));
    }
}

/* r_bar = outer e_bar + along r for one that scales r by its length: e = s(n) r has r_bar = s e_bar + s' <r, e_bar> r / n */
INLINE void NAMED(scaled_back)(long width, REAL scale, REAL slope, const REAL *r, const REAL *e_bar, REAL n, REAL *r_bar) {
    const REAL along = slope ? slope * NAMED(sum_of)(width, r, e_bar) / n : 0;
    for (long i = 0; i < width; i += VL) STORE(r_bar + i, scale * LOAD(e_bar + i) + along * LOAD(r + i));
}

/* Adjoint of `raw_error`: sets r_bar and v_bar, returns delta's. */
static REAL NAMED(raw_error_back)(const struct chunk_call *c, long width, const REAL *r, REAL delta, const REAL *e_bar,
                                  REAL *r_bar, REAL *v_bar) {
    const REAL n = c->bias >= HUBER_NORM ? NAMED(length)(width, r) : 0, option = (REAL)c->option;
    REAL delta_bar = 0;
    memset(v_bar, 0, width * sizeof(REAL));
    switch (c->bias) {
    case L2: NAMED(scaled)(width, 2, e_bar, r_bar); break;
    case DOT_PRODUCT:
        memset(r_bar, 0, width * sizeof(REAL));
        NAMED(scaled)(width, -2, e_bar, v_bar);
        break;
    case HUBER_NORM:
        if (n > delta) {
            delta_bar = NAMED(sum_of)(width, r, e_bar) / n;
            NAMED(scaled_back)(width, delta / n, -delta / (n * n), r, e_bar, n, r_bar);
        } else memcpy(r_bar, e_bar, width * sizeof(REAL));
        break;
    case ROBUST: NAMED(scaled_back)(width, 1 + option / n, -option / (n * n), r, e_bar, n, r_bar); break;
    case HUBER:
        for (long i = 0; i < width; i++) {
            r_bar[i] = r[i] > delta || r[i] < -delta ? 0 : e_bar[i];
            delta_bar += r[i] > delta ? e_bar[i] : r[i] < -delta ? -e_bar[i] : 0;
        }
        break;
    default:
        if (n <= delta) NAMED(scaled)(width, 2, e_bar, r_bar);
        else {
            vec sum = SPLAT(0);
            for (long i = 0; i < width; i += VL) {
                vec sign = NAMED(tanh)(option * LOAD(r + i)), bar = LOAD(e_bar + i);
                sum += sign * bar;
                STORE(r_bar + i, delta * option * (1 - sign * sign) * bar);
            }
            delta_bar = NAMED(total)(sum);
        }
    }
    return delta_bar;
}

/* What shortens an error to max_error, or 1; `square` is its squared length. */
INLINE REAL NAMED(shorten)(const struct chunk_call *c, long width, const REAL *e, REAL *square) {
    *square = NAMED(sum_of)(width, e, e) + (REAL)1e-12;
    REAL share = (REAL)c->max_error / SQRT(*square);
    return share < 1 ? share : 1;
}

static void NAMED(error)(const struct chunk_call *c, long width, const REAL *r, const REAL *v, REAL delta, REAL *e) {
    NAMED(raw_error)(c, width, r, v, delta, e);
    if (c->max_error <= 0) return;
    REAL square, share = NAMED(shorten)(c, width, e, &square);
    NAMED(scaled)(width, share, e, e);
}

/* Its adjoint: e_bar (changed on the way) -> adjoints of r and v, and delta's; `e` is room for the error. */
static REAL NAMED(error_back)(const struct chunk_call *c, long width, const REAL *r, const REAL *v, REAL delta, REAL *e,
                              REAL *e_bar, REAL *r_bar, REAL *v_bar) {
    if (c->max_error > 0) {
        REAL square, share;
        NAMED(raw_error)(c, width, r, v, delta, e);
        share = NAMED(shorten)(c, width, e, &square);
        const REAL along = share < 1 ? NAMED(sum_of)(width, e, e_bar) / square : 0;
        for (long i = 0; i < width; i += VL) STORE(e_bar + i, share * (LOAD(e_bar + i) - along * LOAD(e + i)));
    }
    return NAMED(raw_error_back)(c, width, r, delta, e_bar, r_bar, v_bar);
}
