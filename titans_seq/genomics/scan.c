/* The text of sequence lines into tokens, counts and runs: what `scan.py` does with numpy, in one pass.

   Every byte may go through `slow`, which is the definition. Most go through a fast way, as long as there is nothing
   but newlines and A, C, G, T in the case of the letter before. */
#include <stdint.h>
#include <string.h>

/* Changes whenever a structure or a function does; `scan_native.py` holds the same number. */
enum { SCAN_VERSION = 1 };
enum { N_TOKEN = 4, FOREIGN = 255, STEP = 64 };
enum { LENGTH, N_COUNT, GC_COUNT, SOFT_MASKED, COLUMNS };

struct text_scan {
    const uint8_t *text;
    const int64_t *begins, *ends, *rows; /* [pieces]: where there is sequence, and the row of `counts` it belongs to */
    int64_t pieces;
    const uint8_t *token_of_byte;  /* [256] */
    uint8_t *tokens;               /* room for every byte of the text, and STEP more */
    int64_t *counts;               /* [rows, COLUMNS], added to */
    int64_t *n_edges, *soft_edges; /* tokens where N, and lower case, begin or end; room for every byte of the text */
    int64_t *letters;              /* [256], added to: letters other than A, C, G, T, as upper case */
    int64_t *newlines;             /* [pieces] */
    int64_t size, n_edge_count, soft_edge_count, foreign; /* found; zero before */
};

struct place {
    struct text_scan *scan;
    int64_t *row, newlines;
    uint8_t *out;
    int in_n, in_soft;
};

static void slow(struct place *at, const uint8_t *text, const uint8_t *end) {
    struct text_scan *s = at->scan;
    const uint8_t *token_of_byte = s->token_of_byte;
    uint8_t *out = at->out; /* here and below: kept in registers, whatever a byte that is written might alias */
    int in_n = at->in_n, in_soft = at->in_soft;
    int64_t newlines = 0, n_count = 0, gc_count = 0, soft_masked = 0;
    for (; text < end; text++) {
        const uint8_t byte = *text, token = token_of_byte[byte];
        if (byte == '\n' || byte == ' ' || byte == '\t') {
            newlines += byte == '\n';
            continue;
        }
        const int is_n = token == N_TOKEN, is_soft = byte >> 5 & 1;
        if (is_n != in_n) s->n_edges[s->n_edge_count++] = out - s->tokens, in_n = is_n;
        if (is_soft != in_soft) s->soft_edges[s->soft_edge_count++] = out - s->tokens, in_soft = is_soft;
        if (token >= N_TOKEN || (byte & 0xDF) == 'U') s->letters[byte & 0xDF]++;
        if (token == FOREIGN) s->foreign = 1;
        n_count += is_n;
        gc_count += token == 1 || token == 2;
        soft_masked += is_soft;
        *out++ = token;
    }
    at->out = out, at->in_n = in_n, at->in_soft = in_soft;
    at->row[N_COUNT] += n_count, at->row[GC_COUNT] += gc_count, at->row[SOFT_MASKED] += soft_masked;
    at->newlines += newlines;
}

/* In both fast ways, bits 1 and 2 of a letter, read as Gray code, are its token (A 1000001 -> 00, C 1000011 -> 01,
   G 1000111 -> 10, T 1010100 -> 11), bit 1 alone tells C and G from A and T, and bit 5 is lower case. */

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define AVX2 __attribute__((target("avx2,bmi,popcnt")))

/* One bit per byte of a step. */
struct masks {
    uint64_t newline, plain, soft, gc;
};

AVX2 static inline __m256i tokens_of(__m256i text) {
    const __m256i gray = _mm256_xor_si256(text, _mm256_srli_epi16(text, 1));
    return _mm256_and_si256(_mm256_srli_epi16(gray, 1), _mm256_set1_epi8(3));
}

AVX2 static inline uint64_t top_bits(__m256i bytes) { return (uint32_t)_mm256_movemask_epi8(bytes); }

AVX2 static inline struct masks look(const uint8_t *text) {
    const __m256i letters = _mm256_set1_epi32('A' | 'C' << 8 | 'G' << 16 | 'T' << 24);
    struct masks m = {0, 0, 0, 0};
    for (int half = 0; half < STEP; half += 32) {
        const __m256i v = _mm256_loadu_si256((const __m256i *)(text + half));
        const __m256i upper = _mm256_and_si256(v, _mm256_set1_epi8((char)0xDF));
        m.newline |= top_bits(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('\n'))) << half;
        m.plain |= top_bits(_mm256_cmpeq_epi8(upper, _mm256_shuffle_epi8(letters, tokens_of(v)))) << half;
        m.soft |= top_bits(_mm256_slli_epi16(v, 2)) << half;
        m.gc |= top_bits(_mm256_slli_epi16(v, 6)) << half;
    }
    return m;
}

AVX2 static inline void put_tokens(uint8_t *out, const uint8_t *text) {
    for (int half = 0; half < STEP; half += 32)
        _mm256_storeu_si256((__m256i *)(out + half), tokens_of(_mm256_loadu_si256((const __m256i *)(text + half))));
}

/* While two steps are left: one is looked at, and from any of its lines a whole step is read and written; what lies
   behind the line's end is written over by the next. */
AVX2 static const uint8_t *fast(struct place *at, const uint8_t *text, const uint8_t *end) {
    for (; end - text >= 2 * STEP && !at->scan->foreign; text += STEP) {
        const struct masks m = look(text);
        const uint64_t letters = ~m.newline;
        if (at->in_n || (m.plain | m.newline) != ~(uint64_t)0 || (m.soft & letters) != (at->in_soft ? letters : 0)) {
            slow(at, text, text + STEP);
            continue;
        }
        const int newlines = __builtin_popcountll(m.newline);
        at->newlines += newlines;
        at->row[GC_COUNT] += __builtin_popcountll(m.gc & letters);
        at->row[SOFT_MASKED] += at->in_soft ? STEP - newlines : 0;
        int line = 0;
        for (uint64_t left = m.newline; left; left &= left - 1) {
            const int line_end = __builtin_ctzll(left);
            put_tokens(at->out, text + line);
            at->out += line_end - line;
            line = line_end + 1;
        }
        put_tokens(at->out, text + line);
        at->out += STEP - line;
    }
    return text;
}
#endif

#define EACH_BYTE 0x0101010101010101u

/* In words of eight letters, without such instructions; a word with a newline in it is left to `slow`. With the two
   other bits by which T differs turned over, A, C, G and T are the same in all bits but 1, 2 and 5. */
static const uint8_t *fast_words(struct place *at, const uint8_t *text, const uint8_t *end) {
    for (; end - text >= 8 && !at->scan->foreign; text += 8) {
        uint64_t word;
        memcpy(&word, text, 8);
        const uint64_t tokens = (word ^ word >> 1) >> 1 & 3 * EACH_BYTE;
        const uint64_t rest = word ^ (tokens >> 1 & tokens) * (('A' ^ 'T') & ~6);
        const uint64_t wanted = ('A' & ~6) | (at->in_soft ? 0x20 : 0);
        if (at->in_n || (rest & 0xF9 * EACH_BYTE) != wanted * EACH_BYTE) {
            slow(at, text, text + 8);
            continue;
        }
        at->row[GC_COUNT] += (word >> 1 & EACH_BYTE) * EACH_BYTE >> 56;
        at->row[SOFT_MASKED] += at->in_soft ? 8 : 0;
        memcpy(at->out, &tokens, 8);
        at->out += 8;
    }
    return text;
}

int titans_scan_version(void) { return SCAN_VERSION; }

/* 2: AVX2, 1: not. AVX-512 was tried: 0.34 ms instead of 0.40 for 4.7 MB, which nobody would see. */
int titans_scan_level(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("popcnt")) return 2;
#endif
    return 1;
}

/* Scan a text at `level`, or the best this processor has where that is lower. Soon after a foreign byte it stops. */
void titans_scan(struct text_scan *s, int level) {
    const int best = titans_scan_level();
    if (level > best) level = best;
    struct place at = {s, s->counts, 0, s->tokens, 0, 0};
    for (int64_t piece = 0; piece < s->pieces && !s->foreign; piece++) {
        const uint8_t *text = s->text + s->begins[piece], *end = s->text + s->ends[piece], *first = at.out;
        at.row = s->counts + s->rows[piece] * COLUMNS, at.newlines = 0;
#if defined(__x86_64__) && defined(__GNUC__)
        if (level == 2) text = fast(&at, text, end);
#endif
        if (level == 1) text = fast_words(&at, text, end);
        if (!s->foreign) slow(&at, text, end);
        at.row[LENGTH] += at.out - first, s->newlines[piece] = at.newlines;
    }
    s->size = at.out - s->tokens;
}

/* The library is called through ctypes; Python's build tools ask for this name all the same. */
void *PyInit__scan(void) { return 0; }
