/* The associative table, read and written chunk by chunk: the same numbers as titans_seq/memory/table.py, bit for bit.
 *
 * A row is independent of the others. While one order of a chunk is read and written, the slots of the next order are
 * asked for, so that memory has answered when they are needed. `read_order`, `follow` and `write_order` are the rules of
 * table_slots.py and table_copies.py, in the same order of steps.
 */

#include "table.h"

#include "table_keys.h"

#include "table_slots.h"

#include "table_copies.h"

static void begin_chunk(const Layout *layout, State *row, const Chunk *chunk) {
    int64_t wrap = layout->capacity - 1;
    for (int64_t j = chunk->length - chunk->fresh; j < chunk->length; j++) {
        int64_t place = (chunk->start + j) & wrap;
        row->tokens[place] = chunk->whole[layout->lead + j];
        row->latest_low[place] = (int64_t)chunk->latest[j + 1];
        if (layout->complement) row->oldest_low[place] = (int64_t)chunk->oldest[j + 1];
    }
}

static void chunk_of_row(const Layout *layout, State *row, Chunk *chunk, const Reading *out) {
    int64_t A = layout->alphabet, K = layout->orders, whole = chunk->length == layout->chunk;
    begin_chunk(layout, row, chunk);
    for (int64_t number = 0; number < layout->lengths; number++) ask_sights(layout, row, chunk, number);
    keys_of(layout, chunk, 0);
    for (int64_t order = 0; order < K; order++) {
        int64_t next = order + 1 < K ? order + 1 : order;
        if (next > order) keys_of(layout, chunk, next);
        /* An alphabet of four is worth code of its own. */
        if (A == 4) {
            read_order(layout, row, chunk, next, order, 4, out->counts, out->hits);
            if (whole) write_order(layout, row, chunk, next, order, 4);
        } else {
            read_order(layout, row, chunk, next, order, A, out->counts, out->hits);
            if (whole) write_order(layout, row, chunk, next, order, A);
        }
    }
    for (int64_t number = 0; number < layout->copies; number++) {
        if (layout->bits == 2) follow(layout, row, chunk, number, 2, out);
        else follow(layout, row, chunk, number, layout->bits, out);
    }
    for (int64_t number = 0; whole && number < layout->lengths; number++) write_sights(layout, row, chunk, number);
}

static int make_chunk(Chunk *chunk, const Layout *layout) {
    int64_t window = layout->lead + LONGEST + 1, keys = (layout->orders + layout->lengths) * (LONGEST + 1);
    size_t bytes = (size_t)(2 * window * 8 + 2 * keys * 6 + 3 * window + 2 * LONGEST * layout->alphabet);
    uint8_t *room = calloc(bytes, 1);
    if (!room) return 0;
    chunk->sums = (uint64_t *)room, chunk->other_sums = chunk->sums + window;
    chunk->slot = (uint32_t *)(chunk->other_sums + window), chunk->other_slot = chunk->slot + keys;
    chunk->tag = (int16_t *)(chunk->other_slot + keys), chunk->other_tag = chunk->tag + keys;
    chunk->window = (uint8_t *)(chunk->other_tag + keys), chunk->other = chunk->window + window;
    chunk->whole = chunk->other + window, chunk->halved = chunk->whole + window;
    return 1;
}

static State of_row(const Layout *layout, const State *all, int64_t row) {
    int64_t P = layout->copies, K = layout->orders;
    return (State){
        all->slots + row * layout->slots / 2 * (2 * layout->alphabet + 4),
        all->places + row * layout->lengths * layout->places,
        all->tokens + row * layout->capacity,
        all->latest_low + row * layout->capacity,
        all->oldest_low + row * layout->capacity,
        all->offset + row * P,
        all->live + row * P,
        all->clean + row * P,
        all->best + row * K,
        all->hits + row * HITS * K,
    };
}

static int read_row(const Layout *layout, State row, const int64_t *tokens, int64_t length, int64_t position,
                    Reading out) {
    Chunk chunk = {0};
    int64_t pending = position % layout->chunk, done = 0, take;
    if (!make_chunk(&chunk, layout)) return 0;
    for (; done < length; done += take, pending = 0) {
        take = layout->chunk - pending < length - done ? layout->chunk - pending : length - done;
        prepare(layout, &row, &chunk, tokens, position, position + done - pending, pending + take, take);
        chunk_of_row(layout, &row, &chunk, &out);
        out.counts += take * layout->orders * layout->alphabet, out.hits += take * layout->orders;
        out.symbol += take * layout->copies, out.source += take * layout->copies;
        out.run += take * layout->copies, out.misses += take * layout->copies;
    }
    free(chunk.sums);
    return 1;
}

/* Read tokens (rows, length) and write them; returns 0 where memory ran out. */
int titans_table_read(const Layout *layout, const State *state, const int64_t *tokens, int64_t rows, int64_t length,
                      int64_t position, const Reading *reading, int threads) {
    int made = 1;
    if (!length) return made;
#pragma omp parallel for num_threads(threads) if (rows > 1 && threads > 1) schedule(dynamic) reduction(&& : made)
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = row * length, P = layout->copies, K = layout->orders;
        Reading out = {reading->counts + at * K * layout->alphabet, reading->hits + at * K, reading->symbol + at * P,
                       reading->source + at * P, reading->run + at * P, reading->misses + at * P};
        made = read_row(layout, of_row(layout, state, row), tokens + at, length, position, out) && made;
    }
    return made;
}
