/* IOVA to memory: a radix tree of four levels, as an IOMMU's page table, and what lets memory be taken away while an
 * engine runs.
 *
 * An engine is inside (an odd count) or outside.  Unmapping stores empty entries and a new era, then a full fence, then
 * looks at the counts; entering stores an odd count, then a full fence, then looks at the era.  So either the engine
 * sees the new era, and the entries that went with it, or the unmapper sees the engine inside, and waits. */
#include "dma.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 4
#define SLOTS 512
#define WRITABLE 1UL

struct table {
    void *slot[SLOTS]; /* tables below; at the last level an address, with WRITABLE in its lowest bit */
};

struct dma_map {
    struct table *root;
    pthread_mutex_t lock; /* of whoever changes it */
    struct dma_user *users;
    uint64_t era, pages;
    uint64_t held;      /* pieces of data on their way */
    uint64_t unmapping; /* whether somebody may wait for these */
    struct { uint64_t inside; struct dma_user *user; } *waited; /* who was inside at the last unmapping */
    size_t waited_count, users_count;
};

struct dma_map *dma_map_make(void)
{
    struct dma_map *map = calloc(1, sizeof *map);

    if (!map)
        return NULL;
    map->root = calloc(1, sizeof *map->root);
    if (!map->root) {
        free(map);
        return NULL;
    }
    pthread_mutex_init(&map->lock, NULL);
    return map;
}

static void end_table(struct table *table, int level)
{
    if (level < LEVELS - 1)
        for (int i = 0; i < SLOTS; i++)
            if (table->slot[i])
                end_table(table->slot[i], level + 1);
    free(table);
}

void dma_map_end(struct dma_map *map)
{
    struct dma_user *user, *next;

    if (!map)
        return;
    for (user = map->users; user; user = next) {
        next = user->next;
        free(user);
    }
    end_table(map->root, 0);
    pthread_mutex_destroy(&map->lock);
    free(map->waited);
    free(map);
}

static bool range_valid(uint64_t iova, uint64_t length)
{
    return iova % DMA_PAGE == 0 && length % DMA_PAGE == 0 && length > 0 && iova < 1UL << 48 &&
           length <= (1UL << 48) - iova;
}

/* The slot of an IOVA at the last level; NULL: there is none, or no memory to make it. */
static void **slot_of(struct dma_map *map, uint64_t iova, bool make)
{
    struct table *table = map->root;

    for (int level = 0; level < LEVELS - 1; level++) {
        void **slot = &table->slot[iova >> (39 - 9 * level) & (SLOTS - 1)];
        struct table *below = __atomic_load_n(slot, __ATOMIC_ACQUIRE);

        if (!below) {
            if (!make || !(below = calloc(1, sizeof *below)))
                return NULL;
            __atomic_store_n(slot, below, __ATOMIC_RELEASE);
        }
        table = below;
    }
    return &table->slot[iova >> 12 & (SLOTS - 1)];
}

int dma_map_range(struct dma_map *map, uint64_t iova, void *address, uint64_t length, bool writable)
{
    int result = 0;

    if (!range_valid(iova, length) || (uintptr_t)address % DMA_PAGE || !address)
        return -EINVAL;
    pthread_mutex_lock(&map->lock);
    for (uint64_t at = 0; at < length && !result; at += DMA_PAGE) {
        void **slot = slot_of(map, iova + at, true);

        result = !slot ? -ENOMEM : *slot ? -EEXIST : 0;
    }
    for (uint64_t at = 0; at < length && !result; at += DMA_PAGE) {
        __atomic_store_n(slot_of(map, iova + at, true), (void *)((uintptr_t)address + at + (writable ? WRITABLE : 0)),
                         __ATOMIC_RELEASE);
        map->pages++;
    }
    pthread_mutex_unlock(&map->lock);
    return result;
}

int dma_unmap_range(struct dma_map *map, uint64_t iova, uint64_t length)
{
    struct dma_user *user;

    if (!range_valid(iova, length))
        return -EINVAL;
    pthread_mutex_lock(&map->lock);
    for (uint64_t at = 0; at < length;) {
        void **slot = slot_of(map, iova + at, false);

        if (!slot) { /* nothing below this table: 2 MiB at least */
            at += (2UL << 20) - (iova + at) % (2UL << 20);
            continue;
        }
        if (*slot) {
            __atomic_store_n(slot, NULL, __ATOMIC_RELEASE);
            map->pages--;
        }
        at += DMA_PAGE;
    }
    __atomic_store_n(&map->era, map->era + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&map->unmapping, 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    map->waited_count = 0;
    for (user = map->users; user; user = user->next) {
        uint64_t inside = __atomic_load_n(&user->inside, __ATOMIC_ACQUIRE);

        if (inside % 2) {
            map->waited[map->waited_count].user = user;
            map->waited[map->waited_count++].inside = inside;
        }
    }
    pthread_mutex_unlock(&map->lock);
    return 0;
}

bool dma_quiet(struct dma_map *map)
{
    bool quiet;

    pthread_mutex_lock(&map->lock);
    for (size_t i = 0; i < map->waited_count;)
        if (__atomic_load_n(&map->waited[i].user->inside, __ATOMIC_ACQUIRE) != map->waited[i].inside)
            map->waited[i] = map->waited[--map->waited_count];
        else
            i++;
    quiet = map->waited_count == 0 && __atomic_load_n(&map->held, __ATOMIC_ACQUIRE) == 0;
    if (quiet)
        __atomic_store_n(&map->unmapping, 0, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&map->lock);
    return quiet;
}

uint64_t dma_pages(struct dma_map *map)
{
    uint64_t pages;

    pthread_mutex_lock(&map->lock);
    pages = map->pages;
    pthread_mutex_unlock(&map->lock);
    return pages;
}

static void forget(struct dma_user *user)
{
    for (size_t i = 0; i < DMA_LAST; i++)
        user->last[0][i].page = user->last[1][i].page = ~0UL;
}

struct dma_user *dma_user_make(struct dma_map *map)
{
    struct dma_user *user = calloc(1, sizeof *user);
    void *waited;

    if (!user)
        return NULL;
    pthread_mutex_lock(&map->lock);
    waited = realloc(map->waited, (map->users_count + 1) * sizeof *map->waited);
    if (waited) {
        map->waited = waited;
        map->users_count++;
        user->map = map;
        user->era = map->era;
        forget(user);
        user->next = map->users;
        map->users = user;
    }
    pthread_mutex_unlock(&map->lock);
    if (!waited)
        free(user);
    return waited ? user : NULL;
}

void dma_enter(struct dma_user *user)
{
    uint64_t era;

    __atomic_store_n(&user->inside, user->inside + 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    era = __atomic_load_n(&user->map->era, __ATOMIC_ACQUIRE);
    if (era != user->era) {
        forget(user);
        user->era = era;
    }
}

void dma_leave(struct dma_user *user)
{
    __atomic_store_n(&user->inside, user->inside + 1, __ATOMIC_RELEASE);
}

bool dma_may_hold(struct dma_user *user)
{
    return !__atomic_load_n(&user->map->unmapping, __ATOMIC_ACQUIRE);
}

void dma_hold(struct dma_user *user)
{
    __atomic_fetch_add(&user->map->held, 1, __ATOMIC_ACQ_REL);
}

void dma_release(struct dma_user *user)
{
    __atomic_fetch_sub(&user->map->held, 1, __ATOMIC_ACQ_REL);
}

void *dma_walk(struct dma_user *user, uint64_t iova, bool write)
{
    struct dma_last *last = &user->last[write][iova / DMA_PAGE % DMA_LAST];
    uintptr_t entry;
    void **slot;

    if (iova >> 48)
        return NULL;
    slot = slot_of(user->map, iova, false);
    entry = slot ? (uintptr_t)__atomic_load_n(slot, __ATOMIC_ACQUIRE) : 0;
    if (!entry || (write && !(entry & WRITABLE)))
        return NULL;
    last->page = iova / DMA_PAGE;
    last->address = (uint8_t *)(entry & ~WRITABLE);
    return last->address + iova % DMA_PAGE;
}

/* What is left of a page at an IOVA, `length` at most. */
static uint64_t in_page(uint64_t iova, uint64_t length)
{
    uint64_t left = DMA_PAGE - iova % DMA_PAGE;

    return left < length ? left : length;
}

bool dma_read(struct dma_user *user, uint64_t iova, void *to, uint64_t length)
{
    for (uint64_t part; length; iova += part, to = (uint8_t *)to + part, length -= part) {
        const void *from = dma_at(user, iova, part = in_page(iova, length), false);

        if (!from)
            return false;
        memcpy(to, from, part);
    }
    return true;
}

bool dma_write(struct dma_user *user, uint64_t iova, const void *from, uint64_t length)
{
    for (uint64_t part; length; iova += part, from = (const uint8_t *)from + part, length -= part) {
        void *to = dma_at(user, iova, part = in_page(iova, length), true);

        if (!to)
            return false;
        memcpy(to, from, part);
    }
    return true;
}
