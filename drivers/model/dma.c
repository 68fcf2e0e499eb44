/* IOVA to memory: a hash table of pages and of 2 MiB blocks, whose size follows from how much is mapped and not from
 * where; and what lets memory be taken away while an engine runs.
 *
 * An engine is inside (an odd count) or outside.  Unmapping stores empty entries and a new era, then a full fence, then
 * looks at the counts; entering stores an odd count, then a full fence, then looks at the era.  So either the engine
 * sees the new era, and the entries that went with it, or the unmapper sees the engine inside, and waits.
 *
 * Engines read the table while it changes: the key of an entry never changes once it is there, an empty value is one
 * that was taken away; a table that has become too full is replaced, and the old one freed when all is quiet. */
#include "dma.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK (2UL << 20)
#define WRITABLE 1UL

struct entry {
    uint64_t key;   /* page number of the IOVA times 2, and 1 for a block; plus 2, so that 0 is free */
    uint64_t value; /* address, with WRITABLE in its lowest bit; 0: nothing */
};

struct table {
    uint64_t mask, used; /* used: keys, also of what was taken away */
    struct table *retired;
    struct entry entry[];
};

struct dma_map {
    struct table *table;
    struct table *retired; /* replaced since the last unmapping */
    struct table *leaving; /* before: nobody has them once all is quiet */
    pthread_mutex_t lock;  /* of whoever changes it */
    struct dma_user *users;
    uint64_t era, pages;
    uint64_t entries;   /* that map something */
    uint64_t held;      /* pieces of data on their way */
    uint64_t unmapping; /* whether somebody may wait for these */
    struct { uint64_t inside; struct dma_user *user; } *waited; /* who was inside at the last unmapping */
    size_t waited_count, users_count;
};

static struct table *make_table(uint64_t size)
{
    struct table *table = calloc(1, sizeof *table + size * sizeof table->entry[0]);

    if (table)
        table->mask = size - 1;
    return table;
}

/* Fibonacci hashing; the upper bits are the mixed ones. */
static uint64_t place_of(uint64_t key)
{
    return key * 0x9e3779b97f4a7c15UL >> 32;
}

static uint64_t page_key(uint64_t iova)
{
    return (iova / DMA_PAGE << 1) + 2;
}

static uint64_t block_key(uint64_t iova)
{
    return (iova / BLOCK * (BLOCK / DMA_PAGE) << 1 | 1) + 2;
}

/* The entry with this key; else NULL, or with `make` a new one.  A table always has free entries. */
static struct entry *find(struct table *table, uint64_t key, bool make)
{
    for (uint64_t i = place_of(key);; i++) {
        struct entry *entry = &table->entry[i & table->mask];
        uint64_t there = __atomic_load_n(&entry->key, __ATOMIC_ACQUIRE);

        if (there == key)
            return entry;
        if (there == 0) {
            if (!make)
                return NULL;
            table->used++;
            __atomic_store_n(&entry->key, key, __ATOMIC_RELEASE);
            return entry;
        }
    }
}

/* Sees to room for `more` entries.  False: no memory. */
static bool make_room(struct dma_map *map, uint64_t more)
{
    struct table *old = map->table, *table;
    uint64_t size = 64;

    if ((old->used + more) * 2 <= old->mask + 1)
        return true;
    while (size < (map->entries + more) * 4)
        size *= 2;
    table = make_table(size);
    if (!table)
        return false;
    for (uint64_t i = 0; i <= old->mask; i++)
        if (old->entry[i].value)
            find(table, old->entry[i].key, true)->value = old->entry[i].value;
    __atomic_store_n(&map->table, table, __ATOMIC_RELEASE);
    old->retired = map->retired;
    map->retired = old;
    return true;
}

static void end_tables(struct table **list)
{
    struct table *next;

    for (struct table *table = *list; table; table = next) {
        next = table->retired;
        free(table);
    }
    *list = NULL;
}

/* What maps an IOVA, page or block; NULL: nothing. */
static struct entry *entry_of(struct table *table, uint64_t iova)
{
    struct entry *entry = find(table, page_key(iova), false);

    if (entry && __atomic_load_n(&entry->value, __ATOMIC_ACQUIRE))
        return entry;
    entry = find(table, block_key(iova), false);
    return entry && __atomic_load_n(&entry->value, __ATOMIC_ACQUIRE) ? entry : NULL;
}

static bool is_block(const struct entry *entry)
{
    return entry->key & 1;
}

struct dma_map *dma_map_make(void)
{
    struct dma_map *map = calloc(1, sizeof *map);

    if (!map)
        return NULL;
    map->table = make_table(64);
    if (!map->table) {
        free(map);
        return NULL;
    }
    pthread_mutex_init(&map->lock, NULL);
    return map;
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
    end_tables(&map->retired);
    end_tables(&map->leaving);
    free(map->table);
    pthread_mutex_destroy(&map->lock);
    free(map->waited);
    free(map);
}

static bool range_valid(uint64_t iova, uint64_t length)
{
    return iova % DMA_PAGE == 0 && length % DMA_PAGE == 0 && length > 0 && iova < 1UL << 48 &&
           length <= (1UL << 48) - iova;
}

static void put(struct dma_map *map, uint64_t key, uint64_t value)
{
    __atomic_store_n(&find(map->table, key, true)->value, value, __ATOMIC_RELEASE);
    map->entries++;
}

/* Whether a block, rather than a page, is next where `left` bytes from an IOVA on are mapped. */
static bool block_next(uint64_t iova, uint64_t left)
{
    return iova % BLOCK == 0 && left >= BLOCK;
}

int dma_map_range(struct dma_map *map, uint64_t iova, void *address, uint64_t length, bool writable)
{
    uint64_t to = (uintptr_t)address + (writable ? WRITABLE : 0), need = 0;
    int result = 0;

    if (!range_valid(iova, length) || (uintptr_t)address % DMA_PAGE || !address)
        return -EINVAL;
    pthread_mutex_lock(&map->lock);
    for (uint64_t at = 0; at < length && !result; at += DMA_PAGE)
        result = entry_of(map->table, iova + at) ? -EEXIST : 0;
    for (uint64_t at = 0; at < length; need++)
        at += block_next(iova + at, length - at) ? BLOCK : DMA_PAGE;
    if (!result && !make_room(map, need))
        result = -ENOMEM;
    for (uint64_t at = 0; at < length && !result;) {
        bool block = block_next(iova + at, length - at);

        put(map, block ? block_key(iova + at) : page_key(iova + at), to + at);
        at += block ? BLOCK : DMA_PAGE;
    }
    if (!result)
        map->pages += length / DMA_PAGE;
    pthread_mutex_unlock(&map->lock);
    return result;
}

static void take(struct dma_map *map, struct entry *entry)
{
    __atomic_store_n(&entry->value, 0, __ATOMIC_RELEASE);
    map->entries--;
    map->pages -= is_block(entry) ? BLOCK / DMA_PAGE : 1;
}

/* Takes a block away but for the pages below `from` and those at `to` and above.  False: no memory. */
static bool cut_block(struct dma_map *map, uint64_t iova, uint64_t from, uint64_t to)
{
    uint64_t first = iova / BLOCK * BLOCK, value;
    struct entry *block;

    if (!make_room(map, BLOCK / DMA_PAGE))
        return false;
    block = find(map->table, block_key(iova), false);
    value = block->value;
    for (uint64_t at = 0; at < BLOCK; at += DMA_PAGE) {
        if (first + at >= from && first + at < to)
            continue;
        put(map, page_key(first + at), value + at);
        map->pages++;
    }
    take(map, block); /* last: what stays is never missing */
    return true;
}

/* Empties iova .. end.  False: no memory. */
static bool unmap_some(struct dma_map *map, uint64_t iova, uint64_t end)
{
    for (uint64_t at = iova; at < end;) {
        uint64_t first = at / BLOCK * BLOCK;
        struct entry *entry = entry_of(map->table, at);

        if (entry && is_block(entry)) {
            if (first >= iova && first + BLOCK <= end)
                take(map, entry);
            else if (!cut_block(map, at, iova, end))
                return false;
            at = first + BLOCK;
        } else {
            if (entry)
                take(map, entry);
            at += DMA_PAGE;
        }
    }
    return true;
}

int dma_unmap_range(struct dma_map *map, uint64_t iova, uint64_t length)
{
    uint64_t end = iova + length;
    struct dma_user *user;
    int result = 0;

    if (!range_valid(iova, length))
        return -EINVAL;
    pthread_mutex_lock(&map->lock);
    if (length / DMA_PAGE > map->table->mask) { /* much of nothing: look at what there is */
        for (uint64_t i = 0; i <= map->table->mask; i++) {
            struct entry *entry = &map->table->entry[i];
            uint64_t at = (entry->key - 2) / 2 * DMA_PAGE;

            if (entry->value && at >= iova && at + (is_block(entry) ? BLOCK : DMA_PAGE) <= end)
                take(map, entry);
        }
        /* What is left is at most a block at each end, cut in two. */
        uint64_t last = end / BLOCK * BLOCK;

        if (!unmap_some(map, last > iova ? last : iova, end))
            result = -ENOMEM;
        end = iova + BLOCK < end ? iova + BLOCK : end;
    }
    if (!result && !unmap_some(map, iova, end))
        result = -ENOMEM;
    __atomic_store_n(&map->era, map->era + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&map->unmapping, 1, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (struct table *table; (table = map->retired);) {
        map->retired = table->retired;
        table->retired = map->leaving;
        map->leaving = table;
    }
    map->waited_count = 0;
    for (user = map->users; user; user = user->next) {
        uint64_t inside = __atomic_load_n(&user->inside, __ATOMIC_ACQUIRE);

        if (inside % 2) {
            map->waited[map->waited_count].user = user;
            map->waited[map->waited_count++].inside = inside;
        }
    }
    pthread_mutex_unlock(&map->lock);
    return result;
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
    if (quiet) {
        __atomic_store_n(&map->unmapping, 0, __ATOMIC_RELEASE);
        end_tables(&map->leaving);
    }
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
    const struct entry *entry;
    uint64_t value, offset;

    if (iova >> 48)
        return NULL;
    entry = entry_of(__atomic_load_n(&user->map->table, __ATOMIC_ACQUIRE), iova);
    value = entry ? __atomic_load_n(&entry->value, __ATOMIC_ACQUIRE) : 0;
    if (!value || (write && !(value & WRITABLE)))
        return NULL;
    offset = is_block(entry) ? iova % BLOCK : iova % DMA_PAGE;
    last->page = iova / DMA_PAGE;
    last->address = (uint8_t *)(value & ~WRITABLE) + (offset & ~(uint64_t)(DMA_PAGE - 1));
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
