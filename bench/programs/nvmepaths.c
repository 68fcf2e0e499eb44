/* Reads blocks of 4 KiB in one of the paper's configurations (paths.h), and says how many processor ticks one took.
 *
 * nvmepaths CONFIGURATION BATCH BURSTS.  The device is called disk; each block of 4 KiB on it begins with its number.
 * BURST requests are in progress.  For each that is done the application looks whether the block is the right one, and
 * asks for another, drawn at random, in the same buffer.
 *
 * The driver does not rely on the application: it takes a request for a buffer that the application has, within the
 * disk. */
#include "../../drivers/nvme/driver.h"

#define BURST 192u
#define BATCH_MOST 64u
#define SIZE 4096UL
#include "paths.h"

static struct disk disk;
static struct device_memory data;
static struct disk_request request[BURST], *some[BURST];
static uint8_t lent[BURST]; /* by buffer: the application has it */

/* Which block the application asks for with this buffer next. */
static uint64_t draw(unsigned buffer)
{
    uint64_t drawn = shared->drawn + 1; /* it is 0 at first */

    drawn ^= drawn << 13;
    drawn ^= drawn >> 7;
    drawn ^= drawn << 17;
    shared->drawn = drawn;
    return shared->own[buffer] = drawn % shared->argument;
}

/* The application's work: is the block the right one?  Then another. */
static inline uint64_t look(const uint8_t *blocks, unsigned buffer)
{
    if (*(const uint64_t *)(blocks + buffer * SIZE) != shared->own[buffer])
        shared->wrong++;
    return draw(buffer);
}

/* --- driver --- */

static void prepare(unsigned buffer, uint64_t block)
{
    request[buffer] = (struct disk_request){.operation = DISK_READ, .lba = block * (SIZE / disk.block),
                                            .blocks = (uint32_t)(SIZE / disk.block), .iova = data.iova + buffer * SIZE};
}

static uint64_t blocks_of_4k(void)
{
    return disk.blocks / (SIZE / disk.block);
}

static uint64_t linked_in(unsigned batch, uint64_t bursts)
{
    struct disk_queue *queue = &disk.queue[0];
    uint64_t took = 0;

    for (unsigned i = 0; i < BURST; i++) {
        prepare(i, draw(i));
        some[i] = &request[i];
    }
    disk_submit(queue, some, BURST);
    for (uint64_t burst = 0; burst < bursts; burst++) {
        unsigned done = 0;
        uint64_t start;

        poll_model();
        start = device_ticks();
        while (done < BURST) {
            unsigned got = disk_poll(queue, some, batch);

            for (unsigned i = 0; i < got; i++) {
                unsigned buffer = (unsigned)(some[i] - request);

                if (some[i]->result)
                    shared->wrong++;
                some[i]->lba = look(data.at, buffer) * (SIZE / disk.block);
            }
            disk_submit(queue, some, got);
            done += got;
        }
        took += device_ticks() - start;
    }
    return took;
}

/* --- two processes: an item is a buffer, and in a request the block above it --- */

static unsigned give(struct ring_side *up, unsigned most)
{
    uint64_t items[BATCH_MOST];
    unsigned got = disk_poll(&disk.queue[0], some, most);

    for (unsigned i = 0; i < got; i++) {
        items[i] = (uint64_t)(some[i] - request);
        lent[items[i]] = 1;
        if (some[i]->result)
            shared->wrong++;
    }
    return got ? ring_put(up, items, got) : 0; /* there is room for all buffers */
}

static unsigned take(struct ring_side *down, unsigned most)
{
    uint64_t items[BATCH_MOST];
    unsigned got = ring_take(down, items, most < BATCH_MOST ? most : BATCH_MOST), count = 0;

    for (unsigned i = 0; i < got; i++) {
        uint64_t buffer = items[i] & 0xff, block = items[i] >> 8;

        if (buffer >= BURST || !lent[buffer] || block >= blocks_of_4k()) {
            shared->wrong++;
            continue;
        }
        lent[buffer] = 0;
        request[buffer].lba = block * (SIZE / disk.block);
        some[count++] = &request[buffer];
    }
    if (count)
        disk_submit(&disk.queue[0], some, count); /* the queue has room for all buffers */
    return got;
}

static unsigned apply(struct ring_side *up, struct ring_side *down, uint8_t *blocks, unsigned batch)
{
    uint64_t items[BATCH_MOST];
    unsigned got = ring_take(up, items, batch), put = 0;

    for (unsigned i = 0; i < got; i++)
        items[i] = items[i] % BURST | look(blocks, (unsigned)(items[i] % BURST)) << 8;
    while (put < got)
        put += ring_put(down, items + put, got - put);
    return got;
}

/* All buffers are the application's at first. */
static void begin(struct ring_side *down, uint8_t *blocks)
{
    (void)blocks;
    for (uint64_t i = 0; i < BURST; i++) {
        uint64_t item = i | draw((unsigned)i) << 8;

        ring_put(down, &item, 1);
    }
}

int main(int argc, char **argv)
{
    struct disk_options options = {0};
    struct device device;
    int valid = argc == 4, result;
    uint64_t batch = valid ? text_number(argv[2], &valid) : 0, bursts = valid ? text_number(argv[3], &valid) : 0;

    if (!valid || batch < 1 || batch > BATCH_MOST)
        return 2;
    result = device_open(&device, "disk");
    if (!result)
        result = disk_open(&disk, &device, &options);
    if (!result)
        result = device_memory_make(&device, BURST * SIZE, &data);
    if (result)
        return say_failed("the disk", result);
    for (unsigned i = 0; i < BURST; i++) {
        prepare(i, 0);
        lent[i] = 1;
    }
    aero_syscall(HOST, QUIET, 0, 0, 0, 0, 0);
    result = run_path(argv[1], &data, (unsigned)batch, bursts, BURST, blocks_of_4k(), linked_in);
    aero_syscall(HOST, RUNNING, 0, 0, 0, 0, 0);
    disk_close(&disk);
    device_close(&device);
    return result;
}
