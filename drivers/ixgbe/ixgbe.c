/* ixgbe DEVICE [OPTIONS] COMMAND: what the driver can do, one thing at a time.
 *
 *   identify             MAC address and link
 *   receive COUNT        takes packets, and says how many bytes they had and the sum of these
 *   generate COUNT       sends UDP packets that are numbered
 *   forward COUNT        sends what it receives back, with its addresses exchanged
 *   cycles COUNT         as forward, without a look at the link; says processor ticks a packet where there was something
 *                        to do
 *
 *   -i  wait for interrupts instead of polling     -q N  queues each way     -d N  descriptors of a ring
 *   -b N  packets of a batch (32)                  -s N  bytes of generated packets (60)
 *   -t N  seconds without a packet after which it gives up (5)
 *
 * Exit status: 0, 1 for an error of the device, 2 for wrong usage, 3 where fewer packets came than were asked for.  The
 * same source is a program in a machine, where DEVICE is the device's name, and one outside (DEVICE is
 * BAR:MEMORY[:INTERRUPTS]). */
#include <string.h>

#include "driver.h"
#include "line.h"

static struct nic nic;
static struct nic_packet packets[NIC_BATCH];
static struct {
    unsigned batch, size, queues;
    uint64_t patience; /* ticks */
    bool interrupts;
} how = {.batch = 32, .size = 60, .queues = 1};

static void say(const char *what, uint64_t count, const char *more, uint64_t number)
{
    struct line line = {0};

    line_decimal(&line, what, count);
    line_decimal(&line, more, number);
    device_say(line.text);
}

static int identify(void)
{
    struct line line = {0};

    for (int i = 0; i < 6; i++) {
        line_text(&line, i ? ":" : "address ");
        line_number(&line, nic.mac[i], 16, 2);
    }
    line_decimal(&line, ", link ", nic_link(&nic));
    line_text(&line, " Mb/s");
    device_say(line.text);
    return 0;
}

/* Whether to go on where nothing came or went since ``last``: until patience ends, or the device is gone, which only its
 * registers say: rings stay as they were. */
static bool go_on(uint64_t last)
{
    static uint64_t looked;
    uint64_t now = device_ticks();

    if (now - looked > 10000 * nic.device.per_us) {
        looked = now;
        if (nic_gone(&nic))
            return false;
    }
    return now - last < how.patience;
}

/* Waits for packets on any queue; whether to look again. */
static bool await_packets(uint64_t last)
{
    if (how.interrupts)
        nic_wait(&nic, 100000000);
    return go_on(last);
}

/* The exit status of what should have come to ``count`` packets, and came to ``done`` or more. */
static int outcome(uint64_t done, uint64_t count)
{
    if (done >= count)
        return 0;
    return nic_gone(&nic) ? say_failed("the device", -DEVICE_ENODEV) : 3;
}

static int receive(uint64_t count)
{
    uint64_t got = 0, bytes = 0, sum = 0, last = device_ticks();

    while (got < count) {
        unsigned now = 0;

        for (unsigned queue = 0; queue < how.queues; queue++) {
            unsigned here = nic_receive(&nic, queue, packets, how.batch);

            for (unsigned i = 0; i < here; i++) {
                bytes += packets[i].length;
                for (unsigned j = 0; j < packets[i].length; j++)
                    sum += packets[i].data[j];
            }
            nic_free(&nic, packets, here);
            now += here;
        }
        got += now;
        if (now)
            last = device_ticks();
        else if (!await_packets(last))
            break;
    }
    say("received ", got, " packets, bytes ", bytes);
    say("sum ", sum, ", queues ", how.queues);
    return outcome(got, count);
}

static void put(uint8_t *at, uint64_t number, unsigned bytes)
{
    while (bytes--)
        *at++ = (uint8_t)(number >> 8 * bytes);
}

/* From 10.0.0.1, a port that counts, to 10.0.0.2, port 9; the first four bytes of the payload are the number. */
static void fill(struct nic_packet *packet, uint64_t number)
{
    uint8_t *data = packet->data;

    packet->length = (uint16_t)how.size;
    packet->flags = NIC_SUM_IP | NIC_SUM_L4;
    memset(data, 0, how.size);
    memset(data, 0xff, 6);
    memcpy(data + 6, nic.mac, 6);
    put(data + 12, 0x0800, 2);
    put(data + 14, 0x4500, 2);
    put(data + 16, how.size - 14, 2);
    put(data + 22, 0x4011, 2);
    put(data + 26, 0x0a000001, 4);
    put(data + 30, 0x0a000002, 4);
    put(data + 34, 1024 + number % 1024, 2);
    put(data + 36, 9, 2);
    put(data + 38, how.size - 34, 2);
    put(data + 42, number, 4);
}

/* Until the device has sent all that it was given. */
static int drain(uint64_t count)
{
    struct nic_statistics statistics;
    uint64_t last = device_ticks();
    bool all;
    int result;

    do {
        all = true;
        for (unsigned queue = 0; queue < how.queues; queue++)
            all = nic_drained(&nic, queue) && all;
    } while (!all && go_on(last));
    result = nic_read_statistics(&nic, &statistics);
    if (result)
        return say_failed("statistics", result);
    say("sent ", count, " packets; the device counted ", statistics.sent);
    return all ? 0 : 3;
}

static int generate(uint64_t count)
{
    uint64_t sent = 0, last = device_ticks();

    while (sent < count) {
        unsigned made = 0, now;

        while (made < how.batch && sent + made < count && nic_make(&nic, &packets[made])) {
            fill(&packets[made], sent + made);
            made++;
        }
        now = nic_send(&nic, 0, packets, made);
        nic_free(&nic, packets + now, made - now);
        sent += now;
        if (now)
            last = device_ticks();
        else if (go_on(last))
            nic_reclaim(&nic, 0);
        else
            break;
    }
    return drain(sent) ? 1 : outcome(sent, count);
}

static int forward(uint64_t count, bool time)
{
    uint64_t done = 0, left = 0, busy = 0, now, last = device_ticks();

    while (done < count) {
        uint64_t start = device_ticks();
        unsigned all = 0;

        for (unsigned queue = 0; queue < how.queues; queue++) {
            unsigned got = nic_receive(&nic, queue, packets, how.batch), sent;

            for (unsigned i = 0; i < got; i++) {
                uint8_t from[6];

                memcpy(from, packets[i].data, 6);
                memcpy(packets[i].data, packets[i].data + 6, 6);
                memcpy(packets[i].data + 6, from, 6);
            }
            sent = got ? nic_send(&nic, queue, packets, got) : 0;
            nic_free(&nic, packets + sent, got - sent); /* no room: lost, as by any forwarder */
            all += got;
            left += sent;
        }
        now = device_ticks();
        done += all;
        if (all) {
            busy += now - start;
            last = now;
        } else if (!await_packets(last)) {
            break;
        } else {
            for (unsigned queue = 0; queue < how.queues; queue++)
                nic_reclaim(&nic, queue);
        }
    }
    say("forwarded ", done, " packets in batches of ", how.batch);
    if (time)
        say("ticks ", busy, " for ", done);
    return done < count ? outcome(done, count) : drain(left);
}

static int run(int count, char **words)
{
    int valid = 1;
    uint64_t number = count == 2 ? text_number(words[1], &valid) : 0;

    if (count == 1 && text_is(words[0], "identify"))
        return identify();
    if (count != 2 || !valid)
        return 2;
    if (text_is(words[0], "receive"))
        return receive(number);
    if (text_is(words[0], "generate"))
        return generate(number);
    if (text_is(words[0], "forward") || text_is(words[0], "cycles"))
        return forward(number, words[0][0] == 'c');
    return 2;
}

static int usage(void)
{
    device_say("usage: ixgbe DEVICE [-i] [-q N] [-d N] [-b N] [-s N] [-t N] identify|receive|generate|forward|cycles [COUNT]");
    return 2;
}

int main(int argc, char **argv)
{
    struct nic_options options = {0};
    struct device device;
    uint64_t seconds = 5;
    int at = 2, valid = 1, result, status;

    for (; at < argc && argv[at][0] == '-' && argv[at][1] && !argv[at][2]; at++) {
        char option = argv[at][1];

        if (option == 'i')
            options.interrupts = how.interrupts = true;
        else if (at + 1 == argc)
            return usage();
        else if (option == 'q')
            options.receive_queues = options.transmit_queues = how.queues = (unsigned)text_number(argv[++at], &valid);
        else if (option == 'd')
            options.descriptors = (unsigned)text_number(argv[++at], &valid);
        else if (option == 'b')
            how.batch = (unsigned)text_number(argv[++at], &valid);
        else if (option == 's')
            how.size = (unsigned)text_number(argv[++at], &valid);
        else if (option == 't')
            seconds = text_number(argv[++at], &valid);
        else
            return usage();
    }
    if (at >= argc || !valid || how.batch < 1 || how.batch > NIC_BATCH || how.size < 60 || how.size > 1514)
        return usage();
    result = device_open(&device, argv[1]);
    if (result)
        return say_failed(argv[1], result);
    how.patience = seconds * 1000000 * device.per_us;
    result = nic_open(&nic, &device, &options);
    if (result) {
        device_close(&device);
        return say_failed("the controller", result);
    }
    result = nic_wait_for_link(&nic, seconds * 1000);
    status = result ? say_failed("the link", result) : run(argc - at, argv + at);
    if (status == 2)
        usage();
    if (nic.statistics.broken)
        say("broken descriptors ", nic.statistics.broken, " of ", nic.statistics.received);
    nic_close(&nic);
    return status;
}
