/* Keys of a chunk: the sums, codes and hashes of titans_seq/memory/table_keys.py. */

#define FINAL 0xBF58476D1CE4E5B9ull

/* Tokens of the chunk, what is known about them, packed windows and sums; no keys yet. `fresh` tokens are not in the
 * state's ring so far; `input` is the whole call's, whose first token stands at `begin`. */
static void prepare(const Layout *layout, const State *row, Chunk *chunk, const int64_t *input, int64_t begin,
                    int64_t start, int64_t length, int64_t fresh) {
    int64_t A = layout->alphabet, lead = layout->lead, total = lead + length, W = layout->width, bits = layout->bits;
    int64_t wrap = layout->capacity - 1, since = 0, early = begin - (start - lead);
    uint64_t latest = 0, oldest = 0, mirrored = 0, mirrored_oldest = 0, keep = low_bits(bits * W);
    const uint8_t *complement = layout->complement;
    chunk->start = start, chunk->length = length, chunk->fresh = fresh;
    if (early > total) early = total;
    for (int64_t i = 0; i < early; i++) chunk->whole[i] = row->tokens[(start - lead + i) & wrap];
    for (int64_t i = early > 0 ? early : 0; i < total; i++) {
        int64_t token = input[start - lead + i - begin];
        chunk->whole[i] = (uint8_t)(token > A ? A : token);
    }
    chunk->sums[0] = chunk->other_sums[0] = 0;
    for (int64_t i = 0; i < total; i++) {
        int64_t known = chunk->whole[i] < A;
        uint64_t s = known ? chunk->whole[i] : 0;
        since = known ? since + 1 : 0;
        chunk->window[i] = (uint8_t)s;
        chunk->sums[i + 1] = chunk->sums[i] + (s + 1) * layout->down[i];
        latest = ((latest << bits) | s) & keep;
        oldest = (oldest >> bits) | (s << (bits * (W - 1)));
        if (complement) {
            uint64_t c = complement[s];
            chunk->other[i] = (uint8_t)c;
            chunk->other_sums[i + 1] = chunk->other_sums[i] + (c + 1) * layout->up[i];
            mirrored = ((mirrored << bits) | c) & keep;
            mirrored_oldest = (mirrored_oldest >> bits) | (c << (bits * (W - 1)));
        }
        if (i >= lead - 1) {
            int64_t j = i - lead + 1;
            chunk->since[j] = since;
            chunk->latest[j] = latest, chunk->oldest[j] = oldest;
            chunk->mirrored[j] = mirrored, chunk->mirrored_oldest[j] = mirrored_oldest;
        }
    }
}

static void hashed_keys(const uint64_t *sums, const uint64_t *scale, int64_t k, int64_t at, int64_t count, uint64_t mask,
                        uint32_t *slot, int16_t *tag) {
    for (int64_t j = 0; j < count; j++) {
        uint64_t hash = (sums[at + j] - sums[at + j - k]) * scale[j];
        uint64_t mixed = (hash ^ (uint64_t)((int64_t)hash >> 31)) * FINAL;
        uint64_t check = (mixed >> 45) & 0x7FFF;
        tag[j] = (int16_t)(check | (check == 0));
        slot[j] = (uint32_t)((mixed >> 17) & mask);
    }
}

static void coded_keys(const Layout *layout, const Chunk *chunk, int64_t k, int64_t mirrored, int64_t first,
                       int64_t count, uint32_t *slot, int16_t *tag) {
    int64_t A = layout->alphabet;
    if (A == 1ll << layout->bits) {
        uint64_t keep = low_bits(layout->bits * k);
        const uint64_t *packed = mirrored ? chunk->mirrored_oldest : chunk->latest;
        int64_t shift = mirrored ? layout->bits * (layout->width - k) : 0;
        for (int64_t j = 0; j < count; j++) slot[j] = (uint32_t)((packed[first + j] >> shift) & keep);
    } else {
        for (int64_t j = 0; j < count; j++) {
            const uint8_t *end = (mirrored ? chunk->other : chunk->window) + layout->lead + first + j;
            uint64_t code = 0;
            for (int64_t i = 0; i < k; i++) code = code * A + (mirrored ? end[-1 - i] : end[i - k]);
            slot[j] = (uint32_t)code;
        }
    }
    for (int64_t j = 0; j < count; j++) tag[j] = (int16_t)((slot[j] & 1) + 1);
}

static void keys_of(const Layout *layout, Chunk *chunk, int64_t number) {
    int64_t k = layout->key_length[number], mask = layout->key_mask[number], length = chunk->length;
    int64_t lead = layout->lead, at = number * (LONGEST + 1);
    uint32_t *slot = chunk->slot + at, *other = chunk->other_slot + at;
    int64_t two = layout->complement != NULL;
    if (mask < 0) {
        coded_keys(layout, chunk, k, 0, 0, length + 1, slot, chunk->tag + at);
        if (two) coded_keys(layout, chunk, k, 1, 1, length, other, chunk->other_tag + at);
    } else {
        hashed_keys(chunk->sums, layout->up + lead - 1, k, lead, length + 1, (uint64_t)mask, slot, chunk->tag + at);
        if (two)
            hashed_keys(chunk->other_sums, layout->down + lead + 1 - k, k, lead + 1, length, (uint64_t)mask, other,
                        chunk->other_tag + at);
    }
}
