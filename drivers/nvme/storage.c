/* Namespaces in memory and in files.  io_uring(7) is used by its system calls. */
#define _GNU_SOURCE
#include "storage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ALIGNMENT 4096 /* of memory, for O_DIRECT: enough for any device */
#define BUCKETS 4096
#define ZEROES (256UL << 10)
#define SUBMIT_AT 4 /* operations that the host begins while more are fetched; by ones costs more, by tens it idles */

struct ring {
    int fd;
    unsigned depth, in_progress, unsubmitted, tail;
    unsigned *sq_head, *sq_tail, *sq_array, sq_mask;
    unsigned *cq_head, *cq_tail, cq_mask;
    struct io_uring_sqe *sqe;
    struct io_uring_cqe *cqe;
    void *mapped[3];
    size_t length[3];
};

/* A block as it was at the last flush. */
struct before {
    struct before *next;
    uint64_t block;
    uint8_t bytes[];
};

struct operation {
    uint64_t tag, bytes;
    uint8_t *copy; /* where the caller's memory is not aligned; NULL: it is used itself */
    struct iovec *part;
    struct iovec whole;
    unsigned parts;
    bool read;
    struct operation *next;
};

struct storage {
    uint8_t *memory;
    int file;
    bool direct;
    uint64_t bytes;
    struct ring *ring;
    struct operation *operations, *unused;
    struct before **undo; /* BUCKETS lists, by block; NULL: not kept */
    uint32_t block;
};

/* --- io_uring --- */

static void ring_end(struct ring *ring)
{
    for (int i = 0; i < 3; i++)
        if (ring->mapped[i])
            munmap(ring->mapped[i], ring->length[i]);
    close(ring->fd);
    free(ring);
}

static struct ring *ring_make(unsigned depth)
{
    static const uint64_t offsets[3] = {IORING_OFF_SQ_RING, IORING_OFF_CQ_RING, IORING_OFF_SQES};
    struct io_uring_params p = {0};
    struct ring *ring = calloc(1, sizeof *ring);
    uint8_t *sq, *cq;

    if (!ring)
        return NULL;
    ring->fd = (int)syscall(SYS_io_uring_setup, depth, &p);
    if (ring->fd < 0) {
        free(ring);
        return NULL;
    }
    ring->length[0] = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    ring->length[1] = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    ring->length[2] = p.sq_entries * sizeof(struct io_uring_sqe);
    for (int i = 0; i < 3; i++) {
        void *at = mmap(NULL, ring->length[i], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
                        (off_t)offsets[i]);

        if (at == MAP_FAILED) {
            ring_end(ring);
            return NULL;
        }
        ring->mapped[i] = at;
    }
    sq = ring->mapped[0];
    cq = ring->mapped[1];
    ring->sq_head = (unsigned *)(sq + p.sq_off.head);
    ring->sq_tail = (unsigned *)(sq + p.sq_off.tail);
    ring->sq_array = (unsigned *)(sq + p.sq_off.array);
    ring->sq_mask = p.sq_entries - 1;
    ring->cq_head = (unsigned *)(cq + p.cq_off.head);
    ring->cq_tail = (unsigned *)(cq + p.cq_off.tail);
    ring->cq_mask = p.cq_entries - 1;
    ring->cqe = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
    ring->sqe = ring->mapped[2];
    ring->depth = depth < p.sq_entries ? depth : p.sq_entries;
    ring->tail = *ring->sq_tail;
    return ring;
}

static void ring_submit(struct ring *ring)
{
    while (ring->unsubmitted) {
        long taken = syscall(SYS_io_uring_enter, ring->fd, ring->unsubmitted, 0, 0, NULL, 0);

        if (taken > 0)
            ring->unsubmitted -= (unsigned)taken;
        else if (errno != EINTR)
            return; /* EAGAIN, EBUSY: later */
    }
}

static void ring_add(struct ring *ring, const struct io_uring_sqe *sqe)
{
    unsigned at = ring->tail & ring->sq_mask;

    ring->sqe[at] = *sqe;
    ring->sq_array[at] = at;
    ring->tail++;
    __atomic_store_n(ring->sq_tail, ring->tail, __ATOMIC_RELEASE);
    ring->in_progress++;
    if (++ring->unsubmitted >= SUBMIT_AT)
        ring_submit(ring);
}

/* --- whole operations, one by one --- */

/* Transfers all, however the host cuts it in pieces.  The parts are changed. */
static int transfer(struct storage *storage, bool read, uint64_t offset, struct iovec *part, unsigned parts,
                    bool through)
{
    while (parts) {
        unsigned many = parts < 256 ? parts : 256;
        ssize_t moved = read ? preadv(storage->file, part, (int)many, (off_t)offset)
                             : pwritev2(storage->file, part, (int)many, (off_t)offset, through ? RWF_DSYNC : 0);

        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return moved ? -errno : -EIO;
        offset += (uint64_t)moved;
        for (; parts && (size_t)moved >= part->iov_len; part++, parts--)
            moved -= (ssize_t)part->iov_len;
        if (parts) {
            part->iov_base = (uint8_t *)part->iov_base + moved;
            part->iov_len -= (size_t)moved;
        }
    }
    return 0;
}

static int zero_in_file(struct storage *storage, uint64_t offset, uint64_t bytes)
{
    void *zeroes;
    int result = 0;

    if (fallocate(storage->file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)bytes) == 0)
        return 0;
    if (posix_memalign(&zeroes, ALIGNMENT, ZEROES))
        return -ENOMEM;
    memset(zeroes, 0, ZEROES);
    while (bytes && !result) {
        uint64_t now = bytes < ZEROES ? bytes : ZEROES;
        struct iovec part = {zeroes, now};

        result = transfer(storage, false, offset, &part, 1, false);
        offset += now;
        bytes -= now;
    }
    free(zeroes);
    return result;
}

static bool aligned(const struct iovec *part, unsigned parts)
{
    for (unsigned i = 0; i < parts; i++)
        if ((uintptr_t)part[i].iov_base % 512 || part[i].iov_len % 512)
            return false;
    return true;
}

static void scatter(const struct iovec *part, unsigned parts, const uint8_t *from)
{
    for (unsigned i = 0; i < parts; from += part[i++].iov_len)
        memcpy(part[i].iov_base, from, part[i].iov_len);
}

static void collect(const struct iovec *part, unsigned parts, uint8_t *to)
{
    for (unsigned i = 0; i < parts; to += part[i++].iov_len)
        memcpy(to, part[i].iov_base, part[i].iov_len);
}

/* Like transfer, but what O_DIRECT would refuse goes by a copy. */
static int transfer_any(struct storage *storage, bool read, uint64_t offset, uint64_t bytes, struct iovec *part,
                        unsigned parts, bool through)
{
    struct iovec whole;
    void *copy;
    int result;

    if (!storage->direct || aligned(part, parts))
        return transfer(storage, read, offset, part, parts, through);
    if (posix_memalign(&copy, ALIGNMENT, bytes))
        return -ENOMEM;
    whole = (struct iovec){copy, bytes};
    if (!read)
        collect(part, parts, copy);
    result = transfer(storage, read, offset, &whole, 1, through);
    if (read && !result)
        scatter(part, parts, copy);
    free(copy);
    return result;
}

static int move_now(struct storage *storage, bool read, uint64_t offset, uint64_t bytes, struct iovec *part,
                    unsigned parts, bool through)
{
    if (!storage->memory)
        return transfer_any(storage, read, offset, bytes, part, parts, through);
    if (read)
        scatter(part, parts, storage->memory + offset);
    else
        collect(part, parts, storage->memory + offset);
    return 0;
}

/* --- what was before --- */

static void forget(struct storage *storage, uint64_t block)
{
    struct before **link = &storage->undo[block % BUCKETS];

    for (; *link; link = &(*link)->next)
        if ((*link)->block == block) {
            struct before *found = *link;

            *link = found->next;
            free(found);
            return;
        }
}

static void forget_all(struct storage *storage)
{
    for (int i = 0; i < BUCKETS; i++)
        for (struct before *next, *at = storage->undo[i]; at; at = next) {
            next = at->next;
            free(at);
        }
    memset(storage->undo, 0, BUCKETS * sizeof *storage->undo);
}

static int remember(struct storage *storage, uint64_t block)
{
    struct before *before;
    int result;

    for (before = storage->undo[block % BUCKETS]; before; before = before->next)
        if (before->block == block)
            return 0;
    if (posix_memalign((void **)&before, ALIGNMENT, sizeof *before + storage->block))
        return -ENOMEM;
    result = move_now(storage, true, block * storage->block, storage->block,
                      &(struct iovec){before->bytes, storage->block}, 1, false);
    if (result) {
        free(before);
        return result;
    }
    before->block = block;
    before->next = storage->undo[block % BUCKETS];
    storage->undo[block % BUCKETS] = before;
    return 0;
}

int storage_keep_undo(struct storage *storage, uint32_t block)
{
    storage->undo = calloc(BUCKETS, sizeof *storage->undo);
    storage->block = block;
    return storage->undo ? 0 : -ENOMEM;
}

int64_t storage_cut_power(struct storage *storage, uint64_t seed)
{
    int64_t lost = 0;

    if (!storage->undo)
        return -EINVAL;
    for (int i = 0; i < BUCKETS; i++)
        for (struct before *before = storage->undo[i]; before; before = before->next) {
            uint64_t drawn = (before->block + 1) * 0x9e3779b97f4a7c15UL ^ seed * 0xbf58476d1ce4e5b9UL;

            drawn = (drawn ^ drawn >> 29) * 0x94d049bb133111ebUL;
            if (drawn >> 63)
                continue;
            if (move_now(storage, false, before->block * storage->block, storage->block,
                         &(struct iovec){before->bytes, storage->block}, 1, false) == 0)
                lost++;
        }
    forget_all(storage);
    return lost;
}

static int do_now(struct storage *storage, enum storage_operation what, uint64_t offset, uint64_t bytes,
                  struct iovec *part, unsigned parts, bool through)
{
    bool changes = what == STORAGE_WRITE || what == STORAGE_ZERO;
    int result = 0;

    if (storage->undo && changes)
        for (uint64_t at = 0; at < bytes && !result; at += storage->block)
            result = remember(storage, (offset + at) / storage->block);
    if (result)
        return result;
    switch (what) {
    case STORAGE_READ:
    case STORAGE_WRITE:
        result = move_now(storage, what == STORAGE_READ, offset, bytes, part, parts, through);
        break;
    case STORAGE_FLUSH:
        if (!storage->memory && fdatasync(storage->file))
            result = -errno;
        break;
    case STORAGE_ZERO:
        if (storage->memory)
            memset(storage->memory + offset, 0, bytes);
        else
            result = zero_in_file(storage, offset, bytes);
        if (!result && through && !storage->memory && fdatasync(storage->file))
            result = -errno;
        break;
    }
    if (result || !storage->undo)
        return result;
    if (what == STORAGE_FLUSH)
        forget_all(storage);
    if (changes && through)
        for (uint64_t at = 0; at < bytes; at += storage->block)
            forget(storage, (offset + at) / storage->block);
    return 0;
}

/* --- the interface --- */

struct storage *storage_in_memory(void *at, uint64_t bytes)
{
    struct storage *storage = calloc(1, sizeof *storage);

    if (storage)
        *storage = (struct storage){.memory = at, .file = -1, .bytes = bytes};
    return storage;
}

struct storage *storage_in_file(int file, uint64_t bytes, bool direct, unsigned depth)
{
    struct storage *storage = calloc(1, sizeof *storage);

    if (!storage)
        return NULL;
    *storage = (struct storage){.file = file, .bytes = bytes, .direct = direct};
    if (depth && (storage->ring = ring_make(depth))) {
        storage->operations = calloc(storage->ring->depth, sizeof *storage->operations);
        if (!storage->operations) {
            storage_end(storage);
            return NULL;
        }
        for (unsigned i = 0; i < storage->ring->depth; i++) {
            storage->operations[i].next = storage->unused;
            storage->unused = &storage->operations[i];
        }
    }
    return storage;
}

void storage_end(struct storage *storage)
{
    uint64_t tag;
    int result;

    if (!storage)
        return;
    while (storage_in_progress(storage)) {
        storage_submit(storage);
        if (!storage_done(storage, &tag, &result))
            usleep(50);
    }
    if (storage->ring)
        ring_end(storage->ring);
    if (storage->undo)
        forget_all(storage);
    free(storage->undo);
    free(storage->operations);
    free(storage);
}

bool storage_is_asynchronous(const struct storage *storage)
{
    return storage->ring && !storage->undo;
}

int storage_start(struct storage *storage, enum storage_operation what, uint64_t offset, uint64_t bytes,
                  struct iovec *part, unsigned parts, bool through, uint64_t tag)
{
    struct io_uring_sqe sqe = {.fd = storage->file};
    struct operation *operation = storage->unused;
    void *copy = NULL;

    if (!storage_is_asynchronous(storage) || what == STORAGE_ZERO || !operation)
        return do_now(storage, what, offset, bytes, part, parts, through);
    *operation = (struct operation){.tag = tag, .bytes = bytes, .part = part, .parts = parts,
                                    .read = what == STORAGE_READ, .next = operation->next};
    if (what == STORAGE_FLUSH) {
        sqe.opcode = IORING_OP_FSYNC;
        sqe.fsync_flags = IORING_FSYNC_DATASYNC;
    } else {
        if (storage->direct && !aligned(part, parts)) {
            if (posix_memalign(&copy, ALIGNMENT, bytes))
                return -ENOMEM;
            operation->copy = copy;
            if (!operation->read)
                collect(part, parts, copy);
            operation->whole = (struct iovec){copy, bytes};
            part = &operation->whole;
            parts = 1;
        }
        if (parts == 1) { /* without a list of parts the host has less to do */
            sqe.opcode = operation->read ? IORING_OP_READ : IORING_OP_WRITE;
            sqe.addr = (uintptr_t)part->iov_base;
            sqe.len = (unsigned)part->iov_len;
        } else {
            sqe.opcode = operation->read ? IORING_OP_READV : IORING_OP_WRITEV;
            sqe.addr = (uintptr_t)part;
            sqe.len = parts;
        }
        sqe.off = offset;
        sqe.rw_flags = through && !operation->read ? RWF_DSYNC : 0;
    }
    storage->unused = operation->next;
    sqe.user_data = (uint64_t)(operation - storage->operations);
    ring_add(storage->ring, &sqe);
    return STORAGE_IN_PROGRESS;
}

int storage_flush(struct storage *storage)
{
    return do_now(storage, STORAGE_FLUSH, 0, 0, NULL, 0, false);
}

void storage_submit(struct storage *storage)
{
    if (storage->ring)
        ring_submit(storage->ring);
}

bool storage_done(struct storage *storage, uint64_t *tag, int *result)
{
    struct ring *ring = storage->ring;
    struct operation *operation;
    struct io_uring_cqe *cqe;
    unsigned head;

    if (!ring || !ring->in_progress)
        return false;
    head = *ring->cq_head;
    if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
        return false;
    cqe = &ring->cqe[head & ring->cq_mask];
    operation = &storage->operations[cqe->user_data];
    *tag = operation->tag;
    /* A transfer cut short is an error here: regular files give that at their end only, where none is asked for. */
    *result = cqe->res < 0 ? cqe->res : (uint64_t)cqe->res < operation->bytes ? -EIO : 0;
    __atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
    ring->in_progress--;
    if (operation->copy && operation->read && !*result)
        scatter(operation->part, operation->parts, operation->copy);
    free(operation->copy);
    operation->next = storage->unused;
    storage->unused = operation;
    return true;
}

void storage_wait(struct storage *storage, uint64_t ns)
{
    struct __kernel_timespec time = {(int64_t)(ns / 1000000000), (long long)(ns % 1000000000)};
    struct io_uring_getevents_arg how = {.ts = (uintptr_t)&time};

    if (!storage->ring || (syscall(SYS_io_uring_enter, storage->ring->fd, 0, 1,
                                   IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &how, sizeof how) < 0 &&
                           errno == EINVAL))
        usleep(20);
}

unsigned storage_in_progress(const struct storage *storage)
{
    return storage->ring ? storage->ring->in_progress : 0;
}

bool storage_has_room(const struct storage *storage)
{
    return !storage_is_asynchronous(storage) || storage->unused;
}

uint8_t *storage_memory(const struct storage *storage)
{
    return storage->memory;
}
