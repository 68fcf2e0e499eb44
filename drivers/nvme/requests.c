/* The driver: requests, from being submitted to being done, whatever the device does meanwhile. */
#include "halves.h"

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
        disk_restart_queue(queue);
    }
}

/* The controller is reset, and what was in progress begins anew, but what was tried often enough.  While it is disabled
 * it reaches no memory, so no late answer of before can come to what is submitted now. */
static void recover(struct disk *disk)
{
    unsigned queues = disk->queues;
    int result;

    disk->count.resets++;
    if (disk_is_gone(disk)) {
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
    result = disk_enable(disk);
    for (unsigned i = 0; i < disk->queues; i++)
        disk->queue[i].tail_shadow = disk->queue[i].head_shadow = NULL;
    if (!result)
        result = disk_set_up(disk);
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
        if (!slot->aborting && (disk->count.aborts++, disk_run_admin(disk, &sqe, NULL, NULL)) == 0) {
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
