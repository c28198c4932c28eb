/* Counts of what followed each context: the rules of titans_seq/memory/table_slots.py, and what is read of an order. */

#define CAP 120 /* a count from which on all of a slot are halved before a write */

/* Bytes of the bucket that a slot is in. */
INLINE uint8_t *bucket_of(uint8_t *slots, uint32_t slot, const int64_t A) { return slots + (int64_t)(slot >> 1) * (2 * A + 4); }

INLINE int16_t tag_of(const uint8_t *bucket, int64_t side, const int64_t A) {
    int16_t tag;
    memcpy(&tag, bucket + 2 * A + 2 * side, 2);
    return tag;
}

INLINE void ask(const uint8_t *slots, uint32_t slot, const int64_t A) {
    const uint8_t *bucket = slots + (int64_t)(slot >> 1) * (2 * A + 4);
    __builtin_prefetch(bucket);
    __builtin_prefetch(bucket + 2 * A + 3);
}

INLINE void read_order(const Layout *layout, State *row, const Chunk *chunk, int64_t next, int64_t order,
                       const int64_t A, uint8_t *counts_out, uint8_t *hits_out) {
    int64_t K = layout->orders, k = layout->key_length[order], base = layout->order_start[order];
    int64_t length = chunk->length, skip = length - chunk->fresh;
    const uint32_t *slot = chunk->slot + order * (LONGEST + 1) + 1;
    const int16_t *tag = chunk->tag + order * (LONGEST + 1) + 1;
    const uint8_t *token = chunk->whole + layout->lead;
    uint8_t *slots = row->slots + base / 2 * (2 * A + 4);
    int64_t predicted = row->best[order];
    unsigned past = 0, sum = 0;
    for (int64_t i = 0; i < HITS; i++) past = (past << 1) | row->hits[i * K + order], sum += row->hits[i * K + order];
    const uint32_t *later = chunk->slot + next * (LONGEST + 1) + 1;
    const uint8_t *later_slots = row->slots + layout->order_start[next] / 2 * (2 * A + 4);
    for (int64_t t = 0; t < length; t++) {
        const uint8_t *bucket = bucket_of(slots, slot[t], A);
        ask(later_slots, later[t], A);
        int first = tag_of(bucket, 0, A) == tag[t], second = tag_of(bucket, 1, A) == tag[t];
        int there = (first | second) & (chunk->since[t + 1] >= k);
        const uint8_t *found = bucket + !first * A;
        uint8_t *out = counts_out + ((t - skip) * K + order) * A;
        unsigned hit = (predicted == token[t]) & (token[t] < layout->alphabet);
        unsigned most = 0, place = 0;
        if (A == 4) {
            uint32_t four;
            memcpy(&four, found, 4);
            four = there ? four : 0;
            if (t >= skip) memcpy(out, &four, 4);
            /* the first of the largest: its place, counted down, decides between equals */
            unsigned a = (four & 0xFF) << 2 | 3, b = (four >> 8 & 0xFF) << 2 | 2;
            unsigned c = (four >> 16 & 0xFF) << 2 | 1, d = (four >> 24) << 2;
            a = a > b ? a : b, c = c > d ? c : d, a = a > c ? a : c;
            most = a >> 2, place = 3 - (a & 3);
        } else {
            for (int64_t i = 0; i < A; i++) {
                unsigned value = there ? found[i] : 0;
                if (value > most) most = value, place = (unsigned)i;
                if (t >= skip) out[i] = (uint8_t)value;
            }
        }
        sum += hit - (past >> (HITS - 1) & 1);
        past = (past << 1) | hit;
        predicted = most ? place : layout->alphabet;
        if (t >= skip) hits_out[(t - skip) * K + order] = (uint8_t)sum;
    }
    if (length < layout->chunk) return;
    row->best[order] = predicted;
    for (int64_t i = 0; i < HITS; i++) row->hits[i * K + order] = past >> (HITS - 1 - i) & 1;
}

/* All events of an order at once; who wins a slot does not depend on their order. */
INLINE void write_order(const Layout *layout, State *row, const Chunk *chunk, int64_t next, int64_t order,
                        const int64_t A) {
    int64_t k = layout->key_length[order], base = layout->order_start[order], at = order * (LONGEST + 1);
    int64_t length = chunk->length, moves = layout->key_mask[order] >= 0, events = 0, claims = 0, full = 0, kept = 0;
    const unsigned certain = (unsigned)layout->certain;
    uint8_t *slots = row->slots + base / 2 * (2 * A + 4), *bucket[2 * LONGEST], *halved = chunk->halved;
    uint8_t symbol[2 * LONGEST], sides[2 * LONGEST], claimed[2 * LONGEST], over[2 * LONGEST];
    int16_t tag[2 * LONGEST];
    uint32_t slot[2 * LONGEST];
    for (int64_t j = 0; j < length; j++) {
        slot[events] = chunk->slot[at + j], tag[events] = chunk->tag[at + j];
        symbol[events] = chunk->window[layout->lead + j];
        events += chunk->since[j + 1] > k;
    }
    const uint32_t *later = chunk->other_slot + next * (LONGEST + 1);
    const uint8_t *later_slots = row->slots + layout->order_start[next] / 2 * (2 * A + 4);
    for (int64_t j = 0; layout->complement && j < length; j++) {
        ask(later_slots, later[j], A);
        slot[events] = chunk->other_slot[at + j], tag[events] = chunk->other_tag[at + j];
        symbol[events] = chunk->other[layout->lead + j - k];
        events += chunk->since[j + 1] > k;
    }
    for (int64_t e = 0; e < events; e++) {
        uint8_t *both = bucket_of(slots, slot[e], A);
        int first = tag_of(both, 0, A) == tag[e], second = tag_of(both, 1, A) == tag[e];
        unsigned sure[2] = {0, 0}, least = 0, side, told;
        if (A == 4) {
            uint64_t eight;
            memcpy(&eight, both, 8);
            uint64_t sums = (eight & 0x00FF00FF00FF00FFull) + (eight >> 8 & 0x00FF00FF00FF00FFull);
            sums += sums >> 16;
            sure[0] = sums & 0xFFFF, sure[1] = sums >> 32 & 0xFFFF;
            /* a count of CAP or more sets its highest bit when 128 - CAP is added; what is above 127 has it already */
            uint64_t mark = ((eight & 0x7F7F7F7F7F7F7F7Full) + (128 - CAP) * 0x0101010101010101ull) | eight;
            mark &= 0x8080808080808080ull;
            side = first | second ? (unsigned)second : moves ? sure[1] < sure[0] : slot[e] & 1;
            least = (uint32_t)(mark >> (32 * side)) != 0;
        } else {
            for (int64_t i = 0; i < A; i++) sure[0] += both[i], sure[1] += both[A + i];
            side = first | second ? (unsigned)second : moves ? sure[1] < sure[0] : slot[e] & 1;
            for (int64_t i = 0; i < A; i++) least |= both[side * A + i] >= CAP;
        }
        /* What is certain already is passed over; events that stay move up. */
        told = both[side * A + symbol[e]];
        int passed = certain && (first | second) && told >= certain && told == sure[side];
        bucket[kept] = both, sides[kept] = (uint8_t)side, tag[kept] = tag[e], symbol[kept] = symbol[e];
        claimed[claims] = (uint8_t)kept, claims += !(first | second);
        over[full] = (uint8_t)kept, full += (first | second) & least & !passed;
        kept += !passed;
    }
    for (int64_t i = 0; i < full; i++)
        for (int64_t a = 0; a < A; a++) halved[i * A + a] = bucket[over[i]][sides[over[i]] * A + a] >> 1;
    for (int64_t i = 0; i < claims; i++) {
        uint8_t *both = bucket[claimed[i]], side = sides[claimed[i]];
        memset(both + side * A, 0, (size_t)A);
        memset(both + 2 * A + 2 * side, 0, 2);
    }
    for (int64_t i = 0; i < claims; i++) {
        int16_t new = tag[claimed[i]];
        if (new > tag_of(bucket[claimed[i]], sides[claimed[i]], A))
            memcpy(bucket[claimed[i]] + 2 * A + 2 * sides[claimed[i]], &new, 2);
    }
    for (int64_t i = 0; i < full; i++) {
        uint8_t *both = bucket[over[i]], side = sides[over[i]];
        if (tag_of(both, side, A) == tag[over[i]]) memcpy(both + side * A, halved + i * A, (size_t)A);
    }
    for (int64_t e = 0; e < kept; e++)
        bucket[e][sides[e] * A + symbol[e]] += tag_of(bucket[e], sides[e], A) == tag[e];
}
