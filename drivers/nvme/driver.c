/* The driver: bringing a controller up and down.  Sections are those of the NVM Express base specification, revision
 * 1.4. */
#include "halves.h"

/* Fresh rings: zeroes, so that the first pass of completions has phase 1. */
void disk_restart_queue(struct disk_queue *queue)
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
    disk_restart_queue(queue);
    return 0;
}

bool disk_is_gone(struct disk *disk)
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
int disk_run_admin(struct disk *disk, struct sqe *sqe, uint32_t *result, uint16_t *status)
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
            if (disk_is_gone(disk))
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

    return disk_run_admin(disk, &sqe, NULL, NULL);
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
int disk_enable(struct disk *disk)
{
    int result = disable(disk);

    if (result)
        return result;
    disk_restart_queue(&disk->admin);
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
    result = disk_run_admin(disk, &sqe, NULL, NULL);
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

    disk_restart_queue(queue);
    result = disk_run_admin(disk, &cq, NULL, NULL);
    return result ? result : disk_run_admin(disk, &sq, NULL, NULL);
}

/* All that comes after the admin queue: the number of queues, doorbell buffers, queues. */
int disk_set_up(struct disk *disk)
{
    struct sqe sqe = {.dw0 = SET_FEATURES, .dw10 = NUMBER_OF_QUEUES, .dw11 = (disk->queues - 1) * 0x10001};
    uint32_t granted;
    int result = disk_run_admin(disk, &sqe, &granted, NULL);

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
        result = disk_enable(disk);
    if (!result)
        result = identify_all(disk);
    if (!result)
        result = disk_set_up(disk);
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

        result = disk_run_admin(disk, &sq, NULL, NULL);
        if (!result)
            result = disk_run_admin(disk, &cq, NULL, NULL);
    }
    if (!disk_is_gone(disk)) {
        register_write(disk->registers, CC, CC_ENABLE | CC_SHUTDOWN);
        while ((register_read(disk->registers, CSTS) & 3u << 2) != CSTS_SHUT_DOWN && !disk_is_gone(disk)) {
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
