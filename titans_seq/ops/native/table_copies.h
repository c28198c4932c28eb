/* Where the last tokens stood before, followed through mismatches: the rules of titans_seq/memory/table_copies.py. */

static void ask_sights(const Layout *layout, const State *row, Chunk *chunk, int64_t number) {
    int64_t key = layout->orders + number;
    const int32_t *plane = row->places + number * layout->places;
    keys_of(layout, chunk, key);
    for (int64_t j = 0; j <= chunk->length; j++) __builtin_prefetch(plane + chunk->slot[key * (LONGEST + 1) + j]);
    for (int64_t j = 0; layout->complement && j < chunk->length; j++)
        __builtin_prefetch(plane + chunk->other_slot[key * (LONGEST + 1) + j]);
}

typedef struct {
    int64_t reverse, sign, width, bits, capacity, tolerance;
    uint64_t low;
    const int64_t *plane;
} Strand;

INLINE int inside(const Strand *strand, int64_t source, int64_t at) {
    int64_t last = strand->reverse ? source + strand->width : source;
    return (source >= 0) & (last <= at) & (source > at - strand->capacity + 2 * strand->width);
}

/* The packed window beside a copy, against the one here: misses, and the tokens that agree since the last of them. */
INLINE int64_t compare(const Strand *strand, uint64_t window, int64_t offset, int64_t at, int64_t *run) {
    int64_t beside = strand->sign * at + offset + (strand->reverse ? strand->width - 1 : 0);
    uint64_t bits = window ^ (uint64_t)strand->plane[beside & (strand->capacity - 1)], differs = bits;
    for (int64_t place = 1; place < strand->bits; place++) differs |= bits >> place;
    differs &= strand->low;
    *run = differs ? __builtin_ctzll(differs) / strand->bits : strand->width;
    return __builtin_popcountll(differs);
}

INLINE void follow(const Layout *layout, State *row, const Chunk *chunk, int64_t number, const int64_t bits,
                   const Reading *out) {
    int64_t P = layout->copies, k = layout->copy_length[number], reverse = layout->copy_reverse[number];
    int64_t column = layout->copy_number[number], at0 = (layout->orders + column) * (LONGEST + 1), W = layout->width;
    int64_t length = chunk->length, skip = length - chunk->fresh, start = chunk->start, wrap = layout->capacity - 1;
    Strand strand = {reverse, reverse ? -1 : 1, W, bits, layout->capacity, layout->tolerance, 0,
                     reverse ? row->oldest_low : row->latest_low};
    for (int64_t place = 0; place < W; place++) strand.low |= 1ull << (bits * place);
    const uint64_t *here = reverse ? chunk->mirrored + 1 : chunk->latest + 1;
    const uint32_t *slot = reverse ? chunk->other_slot + at0 : chunk->slot + at0 + 1;
    const int32_t *plane = row->places + column * layout->places;
    uint64_t mask = low_bits(layout->bits * k);
    int64_t place[LONGEST];
    for (int64_t t = 0; t < length; t++) {
        place[t] = chunk->since[t + 1] >= k ? plane[slot[t]] : 0;
        if (place[t] > 0) __builtin_prefetch(strand.plane + ((reverse ? place[t] - k + W - 1 : place[t] - 1) & wrap));
    }
    int64_t old = row->offset[number], keep = row->live[number], clean = row->clean[number];
    int64_t fresh_offset = 0, seen = 0, offset = old, live = 0;
    for (int64_t t = 0; t < length; t++) {
        int64_t at = start + t, ahead = strand.sign * (at + 1);
        if (place[t] > 0) {
            int64_t source = reverse ? place[t] - k - 1 : place[t];
            int64_t beside = strand.plane[(reverse ? place[t] - k + W - 1 : place[t] - 1) & wrap];
            /* A new copy must agree in its k tokens; from there on it is followed like the old one. */
            if (inside(&strand, source, at) && !((here[t] ^ (uint64_t)beside) & mask)) seen = 1, fresh_offset = source - ahead;
        }
        int64_t misses = 0, run = 0, fresh = 0;
        offset = old;
        if (keep) {
            keep = inside(&strand, ahead + old, at);
            if (keep) misses = compare(&strand, here[t], old, at, &run), keep = misses <= strand.tolerance;
        }
        if (seen && (!keep || fresh_offset != old) && inside(&strand, ahead + fresh_offset, at)) {
            int64_t new_run, new_misses = compare(&strand, here[t], fresh_offset, at, &new_run);
            fresh = new_misses <= strand.tolerance;
            if (fresh && (!keep || new_misses < misses)) offset = fresh_offset, misses = new_misses, run = new_run;
        }
        live = keep | fresh;
        misses = live ? misses : 0;
        clean = live && !misses ? clean + 1 : 0;
        if (t < skip) continue;
        int64_t i = (t - skip) * P + number, source = ahead + offset;
        uint8_t symbol = live ? row->tokens[source & wrap] : (uint8_t)layout->alphabet;
        out->symbol[i] = reverse && live ? layout->complement[symbol] : symbol;
        out->source[i] = live ? source : -1;
        out->run[i] = live ? run + clean : 0;
        out->misses[i] = misses;
    }
    if (length < layout->chunk) return;
    row->offset[number] = offset, row->live[number] = (uint8_t)live, row->clean[number] = clean;
}

static void write_sights(const Layout *layout, State *row, const Chunk *chunk, int64_t number) {
    int64_t k = layout->key_length[layout->orders + number];
    const uint32_t *slot = chunk->slot + (layout->orders + number) * (LONGEST + 1) + 1;
    int32_t *plane = row->places + number * layout->places;
    for (int64_t t = 0; t < chunk->length; t++) {
        if (chunk->since[t + 1] < k) continue;
        int32_t *place = plane + slot[t], behind = (int32_t)(chunk->start + t + 1);
        if (layout->first_sight ? *place == 0 : behind > *place) *place = behind;
    }
}
