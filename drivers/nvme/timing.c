/* The driver in the process of the model, for benchmarks. */
#include "timing.h"

#include <stdlib.h>

#include "outside.h"

#define BUFFERS 128
#define SIZE 4096u
#define REST 10000000 /* ns, when all that is in progress is the file's */

struct linked_disk {
    struct device device;
    struct disk disk;
    struct device_memory data;
    struct disk_request request[BUFFERS];
    uint64_t drawn;
};

struct linked_disk *linked_disk_open(void *registers, uint64_t registers_size, void *memory, uint64_t memory_size,
                                     uint64_t iova, const struct disk_options *options, int *error)
{
    struct outside shared = {.registers = {registers}, .registers_size = {registers_size}, .memory = memory,
                             .memory_size = memory_size, .iova_base = iova};
    struct linked_disk *linked = calloc(1, sizeof *linked);

    *error = -DEVICE_ENOMEM;
    if (!linked)
        return NULL;
    linked->drawn = 1;
    *error = device_open_shared(&linked->device, &shared);
    if (!*error && (*error = disk_open(&linked->disk, &linked->device, options)))
        device_close(&linked->device);
    if (*error) {
        free(linked);
        return NULL;
    }
    *error = device_memory_make(&linked->device, BUFFERS * SIZE, &linked->data);
    if (*error) {
        linked_disk_close(linked);
        return NULL;
    }
    return linked;
}

int linked_disk_close(struct linked_disk *linked)
{
    int result = disk_close(&linked->disk);

    device_memory_end(&linked->device, &linked->data);
    device_close(&linked->device);
    free(linked);
    return result;
}

/* After all that came before it. */
static uint64_t ticks_now(void)
{
    __builtin_ia32_lfence();
    return device_ticks();
}

static void draw(struct linked_disk *linked, struct disk_request *request)
{
    uint32_t blocks = SIZE / linked->disk.block;

    linked->drawn ^= linked->drawn << 13;
    linked->drawn ^= linked->drawn >> 7;
    linked->drawn ^= linked->drawn << 17;
    request->lba = linked->drawn % (linked->disk.blocks / blocks) * blocks;
}

static void prepare(struct linked_disk *linked, bool write, struct disk_request **all)
{
    for (unsigned i = 0; i < BUFFERS; i++) {
        linked->request[i] = (struct disk_request){.operation = write ? DISK_WRITE : DISK_READ,
                                                   .blocks = SIZE / linked->disk.block,
                                                   .iova = linked->data.iova + i * SIZE};
        all[i] = &linked->request[i];
    }
}

int linked_disk_in_turns(struct linked_disk *linked, struct nvme *engine, bool write, unsigned batch, uint64_t rounds,
                         struct nvme_timing *timing)
{
    struct disk_queue *queue = &linked->disk.queue[0];
    struct disk_request *all[BUFFERS], *done[BUFFERS];
    uint64_t doorbells = linked->disk.count.doorbells, begun = ticks_now();

    if (batch == 0 || batch > BUFFERS || batch >= queue->size)
        return -DEVICE_EINVAL;
    *timing = (struct nvme_timing){.per_us = linked->device.per_us};
    prepare(linked, write, all);
    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t start, submitted, modelled;
        unsigned polled;

        for (unsigned i = 0; i < batch; i++)
            draw(linked, all[i]);
        start = ticks_now();
        disk_submit(queue, all, batch);
        submitted = ticks_now();
        while (nvme_pass(engine) == NVME_BUSY) {
        }
        modelled = ticks_now();
        polled = disk_poll(queue, done, batch);
        timing->poll += ticks_now() - modelled;
        timing->submit += submitted - start;
        timing->model += modelled - submitted;
        timing->operations += polled;
        if (polled != batch)
            return -DEVICE_EIO;
        for (unsigned i = 0; i < polled; i++)
            if (done[i]->result)
                return done[i]->result;
    }
    timing->doorbells = linked->disk.count.doorbells - doorbells;
    timing->ticks = ticks_now() - begun;
    return 0;
}

int linked_disk_at_depth(struct linked_disk *linked, struct nvme *engine, bool write, unsigned depth, uint64_t ms,
                         struct nvme_timing *timing)
{
    struct disk_queue *queue = &linked->disk.queue[0];
    struct disk_request *ready[BUFFERS], *done[BUFFERS];
    uint64_t begun = ticks_now(), end = begun + ms * 1000 * linked->device.per_us;
    uint64_t doorbells = linked->disk.count.doorbells;
    unsigned count = depth;
    int result = 0;

    if (depth == 0 || depth > BUFFERS || depth >= queue->size)
        return -DEVICE_EINVAL;
    *timing = (struct nvme_timing){.per_us = linked->device.per_us};
    prepare(linked, write, ready);
    while (device_ticks() < end && !result) {
        for (unsigned i = 0; i < count; i++)
            draw(linked, ready[i]);
        if (count)
            disk_submit(queue, ready, count);
        if (engine)
            nvme_pass(engine);
        count = disk_poll(queue, done, BUFFERS);
        for (unsigned i = 0; i < count; i++) {
            if (done[i]->result)
                result = done[i]->result;
            ready[i] = done[i];
        }
        timing->operations += count;
        if (!count && engine)
            nvme_rest(engine, REST);
        else if (!count)
            device_pause();
    }
    timing->ticks = ticks_now() - begun;
    timing->doorbells = linked->disk.count.doorbells - doorbells;
    while (disk_in_progress(queue)) {
        if (engine)
            nvme_pass(engine);
        disk_poll(queue, done, BUFFERS);
    }
    return result;
}
