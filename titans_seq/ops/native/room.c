/* Working room that outlives a call: fetched anew it would cost a page fault for every 4 kB. */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#include <sys/mman.h>
#endif

#include <pthread.h>
#include <stdlib.h>

#include "chunk.h"

enum { HUGE_PAGE = 1 << 21 };

struct room {
    void *start;
    size_t bytes;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int failed;

static void leave(void *room) {
    free(((struct room *)room)->start);
    free(room);
}

static void make_key(void) { failed = pthread_key_create(&key, leave); } /* a thread that ends gives its room back */

void titans_huge_pages(void *start, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 4096, first = ((uintptr_t)start + page - 1) / page * page;
    if (bytes > page) (void)madvise((void *)first, ((uintptr_t)start + bytes - first) / page * page, MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

void *titans_room(size_t bytes) {
    pthread_once(&once, make_key);
    if (failed) return NULL;
    struct room *room = pthread_getspecific(key);
    if (!room) {
        room = calloc(1, sizeof *room);
        if (!room || pthread_setspecific(key, room)) {
            free(room);
            return NULL;
        }
    }
    if (bytes <= room->bytes) return room->start;
    free(room->start);
    room->start = NULL, room->bytes = 0;
    const size_t whole = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (posix_memalign(&room->start, HUGE_PAGE, whole)) {
        room->start = NULL;
        return NULL;
    }
    titans_huge_pages(room->start, whole);
    room->bytes = whole;
    return room->start;
}
