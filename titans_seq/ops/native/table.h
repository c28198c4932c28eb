/* The associative table's sizes, planes and readings, as titans_seq/memory/table_native.py fills them in, and a chunk. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 64 /* tokens of a chunk at most */
#define HITS 16    /* latest predictions whose hits are counted */

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    int64_t alphabet, chunk, lead, width, bits, tolerance, capacity, places, slots;
    int64_t orders, lengths, copies, first_sight;
    int64_t certain;                           /* sights from which on what was expected is not counted; 0: all is */
    /* of each order, then of each copy length: tokens, and slots - 1 or -1 where the code itself is the slot */
    const int64_t *key_length, *key_mask;
    const int64_t *order_start;                /* first slot of each order's region */
    const int64_t *copy_length, *copy_reverse; /* of each copy that is followed */
    const int64_t *copy_number;                /* its place among the copy lengths */
    const uint8_t *complement;                 /* alphabet + 1 entries, or null */
    const uint64_t *up, *down;                 /* M^i and M^-i, lead + chunk + 1 of each */
} Layout;

typedef struct {
    uint8_t *slots; /* of each bucket the counts of both slots, then their check bits: 2 A + 4 bytes */
    int32_t *places;
    uint8_t *tokens;
    int64_t *latest_low, *oldest_low;
    int64_t *offset;
    uint8_t *live;
    int64_t *clean;
    int64_t *best;
    uint8_t *hits;
} State;

typedef struct {
    uint8_t *counts, *hits;
    int64_t *symbol, *source, *run, *misses;
} Reading;

/* A chunk, or what is known of it. Index 0 of what has LONGEST + 1 entries is the position before the chunk. */
typedef struct {
    int64_t start, length, fresh;
    int64_t since[LONGEST + 1];                  /* known tokens in a row up to here */
    uint64_t latest[LONGEST + 1], oldest[LONGEST + 1]; /* packed windows */
    uint64_t mirrored[LONGEST + 1], mirrored_oldest[LONGEST + 1];
    uint8_t *window, *other;       /* tokens and their complements, from `lead` before the chunk on; unknown is 0 */
    uint8_t *whole;                /* tokens as they are */
    uint64_t *sums, *other_sums;   /* sums of (s + 1) M^-i and of (c + 1) M^i before each place */
    uint32_t *slot, *other_slot;   /* keys x (LONGEST + 1) */
    int16_t *tag, *other_tag;
    uint8_t *halved;               /* room for the counts of 2 x LONGEST slots */
} Chunk;

INLINE uint64_t low_bits(int64_t count) { return count >= 64 ? ~0ull : (1ull << count) - 1; }
