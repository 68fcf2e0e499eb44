/* The driver.  Sections are those of the NVM Express base specification, revision 1.4. */
#include "driver.h"

#include <string.h>

enum { CAP = 0x00, VS = 0x08, INTMS = 0x0c, CC = 0x14, CSTS = 0x1c, AQA = 0x24, ASQ = 0x28, ACQ = 0x30 };

#define DOORBELLS 0x1000
#define CC_ENABLE (1 | 6 << 16 | 4 << 20) /* pages of 4 KiB, entries of 64 and 16 bytes */
#define CC_SHUTDOWN (1 << 14)
#define CSTS_READY 1u
#define CSTS_FATAL 2u
#define CSTS_SHUT_DOWN (2u << 2)
#define GONE 0xffffffffu

enum { DELETE_SQ = 0x00, CREATE_SQ = 0x01, DELETE_CQ = 0x04, CREATE_CQ = 0x05, IDENTIFY = 0x06, ABORT = 0x08,
       SET_FEATURES = 0x09, DOORBELL_BUFFERS = 0x7c };
enum { FLUSH = 0x00, WRITE = 0x01, READ = 0x02, WRITE_ZEROES = 0x08, DATASET_MANAGEMENT = 0x09 };

#define NUMBER_OF_QUEUES 0x07
#define OACS_SHADOW (1u << 8)
#define DO_NOT_REPEAT 0x4000u
#define ABORT_REQUESTED 0x07u
#define SLOT_BITS 8 /* of a command identifier; the others are a generation, by which late completions are known */
#define ADMIN_SIZE 32
#define LOOK_EVERY 256 /* polls in vain, before timeouts are looked at */

_Static_assert(DISK_DEPTH <= 1 << SLOT_BITS, "a slot is named by these bits");

struct sqe {
    uint32_t dw0, nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};

_Static_assert(sizeof(struct sqe) == 64, "as in 4.2");

/* --- queues --- */

/* Fresh rings: zeroes, so that the first pass of completions has phase 1. */
static void restart_queue(struct disk_queue *queue)
{
    queue->tail = queue->head = 0;
    queue->phase = 1;
    queue->free_count = 0;
    for (unsigned i = queue->size - 1; i-- > 0;) {
        queue->slot[i].request = NULL;
        queue->slot[i].aborting = false;
        queue->free[queue->free_count++] = (uint16_t)i;
    }
    memset(queue->rings.at, 0, queue->rings.size);
}

static uint64_t bytes_of_sq(const struct disk_queue *queue)
{
    return (queue->size * 64UL + DEVICE_PAGE - 1) & ~(DEVICE_PAGE - 1);
}

static int make_queue(struct disk *disk, struct disk_queue *queue, unsigned id, unsigned size)
{
    unsigned stride = 4u << (disk->capabilities >> 32 & 15);
    int result;

    queue->disk = disk;
    queue->id = id;
    queue->size = size;
    queue->tail_register = (volatile uint32_t *)((volatile char *)disk->doorbells + 2 * id * stride);
    queue->head_register = (volatile uint32_t *)((volatile char *)disk->doorbells + (2 * id + 1) * stride);
    result = device_memory_make(disk->device, bytes_of_sq(queue) + size * 16UL, &queue->rings);
    if (result == 0 && id) /* a page a slot, for a list of the pages of its data */
        result = device_memory_make(disk->device, size * DEVICE_PAGE, &queue->lists);
    if (result)
        return result;
    queue->sq = queue->rings.at;
    queue->cq = (volatile uint32_t *)((uint8_t *)queue->rings.at + bytes_of_sq(queue));
    restart_queue(queue);
    return 0;
}

/* Whether the device asked to be told, of a value between these two (5.7). */
static inline bool asked_for(uint32_t event, uint32_t new, uint32_t old)
{
    return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

static void ring(struct disk_queue *queue, volatile uint32_t *at, volatile uint32_t *shadow,
                 const volatile uint32_t *event, uint32_t new, uint32_t old)
{
    if (shadow) {
        memory_write_last(shadow, new);
        memory_fence(); /* the shadow is there before EventIdx is read: the device does the same the other way round */
        if (queue->id && !asked_for(*event, new, old))
            return;
    }
    queue->disk->count.doorbells++;
    register_write(at, 0, new);
}

static void ring_tail(struct disk_queue *queue, uint32_t old)
{
    ring(queue, queue->tail_register, queue->tail_shadow, queue->tail_event, queue->tail, old);
}

static void ring_head(struct disk_queue *queue, uint32_t old)
{
    ring(queue, queue->head_register, queue->head_shadow, queue->head_event, queue->head, old);
}

/* Puts an entry at the tail.  All of it is there before the doorbell, which is a later store. */
static inline void put(struct disk_queue *queue, const struct sqe *sqe)
{
    memcpy((void *)(queue->sq + queue->tail * 16), sqe, sizeof *sqe);
    if (++queue->tail == queue->size)
        queue->tail = 0;
}

/* The next completion: false if there is none.  Its phase is read before the rest. */
static inline bool take(struct disk_queue *queue, uint32_t *result, uint32_t *last)
{
    const volatile uint32_t *entry = queue->cq + queue->head * 4;

    *last = memory_read_first(entry + 3);
    if ((*last >> 16 & 1) != queue->phase)
        return false;
    *result = entry[0];
    if (++queue->head == queue->size) {
        queue->head = 0;
        queue->phase ^= 1;
    }
    return true;
}

/* --- admin commands, one at a time --- */

static bool is_gone(struct disk *disk)
{
    if (register_read(disk->registers, CSTS) == GONE)
        disk->gone = true;
    return disk->gone;
}

/* Sleeps a little, or not at all where interrupts are not used. */
static void rest(struct disk *disk)
{
    if (disk->options.interrupts)
        device_wait(disk->device, 1000000);
    else
        device_pause();
}

/* Its completion's dword 0 in *result, which may be NULL.  0, -DEVICE_EIO with *status, or another error. */
static int run_admin(struct disk *disk, struct sqe *sqe, uint32_t *result, uint16_t *status)
{
    struct disk_queue *queue = &disk->admin;
    struct disk_slot *slot = &queue->slot[0];
    uint32_t dword, last, old = queue->tail;
    uint64_t start = device_ticks();
    uint16_t cid = (uint16_t)(++slot->generation << SLOT_BITS);

    sqe->dw0 |= (uint32_t)cid << 16;
    put(queue, sqe);
    ring_tail(queue, old);
    for (unsigned tries = 1;; tries++) {
        old = queue->head;
        if (take(queue, &dword, &last)) {
            ring_head(queue, old);
            if ((uint16_t)last != cid) { /* of one that was given up */
                disk->count.strays++;
                continue;
            }
            if (status)
                *status = (uint16_t)(last >> 17);
            if (result)
                *result = dword;
            return last >> 17 & 0x7ff ? -DEVICE_EIO : 0;
        }
        if (tries % LOOK_EVERY == 0 || disk->options.interrupts) {
            if (is_gone(disk))
                return -DEVICE_ENODEV;
            if (device_ticks() - start > disk->timeout)
                return -DEVICE_ETIMEDOUT;
        }
        rest(disk);
    }
}

static int identify(struct disk *disk, unsigned what, uint32_t nsid)
{
    struct sqe sqe = {.dw0 = IDENTIFY, .nsid = nsid, .prp1 = disk->page.iova, .dw10 = what};

    return run_admin(disk, &sqe, NULL, NULL);
}

static uint32_t u32_at(const struct disk *disk, unsigned at)
{
    uint32_t value;

    memcpy(&value, (const uint8_t *)disk->page.at + at, sizeof value);
    return value;
}

static void text_at(const struct disk *disk, unsigned at, unsigned length, char *to)
{
    memcpy(to, (const uint8_t *)disk->page.at + at, length);
    while (length && (to[length - 1] == ' ' || to[length - 1] == 0))
        length--;
    to[length] = 0;
    for (unsigned i = 0; i < length; i++)
        if (to[i] < ' ' || to[i] > '~')
            to[i] = '?';
}

/* What the controller and its first namespace are. */
static int identify_all(struct disk *disk)
{
    const uint8_t *page = disk->page.at;
    unsigned format, shift, mdts;
    uint32_t nsid;
    int result = identify(disk, 1, 0);

    if (result)
        return result;
    memcpy(&disk->vendor, page, sizeof disk->vendor);
    text_at(disk, 4, 20, disk->serial);
    text_at(disk, 24, 40, disk->model);
    text_at(disk, 64, 8, disk->firmware);
    mdts = page[77];
    disk->write_cache = page[525] & 1;
    disk->shadowed = (u32_at(disk, 256) & OACS_SHADOW) && !disk->options.no_shadow;
    /* A list of one page: 512 pages of data, and the one that PRP1 names. */
    disk->most = 512 * DEVICE_PAGE;
    if (mdts && mdts < 9)
        disk->most = DEVICE_PAGE << mdts;
    result = identify(disk, 2, 0);
    if (result)
        return result;
    nsid = u32_at(disk, 0);
    if (nsid != 1) /* commands say 1 */
        return -DEVICE_ENXIO;
    result = identify(disk, 0, nsid);
    if (result)
        return result;
    memcpy(&disk->blocks, page, sizeof disk->blocks);
    format = page[26] & 15;
    shift = page[128 + 4 * format + 2];
    if (shift < 9 || shift > 12 || page[128 + 4 * format] || page[128 + 4 * format + 1])
        return -DEVICE_EINVAL; /* blocks of another size, or with metadata */
    disk->block = 1u << shift;
    return 0;
}

/* Waits for CSTS.RDY, as long as CAP.TO allows (3.1.1). */
static int wait_ready(struct disk *disk, bool ready)
{
    uint64_t start = device_ticks();

    for (;;) {
        uint32_t status = register_read(disk->registers, CSTS);

        if (status == GONE) {
            disk->gone = true;
            return -DEVICE_ENODEV;
        }
        if (ready && status & CSTS_FATAL)
            return -DEVICE_EIO;
        if ((status & CSTS_READY) == ready)
            return 0;
        if (device_ticks() - start > disk->ready)
            return -DEVICE_ETIMEDOUT;
        device_pause();
    }
}

static int disable(struct disk *disk)
{
    register_write(disk->registers, CC, 0);
    return wait_ready(disk, false);
}

/* 7.6.1, from a controller that may be in any state to one whose admin queue works. */
static int enable(struct disk *disk)
{
    int result = disable(disk);

    if (result)
        return result;
    restart_queue(&disk->admin);
    disk->admin.tail_shadow = NULL;
    disk->admin.head_shadow = NULL;
    register_write(disk->registers, AQA, (ADMIN_SIZE - 1) | (ADMIN_SIZE - 1) << 16);
    register_write64(disk->registers, ASQ, disk->admin.rings.iova);
    register_write64(disk->registers, ACQ, disk->admin.rings.iova + bytes_of_sq(&disk->admin));
    register_write(disk->registers, CC, CC_ENABLE);
    return wait_ready(disk, true);
}

/* Doorbell buffers (5.7): values in memory, where a device that polls sees them without a register write. */
static int use_shadow(struct disk *disk)
{
    unsigned stride = 1u << (disk->capabilities >> 32 & 15);
    volatile uint32_t *shadow = disk->shadow.at, *events = shadow + DEVICE_PAGE / 4;
    struct sqe sqe = {.dw0 = DOORBELL_BUFFERS, .prp1 = disk->shadow.iova, .prp2 = disk->shadow.iova + DEVICE_PAGE};
    int result;

    if ((2 * disk->queues + 2) * stride * 4 > DEVICE_PAGE)
        return 0;
    memset(disk->shadow.at, 0, disk->shadow.size);
    result = run_admin(disk, &sqe, NULL, NULL);
    if (result)
        return result == -DEVICE_EIO ? 0 : result; /* refused: then without */
    for (unsigned id = 0; id <= disk->queues; id++) {
        struct disk_queue *queue = id ? &disk->queue[id - 1] : &disk->admin;

        queue->tail_shadow = shadow + 2 * id * stride;
        queue->head_shadow = shadow + (2 * id + 1) * stride;
        queue->tail_event = events + 2 * id * stride;
        queue->head_event = events + (2 * id + 1) * stride;
    }
    memory_write_last(disk->admin.tail_shadow, disk->admin.tail);
    memory_write_last(disk->admin.head_shadow, disk->admin.head);
    return 0;
}

/* 5.3, 5.4: the completion queue first. */
static int create_queue(struct disk *disk, struct disk_queue *queue)
{
    uint32_t vector = disk->device->vectors ? queue->id % disk->device->vectors : 0;
    struct sqe cq = {.dw0 = CREATE_CQ, .prp1 = queue->rings.iova + bytes_of_sq(queue),
                     .dw10 = queue->id | (queue->size - 1) << 16,
                     .dw11 = vector << 16 | (disk->options.interrupts ? 2 : 0) | 1};
    struct sqe sq = {.dw0 = CREATE_SQ, .prp1 = queue->rings.iova, .dw10 = queue->id | (queue->size - 1) << 16,
                     .dw11 = queue->id << 16 | 1};
    int result;

    restart_queue(queue);
    result = run_admin(disk, &cq, NULL, NULL);
    return result ? result : run_admin(disk, &sq, NULL, NULL);
}

/* All that comes after the admin queue: the number of queues, doorbell buffers, queues. */
static int set_up(struct disk *disk)
{
    struct sqe sqe = {.dw0 = SET_FEATURES, .dw10 = NUMBER_OF_QUEUES, .dw11 = (disk->queues - 1) * 0x10001};
    uint32_t granted;
    int result = run_admin(disk, &sqe, &granted, NULL);

    if (result)
        return result;
    if ((granted & 0xffff) + 1 < disk->queues)
        disk->queues = (granted & 0xffff) + 1;
    if ((granted >> 16) + 1 < disk->queues)
        disk->queues = (granted >> 16) + 1;
    if (disk->shadowed)
        result = use_shadow(disk);
    for (unsigned i = 0; i < disk->queues && !result; i++)
        result = create_queue(disk, &disk->queue[i]);
    return result;
}

static void free_memory(struct disk *disk)
{
    for (unsigned id = 0; id <= DISK_QUEUES; id++) {
        struct disk_queue *queue = id ? &disk->queue[id - 1] : &disk->admin;

        device_memory_end(disk->device, &queue->rings);
        device_memory_end(disk->device, &queue->lists);
    }
    device_memory_end(disk->device, &disk->page);
    device_memory_end(disk->device, &disk->shadow);
}

static int open_registers(struct disk *disk)
{
    unsigned stride;

    disk->registers = device_registers(disk->device, 0, 0, DEVICE_PAGE);
    if (!disk->registers)
        return -DEVICE_ENXIO;
    if (register_read(disk->registers, VS) == GONE)
        return -DEVICE_ENODEV;
    disk->capabilities = register_read64(disk->registers, CAP);
    stride = 4u << (disk->capabilities >> 32 & 15);
    if (!(disk->capabilities >> 37 & 1) || disk->capabilities >> 48 & 15)
        return -DEVICE_EINVAL; /* no NVM command set, or no pages of 4 KiB */
    disk->doorbells = device_registers(disk->device, 0, DOORBELLS,
                                       (2 * (disk->queues + 1) * stride + DEVICE_PAGE - 1) & ~(DEVICE_PAGE - 1));
    return disk->doorbells ? 0 : -DEVICE_ENXIO;
}

int disk_open(struct disk *disk, struct device *device, const struct disk_options *options)
{
    unsigned depth = options->depth ? options->depth : DISK_DEPTH;
    int result;

    if (options->queues > DISK_QUEUES || depth < 2 || depth > DISK_DEPTH)
        return -DEVICE_EINVAL;
    memset(disk, 0, sizeof *disk);
    disk->device = device;
    disk->options = *options;
    disk->queues = options->queues ? options->queues : 1;
    disk->timeout = (options->timeout_ms ? options->timeout_ms : 2000) * 1000 * device->per_us;
    result = open_registers(disk);
    if (result)
        return result;
    disk->ready = ((disk->capabilities >> 24 & 0xff) + 1) * 500000 * device->per_us;
    if (depth > (disk->capabilities & 0xffff) + 1)
        depth = (unsigned)(disk->capabilities & 0xffff) + 1;
    result = device_memory_make(device, DEVICE_PAGE, &disk->page);
    if (!result)
        result = device_memory_make(device, 2 * DEVICE_PAGE, &disk->shadow);
    if (!result)
        result = make_queue(disk, &disk->admin, 0, ADMIN_SIZE);
    for (unsigned i = 0; i < disk->queues && !result; i++)
        result = make_queue(disk, &disk->queue[i], i + 1, depth);
    if (!result)
        result = enable(disk);
    if (!result)
        result = identify_all(disk);
    if (!result)
        result = set_up(disk);
    if (result) {
        if (!disk->gone)
            disable(disk);
        free_memory(disk);
    }
    return result;
}

int disk_close(struct disk *disk)
{
    uint64_t start = device_ticks();
    int result = 0;

    for (unsigned i = disk->queues; i-- > 0 && !disk->gone && !result;) {
        struct sqe sq = {.dw0 = DELETE_SQ, .dw10 = i + 1}, cq = {.dw0 = DELETE_CQ, .dw10 = i + 1};

        result = run_admin(disk, &sq, NULL, NULL);
        if (!result)
            result = run_admin(disk, &cq, NULL, NULL);
    }
    if (!is_gone(disk)) {
        register_write(disk->registers, CC, CC_ENABLE | CC_SHUTDOWN);
        while ((register_read(disk->registers, CSTS) & 3u << 2) != CSTS_SHUT_DOWN && !is_gone(disk)) {
            if (device_ticks() - start > disk->timeout + disk->ready) {
                result = -DEVICE_ETIMEDOUT;
                break;
            }
            device_pause();
        }
        if (disable(disk) && !result)
            result = -DEVICE_EIO;
    }
    free_memory(disk);
    return disk->gone ? -DEVICE_ENODEV : result;
}

/* --- requests --- */

static bool is_valid(const struct disk *disk, const struct disk_request *request)
{
    uint64_t bytes = (uint64_t)request->blocks * disk->block, offset = request->iova % DEVICE_PAGE;

    if (request->operation == DISK_FLUSH)
        return true;
    if (request->operation > DISK_DISCARD || request->blocks == 0 || request->lba > disk->blocks ||
        request->blocks > disk->blocks - request->lba)
        return false;
    if (request->operation == DISK_DISCARD)
        return true;
    if (request->operation == DISK_ZERO)
        return request->blocks <= 65536;
    return request->blocks <= 65536 && bytes <= disk->most && request->iova % 4 == 0 &&
           (bytes + offset + DEVICE_PAGE - 1) / DEVICE_PAGE <= 513;
}

/* The pages of a request's data (4.3): PRP2 is the second page, or a list of all but the first. */
static void name_pages(struct disk_queue *queue, unsigned slot, const struct disk_request *request, uint64_t bytes,
                       struct sqe *sqe)
{
    uint64_t first = DEVICE_PAGE - request->iova % DEVICE_PAGE, next = request->iova + first;
    uint64_t *list = (uint64_t *)((uint8_t *)queue->lists.at + slot * DEVICE_PAGE);
    uint64_t pages = (bytes - first + DEVICE_PAGE - 1) / DEVICE_PAGE;

    if (pages == 1) {
        sqe->prp2 = request->pages ? request->pages[0] : next;
        return;
    }
    for (uint64_t i = 0; i < pages; i++)
        list[i] = request->pages ? request->pages[i] : next + i * DEVICE_PAGE;
    sqe->prp2 = queue->lists.iova + slot * DEVICE_PAGE;
}

static void name_range(struct disk_queue *queue, unsigned slot, const struct disk_request *request, struct sqe *sqe)
{
    uint32_t *range = (uint32_t *)((uint8_t *)queue->lists.at + slot * DEVICE_PAGE);

    range[0] = 0;
    range[1] = request->blocks;
    memcpy(range + 2, &request->lba, sizeof request->lba);
    sqe->prp1 = queue->lists.iova + slot * DEVICE_PAGE;
}

static inline void begin(struct disk_queue *queue, struct disk_request *request, uint64_t now)
{
    unsigned index = queue->free[--queue->free_count];
    struct disk_slot *slot = &queue->slot[index];
    uint32_t cid = (uint32_t)index | (uint32_t)(uint8_t)++slot->generation << SLOT_BITS;
    struct sqe sqe = {.nsid = 1, .dw10 = (uint32_t)request->lba, .dw11 = (uint32_t)(request->lba >> 32),
                      .dw12 = (request->blocks - 1) | (uint32_t)request->through << 30};
    uint64_t bytes = (uint64_t)request->blocks * queue->disk->block;

    slot->request = request;
    slot->started = now;
    slot->aborting = false;
    request->attempts++;
    switch (request->operation) {
    case DISK_READ:
    case DISK_WRITE:
        sqe.dw0 = request->operation == DISK_READ ? READ : WRITE;
        sqe.prp1 = request->iova;
        if (request->iova % DEVICE_PAGE + bytes > DEVICE_PAGE)
            name_pages(queue, index, request, bytes, &sqe);
        break;
    case DISK_ZERO:
        sqe.dw0 = WRITE_ZEROES;
        break;
    case DISK_DISCARD:
        sqe.dw0 = DATASET_MANAGEMENT;
        sqe.dw10 = 0;
        sqe.dw11 = 4;
        sqe.dw12 = 0;
        name_range(queue, index, request, &sqe);
        break;
    case DISK_FLUSH:
        sqe.dw0 = FLUSH;
        sqe.dw10 = sqe.dw11 = sqe.dw12 = 0;
        break;
    }
    sqe.dw0 |= cid << 16;
    put(queue, &sqe);
}

static void end_without(struct disk_queue *queue, struct disk_request *request, int result)
{
    request->result = result;
    request->next = queue->ended;
    queue->ended = request;
}

unsigned disk_submit(struct disk_queue *queue, struct disk_request *const *requests, unsigned count)
{
    uint64_t now = device_ticks();
    uint32_t old = queue->tail;
    unsigned taken = 0;

    for (; taken < count && queue->free_count; taken++) {
        struct disk_request *request = requests[taken];

        request->attempts = 0;
        request->status = 0;
        request->next = NULL;
        if (queue->disk->gone)
            end_without(queue, request, -DEVICE_ENODEV);
        else if (!is_valid(queue->disk, request))
            end_without(queue, request, -DEVICE_EINVAL);
        else
            begin(queue, request, now);
    }
    if (queue->tail != old)
        ring_tail(queue, old);
    queue->disk->count.submitted += taken;
    return taken;
}

/* Again, or ended: a request that the controller failed. */
static bool try_again(struct disk_queue *queue, struct disk_request *request)
{
    if (request->attempts >= DISK_ATTEMPTS)
        return false;
    request->next = queue->again;
    queue->again = request;
    queue->disk->count.retried++;
    return true;
}

static void submit_again(struct disk_queue *queue)
{
    uint64_t now = device_ticks();
    uint32_t old = queue->tail;

    while (queue->again && queue->free_count) {
        struct disk_request *request = queue->again;

        queue->again = request->next;
        begin(queue, request, now);
    }
    if (queue->tail != old)
        ring_tail(queue, old);
}

static void end_all(struct disk *disk, int result)
{
    for (unsigned i = 0; i < disk->queues; i++) {
        struct disk_queue *queue = &disk->queue[i];

        for (unsigned slot = 0; slot < queue->size - 1; slot++)
            if (queue->slot[slot].request)
                end_without(queue, queue->slot[slot].request, result);
        while (queue->again) {
            struct disk_request *request = queue->again;

            queue->again = request->next;
            end_without(queue, request, result);
        }
        restart_queue(queue);
    }
}

/* The controller is reset, and what was in progress begins anew, but what was tried often enough.  While it is disabled
 * it reaches no memory, so no late answer of before can come to what is submitted now. */
static void recover(struct disk *disk)
{
    unsigned queues = disk->queues;
    int result;

    disk->count.resets++;
    if (is_gone(disk)) {
        end_all(disk, -DEVICE_ENODEV);
        return;
    }
    for (unsigned i = 0; i < disk->queues; i++)
        for (unsigned slot = 0; slot < disk->queue[i].size - 1; slot++) {
            struct disk_queue *queue = &disk->queue[i];
            struct disk_request *request = queue->slot[slot].request;

            if (!request)
                continue;
            queue->slot[slot].request = NULL;
            if (!try_again(queue, request))
                end_without(queue, request, -DEVICE_ETIMEDOUT);
        }
    result = enable(disk);
    for (unsigned i = 0; i < disk->queues; i++)
        disk->queue[i].tail_shadow = disk->queue[i].head_shadow = NULL;
    if (!result)
        result = set_up(disk);
    if (result || disk->queues != queues) {
        disk->queues = queues;
        disk->gone = true;
        end_all(disk, -DEVICE_EIO);
        return;
    }
    for (unsigned i = 0; i < disk->queues; i++)
        submit_again(&disk->queue[i]);
}

/* What was not answered in time is aborted (5.1); what was aborted, and not answered either, is a reason to reset. */
static void look_at_timeouts(struct disk_queue *queue)
{
    struct disk *disk = queue->disk;
    uint64_t now = device_ticks();

    queue->looked = now;
    if (disk->gone)
        return;
    if (register_read(disk->registers, CSTS) & CSTS_FATAL) { /* also when all bits are ones: it is gone */
        recover(disk);
        return;
    }
    for (unsigned index = 0; index < queue->size - 1; index++) {
        struct disk_slot *slot = &queue->slot[index];
        uint32_t cid = index | (uint32_t)(uint8_t)slot->generation << SLOT_BITS;
        struct sqe sqe = {.dw0 = ABORT, .dw10 = queue->id | cid << 16};

        if (!slot->request || now - slot->started < disk->timeout)
            continue;
        disk->count.timeouts++;
        if (!slot->aborting && (disk->count.aborts++, run_admin(disk, &sqe, NULL, NULL)) == 0) {
            slot->aborting = true;
            slot->started = device_ticks();
            continue;
        }
        recover(disk);
        return;
    }
}

unsigned disk_poll(struct disk_queue *queue, struct disk_request **done, unsigned most)
{
    uint32_t old = queue->head, result, last;
    unsigned count = 0, seen = 0;

    while (count < most && seen < queue->size && take(queue, &result, &last)) {
        unsigned index = last & ((1 << SLOT_BITS) - 1);
        struct disk_slot *slot = &queue->slot[index];
        struct disk_request *request = slot->request;
        uint16_t status = (uint16_t)(last >> 17);

        seen++;
        if (index >= queue->size - 1 || !request || (last >> SLOT_BITS & 0xff) != (uint8_t)slot->generation) {
            queue->disk->count.strays++; /* told twice, or too late */
            continue;
        }
        slot->request = NULL;
        queue->free[queue->free_count++] = (uint16_t)index;
        request->status = status;
        request->result = 0;
        if (status & 0x7ff) {
            if (!(status & DO_NOT_REPEAT) && try_again(queue, request))
                continue;
            request->result = (status & 0x7ff) == ABORT_REQUESTED ? -DEVICE_ETIMEDOUT : -DEVICE_EIO;
            queue->disk->count.failed++;
        }
        done[count++] = request;
    }
    if (queue->head != old || seen)
        ring_head(queue, old);
    while (queue->ended && count < most) {
        struct disk_request *request = queue->ended;

        queue->ended = request->next;
        queue->disk->count.failed++;
        done[count++] = request;
    }
    if (queue->again)
        submit_again(queue);
    queue->disk->count.done += count;
    if (seen || count)
        queue->idle = 0;
    else if ((++queue->idle % LOOK_EVERY == 0 || queue->disk->options.interrupts) && disk_in_progress(queue) &&
             device_ticks() - queue->looked > queue->disk->timeout / 16)
        look_at_timeouts(queue);
    return count;
}

unsigned disk_in_progress(const struct disk_queue *queue)
{
    return queue->size - 1 - queue->free_count;
}

int disk_wait(struct disk_queue *queue, uint64_t timeout_ns)
{
    int64_t came;

    if (!queue->disk->options.interrupts)
        return -DEVICE_EINVAL;
    /* What came before may have been told to somebody else: look first. */
    if (queue->ended || (memory_read_first(queue->cq + queue->head * 4 + 3) >> 16 & 1) == queue->phase)
        return 0;
    came = device_wait(queue->disk->device, timeout_ns);
    return came < 0 ? (int)came : 0;
}

int disk_do(struct disk_queue *queue, struct disk_request *request)
{
    struct disk_request *done = NULL;

    while (!disk_submit(queue, &request, 1))
        if (disk_poll(queue, &done, 1))
            return -DEVICE_EBUSY; /* somebody else's, who would not be told */
    while (!disk_poll(queue, &done, 1))
        if (queue->disk->options.interrupts)
            disk_wait(queue, 10000000);
        else
            device_pause();
    return done == request ? request->result : -DEVICE_EBUSY;
}
