/* nvme DEVICE [OPTIONS] COMMAND: what the driver can do, one thing at a time.
 *
 *   identify                    what the controller and its namespace are
 *   read LBA BLOCKS             their bytes, in hexadecimal
 *   write LBA BLOCKS SEED       a pattern that follows from the seed, the block and the place in it; flushed
 *   verify LBA BLOCKS SEED      whether it is there
 *   zero, discard LBA BLOCKS    zeroes; blocks that are not needed
 *   flush
 *   log LBA BLOCKS              writes block after block, round and round, flushes after every 8, and says how many are
 *                               safe: for tests that end it in the middle
 *   bench read|write SECONDS    random blocks of 4 KiB
 *
 *   -i  wait for interrupts instead of polling     -q N  queue pairs       -d N  entries of a queue
 *   -n  no doorbell buffers                        -t N  milliseconds until a command is given up
 *   -s N  bytes of a request for a range (4096)    -o N  bytes in a page before its data, a multiple of 8 (0)
 *   -r  its pages lie in memory in reverse order
 *
 * Exit status: 0, 1 for an error of the device, 2 for wrong usage, 3 where verify found other bytes.  The same source
 * is a program in a machine, where DEVICE is the device's name, and one outside (DEVICE is BAR:MEMORY[:INTERRUPTS]). */
#include <string.h>

#include "driver.h"
#include "line.h"

#define BUFFERS 128
#define BENCH_SIZE 4096U
#define MOST_PAGES 513 /* of a request */
#define MEMORY (4UL << 20)

static struct device device;
static struct disk disk;
static struct disk_request request[BUFFERS];
static struct device_memory buffers;
static uint64_t pages[BUFFERS][MOST_PAGES]; /* where the second of each, and those after it, are for the device */
static struct {
    uint64_t size, offset, stride; /* stride: whole pages */
    unsigned count;                /* of buffers */
    bool reversed;
} how = {.size = 4096};

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/* The pattern's word at a place of a block. */
static uint64_t pattern(uint64_t seed, uint64_t lba, uint64_t place)
{
    return mixed(mixed(seed) ^ mixed(lba) ^ place);
}

/* Where a page of a buffer is in the memory of all. */
static uint64_t place_of(unsigned index, uint64_t page)
{
    return index * how.stride + (how.reversed ? how.stride - DEVICE_PAGE - page * DEVICE_PAGE : page * DEVICE_PAGE);
}

/* A word of a request's data, by its place in bytes. */
static uint64_t *word_at(const struct disk_request *one, uint64_t place)
{
    uint64_t at = how.offset + place;

    return (uint64_t *)((uint8_t *)buffers.at + place_of((unsigned)(one - request), at / DEVICE_PAGE) + at % DEVICE_PAGE);
}

static int make_buffers(void)
{
    how.stride = (how.offset + how.size + DEVICE_PAGE - 1) / DEVICE_PAGE * DEVICE_PAGE;
    if (how.size == 0 || how.size % disk.block || how.size > disk.most || how.offset % 8 || how.offset >= DEVICE_PAGE ||
        how.stride > MOST_PAGES * DEVICE_PAGE)
        return -DEVICE_EINVAL;
    how.count = MEMORY / how.stride < BUFFERS ? (unsigned)(MEMORY / how.stride) : BUFFERS;
    return device_memory_make(&device, how.count * how.stride, &buffers);
}

static void wait_some(struct disk_queue *queue)
{
    if (disk.options.interrupts)
        disk_wait(queue, 10000000);
    else
        device_pause();
}

/* What a request's data is checked for, or printed; 0, or an exit status. */
typedef int looker(const struct disk_request *one, uint64_t seed);

/* Does an operation on a range in pieces of a buffer, many at a time.  `prepare` fills what is to be written. */
static int run_range(enum disk_operation operation, uint64_t lba, uint64_t blocks, uint64_t seed, looker *look)
{
    uint32_t most = operation == DISK_ZERO || operation == DISK_DISCARD ? 1024 : (uint32_t)(how.size / disk.block);
    struct disk_queue *queue = &disk.queue[0];
    struct disk_request *unused[BUFFERS], *done[BUFFERS];
    unsigned free = 0, got, flying = 0, next = 0;
    int status = 0;

    for (unsigned i = 0; i < how.count; i++)
        unused[free++] = &request[i];
    while (blocks || flying) {
        while (blocks && free && !status) {
            struct disk_request *one = unused[free - 1];
            unsigned index = (unsigned)(one - request);

            *one = (struct disk_request){.operation = operation, .lba = lba,
                                         .blocks = blocks < most ? (uint32_t)blocks : most,
                                         .iova = buffers.iova + place_of(index, 0) + how.offset,
                                         .pages = how.reversed ? pages[index] : NULL};
            for (uint64_t page = 1; page < how.stride / DEVICE_PAGE; page++)
                pages[index][page - 1] = buffers.iova + place_of(index, page);
            if (operation == DISK_WRITE)
                for (uint32_t at = 0; at < one->blocks * disk.block; at += 8)
                    *word_at(one, at) = pattern(seed, lba + at / disk.block, at % disk.block);
            /* One after the other over all queues. */
            if (!disk_submit(&disk.queue[next % disk.queues], &one, 1))
                break;
            next++;
            free--;
            flying++;
            lba += one->blocks;
            blocks -= one->blocks;
        }
        if (status)
            blocks = 0;
        got = 0;
        for (unsigned i = 0; i < disk.queues; i++) {
            unsigned now = disk_poll(&disk.queue[i], done, BUFFERS);

            for (unsigned j = 0; j < now; j++) {
                if (done[j]->result && !status)
                    status = say_failed("the device", done[j]->result);
                else if (look && !status)
                    status = look(done[j], seed);
                unused[free++] = done[j];
            }
            got += now;
        }
        flying -= got;
        if (!got)
            wait_some(queue);
    }
    return status;
}

static int check(const struct disk_request *one, uint64_t seed)
{
    for (uint32_t at = 0; at < one->blocks * disk.block; at += 8)
        if (*word_at(one, at) != pattern(seed, one->lba + at / disk.block, at % disk.block)) {
            struct line line = {0};

            line_decimal(&line, "other bytes in block ", one->lba + at / disk.block);
            line_decimal(&line, " at ", at % disk.block);
            device_say(line.text);
            return 3;
        }
    return 0;
}

static int print(const struct disk_request *one, uint64_t seed)
{
    (void)seed;
    for (uint32_t at = 0; at < one->blocks * disk.block; at += 32) {
        struct line line = {0};

        line_number(&line, one->lba * disk.block + at, 16, 10);
        line_text(&line, " ");
        for (unsigned i = 0; i < 32; i += 8)
            line_number(&line, __builtin_bswap64(*word_at(one, at + i)), 16, 16);
        device_say(line.text);
    }
    return 0;
}

static int flush(void)
{
    struct disk_request one = {.operation = DISK_FLUSH};

    return disk_do(&disk.queue[0], &one);
}

static int identify(void)
{
    struct line line = {0};

    line_text(&line, disk.model);
    line_text(&line, ", serial ");
    line_text(&line, disk.serial);
    line_text(&line, ", firmware ");
    line_text(&line, disk.firmware);
    device_say(line.text);
    line = (struct line){0};
    line_number(&line, disk.blocks, 10, 1);
    line_decimal(&line, " blocks of ", disk.block);
    line_decimal(&line, " bytes, ", disk.most);
    line_decimal(&line, " bytes a command at most, queues: ", disk.queues);
    line_text(&line, disk.write_cache ? ", write cache" : "");
    line_text(&line, disk.shadowed ? ", doorbell buffers" : "");
    device_say(line.text);
    return 0;
}

/* Each block says the round in which it was written.  A line is said only when what it says is safe. */
static int keep_log(uint64_t lba, uint64_t blocks)
{
    for (uint64_t count = 0;; count++) {
        int status = run_range(DISK_WRITE, lba + count % blocks, 1, count / blocks, NULL);

        if (status)
            return status;
        if (count % 8 == 7) {
            struct line line = {0};
            int result = flush();

            if (result)
                return say_failed("flush", result);
            line_decimal(&line, "safe: ", count + 1);
            device_say(line.text);
        }
    }
}

static int bench(enum disk_operation operation, uint64_t seconds)
{
    struct disk_request *done[BUFFERS], *ready[BUFFERS];
    unsigned depth = disk.queue[0].size - 1 < how.count ? disk.queue[0].size - 1 : how.count, count = depth;
    uint64_t start = device_ticks(), end = start + seconds * 1000000 * device.per_us;
    uint64_t finished = 0, took, drawn = 1, busy = 0;
    uint32_t blocks = BENCH_SIZE / disk.block;
    struct line line = {0};

    for (unsigned i = 0; i < depth; i++) {
        request[i] = (struct disk_request){.operation = operation, .blocks = blocks,
                                           .iova = buffers.iova + i * how.stride};
        ready[i] = &request[i];
    }
    while (device_ticks() < end) {
        uint64_t before, between;

        for (unsigned i = 0; i < count; i++)
            ready[i]->lba = mixed(drawn++) % (disk.blocks / blocks) * blocks;
        before = device_ticks();
        if (count)
            disk_submit(&disk.queue[0], ready, count);
        between = device_ticks();
        busy += between - before;
        count = disk_poll(&disk.queue[0], done, BUFFERS);
        if (count) /* not while it waits */
            busy += device_ticks() - between;
        for (unsigned i = 0; i < count; i++) {
            if (done[i]->result)
                return say_failed("bench", done[i]->result);
            ready[i] = done[i];
        }
        finished += count;
        if (!count)
            wait_some(&disk.queue[0]);
    }
    took = device_ticks() - start;
    while (disk_in_progress(&disk.queue[0]))
        disk_poll(&disk.queue[0], done, BUFFERS);
    line_decimal(&line, "operations a second: ", finished * 1000000 / (took / device.per_us));
    line_decimal(&line, ", depth ", depth);
    line_decimal(&line, ", register writes ", disk.count.doorbells);
    line_decimal(&line, ", cycles of the driver an operation ", finished ? busy / finished : 0);
    device_say(line.text);
    return 0;
}

static int usage(void)
{
    device_say("usage: nvme DEVICE [-i] [-n] [-q QUEUES] [-d ENTRIES] [-t MILLISECONDS] [-s BYTES] [-o BYTES] [-r]");
    device_say("       identify | flush | read LBA BLOCKS |");
    device_say("       write|verify LBA BLOCKS SEED | zero|discard LBA BLOCKS | log LBA BLOCKS | bench read|write SECONDS");
    return 2;
}

static int run(int argc, char **argv)
{
    const char *command = argv[0];
    uint64_t number[3] = {0};
    int valid = 1, result, bench_it = text_is(command, "bench");

    if (text_is(command, "identify") && argc == 1)
        return identify();
    if (text_is(command, "flush") && argc == 1)
        return (result = flush()) ? say_failed("flush", result) : 0;
    if (argc > 4)
        return usage();
    for (int i = bench_it ? 2 : 1; i < argc; i++)
        number[i - 1] = text_number(argv[i], &valid);
    if (!valid)
        return usage();
    if (bench_it && argc == 3 && (text_is(argv[1], "read") || text_is(argv[1], "write")))
        return bench(text_is(argv[1], "read") ? DISK_READ : DISK_WRITE, number[1]);
    if (argc == 4 && text_is(command, "write")) {
        result = run_range(DISK_WRITE, number[0], number[1], number[2], NULL);
        if (result == 0 && (result = flush()))
            return say_failed("flush", result);
        return result;
    }
    if (argc == 4 && text_is(command, "verify"))
        return run_range(DISK_READ, number[0], number[1], number[2], check);
    if (argc == 3 && text_is(command, "read"))
        return run_range(DISK_READ, number[0], number[1], 0, print);
    if (argc == 3 && text_is(command, "zero"))
        return run_range(DISK_ZERO, number[0], number[1], 0, NULL);
    if (argc == 3 && text_is(command, "discard"))
        return run_range(DISK_DISCARD, number[0], number[1], 0, NULL);
    if (argc == 3 && text_is(command, "log") && number[1])
        return keep_log(number[0], number[1]);
    return usage();
}

/* What the driver had to do against a device that did not do well. */
static void say_troubles(void)
{
    const struct disk_counts *count = &disk.count;
    struct line line = {0};

    if (!(count->retried | count->timeouts | count->resets | count->strays | count->failed))
        return;
    line_decimal(&line, "retried ", count->retried);
    line_decimal(&line, ", timeouts ", count->timeouts);
    line_decimal(&line, ", aborts ", count->aborts);
    line_decimal(&line, ", resets ", count->resets);
    line_decimal(&line, ", strays ", count->strays);
    line_decimal(&line, ", failed ", count->failed);
    device_say(line.text);
}

int main(int argc, char **argv)
{
    struct disk_options options = {0};
    int at = 2, valid = 1, result, status;

    for (; at < argc && argv[at][0] == '-' && argv[at][1] && !argv[at][2]; at++) {
        char option = argv[at][1];

        if (option == 'i')
            options.interrupts = true;
        else if (option == 'n')
            options.no_shadow = true;
        else if (option == 'r')
            how.reversed = true;
        else if (at + 1 == argc)
            return usage();
        else if (option == 'q')
            options.queues = (unsigned)text_number(argv[++at], &valid);
        else if (option == 'd')
            options.depth = (unsigned)text_number(argv[++at], &valid);
        else if (option == 't')
            options.timeout_ms = text_number(argv[++at], &valid);
        else if (option == 's')
            how.size = text_number(argv[++at], &valid);
        else if (option == 'o')
            how.offset = text_number(argv[++at], &valid);
        else
            return usage();
    }
    if (at >= argc || !valid)
        return usage();
    result = device_open(&device, argv[1]);
    if (result)
        return say_failed(argv[1], result);
    result = disk_open(&disk, &device, &options);
    if (result) {
        device_close(&device);
        return say_failed("the controller", result);
    }
    result = make_buffers();
    status = result ? say_failed("memory", result) : run(argc - at, argv + at);
    say_troubles();
    result = disk_close(&disk);
    if (result && !status)
        status = say_failed("shutdown", result);
    if (buffers.size)
        device_memory_end(&device, &buffers);
    device_close(&device);
    return status;
}
