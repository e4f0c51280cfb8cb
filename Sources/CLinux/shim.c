// The lock ranks that a thread holds, for debug builds: defined once, since they share a thread-local list.
#include "CLinux.h"

#include <stdio.h>
#include <stdlib.h>

struct held_lock {
    const uint32_t *word;
    uint32_t rank;
    uint32_t order;
};

// In the order of acquisition, so the last one has the highest rank and order.
static _Thread_local struct held_lock *held;
static _Thread_local size_t held_count;
static _Thread_local size_t held_capacity;

// The names of LockRank's cases, in order.
static const char *const rank_names[] = {
    "none",    "fileSync", "turn",         "sweep",           "journalingDemand", "journalStream",
    "journal", "stripe",   "policyEditor", "settingsEffects", "value",            "mailbox",
    "pagePool", "policyTable"};
enum { rank_count = sizeof rank_names / sizeof *rank_names };

const char *clinux_rank_name(uint32_t rank) { return rank < rank_count ? rank_names[rank] : "?"; }

int clinux_rank_permits(uint32_t rank, uint32_t order) {
    if (held_count == 0) return 1;
    struct held_lock last = held[held_count - 1];
    return last.rank < rank || (last.rank == rank && last.order < order);
}

void clinux_rank_acquire(const uint32_t *word, uint32_t rank, uint32_t order) {
    if (!clinux_rank_permits(rank, order)) {
        struct held_lock last = held[held_count - 1];
        fprintf(stderr, "lock order: taking %s %u while holding %s %u\n", clinux_rank_name(rank), order,
                clinux_rank_name(last.rank), last.order);
        abort();
    }
    if (held_count == held_capacity) {
        held_capacity = held_capacity ? held_capacity * 2 : 16;
        held = realloc(held, held_capacity * sizeof *held);
        if (!held) abort();
    }
    held[held_count++] = (struct held_lock){word, rank, order};
}

void clinux_rank_release(const uint32_t *word) {
    for (size_t place = held_count; place > 0; place--) {
        if (held[place - 1].word != word) continue;
        for (size_t next = place; next < held_count; next++) held[next - 1] = held[next];
        held_count--;
        // Otherwise an exiting thread would leak it.
        if (held_count == 0) {
            free(held);
            held = 0;
            held_capacity = 0;
        }
        return;
    }
    fprintf(stderr, "lock order: releasing a lock that this thread does not hold\n");
    abort();
}

void clinux_rank_assert_free(uint32_t highest) {
    if (held_count == 0 || held[held_count - 1].rank <= highest) return;
    struct held_lock last = held[held_count - 1];
    fprintf(stderr, "lock order: waiting while holding %s %u\n", clinux_rank_name(last.rank), last.order);
    abort();
}
