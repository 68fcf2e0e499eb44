/* The memory that a modelled device reaches: what its IOMMU domain maps, by I/O virtual address (IOVA), and nothing else.
 *
 * An engine, the part of a model that moves data, says when it begins and ends to use addresses that it has looked up
 * (dma_enter, dma_leave); taking memory away waits for those that had begun.  Data on its way to or from a file, which
 * goes on by itself, is *held* (dma_hold, dma_release), and waited for as well.
 *
 * What is between the cffi marks is declared to Python as it stands. */
#ifndef DMA_H
#define DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
#define DMA_PAGE 4096

struct dma_map;

/* An engine's use of a map.  The last translations are kept in it. */
struct dma_user;

struct dma_map *dma_map_make(void);

/* Ends a map that no engine uses any more, with all of its users. */
void dma_map_end(struct dma_map *map);

/* Maps `length` bytes at an IOVA to memory at `address`, all multiples of DMA_PAGE, below 2^48.
 * 0, or -EINVAL, -EEXIST (something is mapped there; nothing is changed) or -ENOMEM. */
int dma_map_range(struct dma_map *map, uint64_t iova, void *address, uint64_t length, bool writable);

/* Takes what is mapped there away.  New uses find nothing when this returns; old ones may be left: dma_wait.
 * 0, or -EINVAL. */
int dma_unmap_range(struct dma_map *map, uint64_t iova, uint64_t length);

/* Whether nobody uses what was unmapped before any more: no held data, no engine that has not left since. */
bool dma_quiet(struct dma_map *map);

/* Pages mapped. */
uint64_t dma_pages(struct dma_map *map);

struct dma_user *dma_user_make(struct dma_map *map);

/* Between these an engine may use what it has looked up.  Not nested. */
void dma_enter(struct dma_user *user);
void dma_leave(struct dma_user *user);

/* Copies from or to the device's memory, across pages.  False: not all of it is allowed; then part may be copied. */
bool dma_read(struct dma_user *user, uint64_t iova, void *to, uint64_t length);
bool dma_write(struct dma_user *user, uint64_t iova, const void *from, uint64_t length);
/* cffi: end */

/* False while memory is being taken away: no more data may be held then.  Between dma_enter and dma_leave. */
bool dma_may_hold(struct dma_user *user);
void dma_hold(struct dma_user *user);
void dma_release(struct dma_user *user);

/* Not for engines: dma_at where the translation is not among the last. */
void *dma_walk(struct dma_user *user, uint64_t iova, bool write);

#define DMA_LAST 256

struct dma_last {
    uint64_t page;    /* page number of the IOVA; ~0: nothing */
    uint8_t *address; /* of the page */
};

struct dma_user {
    struct dma_map *map;
    uint64_t era; /* of the map when `last` was emptied */
    uint64_t inside;
    struct dma_user *next;
    struct dma_last last[2][DMA_LAST]; /* for reading, for writing */
};

/* The memory at an IOVA, good for `length` bytes; NULL where the domain does not allow it, or where the range crosses
 * into another page.  `length` is 1 to DMA_PAGE. */
static inline void *dma_at(struct dma_user *user, uint64_t iova, uint64_t length, bool write)
{
    uint64_t page = iova / DMA_PAGE, offset = iova % DMA_PAGE;
    const struct dma_last *last = &user->last[write][page % DMA_LAST];

    if (offset + length > DMA_PAGE)
        return NULL;
    if (last->page == page)
        return last->address + offset;
    return dma_walk(user, iova, write);
}

#endif
