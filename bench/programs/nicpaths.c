/* Forwards packets in one of the paper's configurations (paths.h), and says how many processor ticks a packet took.
 *
 * nicpaths CONFIGURATION BATCH BURSTS.  The device is called nic.  CONFIGURATION may also be work of the driver alone:
 * receive, generate or forward.
 *
 * The driver does not rely on the application: a packet that comes back is one that it gave out and has not got back. */
#include <string.h>

#include "../../drivers/ixgbe/work.h"

#define BURST 256u
#define BATCH_MOST NIC_BATCH
#include "paths.h"

static struct nic nic;
static struct nic_packet packets[NIC_BATCH];
static uint8_t lent[65536]; /* by buffer: the application has it */

/* The application's work: addresses exchanged. */
static inline void exchange(uint8_t *data)
{
    uint8_t from[6];

    memcpy(from, data, 6);
    memcpy(data, data + 6, 6);
    memcpy(data + 6, from, 6);
}

/* --- driver --- */

static uint64_t linked_in(unsigned batch, uint64_t bursts)
{
    uint64_t took = 0;

    for (uint64_t burst = 0; burst < bursts; burst++) {
        unsigned done = 0;
        uint64_t start;

        poll_model();
        start = device_ticks();
        while (done < BURST) {
            unsigned got = nic_receive(&nic, 0, packets, batch), sent;

            for (unsigned i = 0; i < got; i++)
                exchange(packets[i].data);
            sent = nic_send(&nic, 0, packets, got);
            nic_free(&nic, packets + sent, got - sent);
            done += got;
        }
        took += device_ticks() - start;
    }
    return took;
}

/* The driver alone, as it is timed natively. */
static int work_alone(enum nic_work work, unsigned batch, uint64_t bursts)
{
    uint64_t took = 0, done = 0;

    time_exits();
    for (uint64_t burst = 0; burst < bursts; burst++) {
        uint64_t start;

        poll_model();
        start = device_ticks();
        done += work_burst(&nic, work, packets, batch, BURST);
        took += device_ticks() - start;
    }
    say_ticks(took, done);
    return done ? 0 : 1;
}

/* --- two processes --- */

static uint64_t item_of(const struct nic_packet *packet)
{
    return packet->buffer | (uint64_t)packet->length << 16 | (uint64_t)(packet->data - nic.pool) << 32;
}

/* Gives at most `most` received packets to the application. */
static unsigned give(struct ring_side *up, unsigned most)
{
    uint64_t items[NIC_BATCH];
    unsigned got = nic_receive(&nic, 0, packets, most), put;

    for (unsigned i = 0; i < got; i++) {
        items[i] = item_of(&packets[i]);
        lent[packets[i].buffer] = 1;
    }
    put = got ? ring_put(up, items, got) : 0;
    for (unsigned i = put; i < got; i++)
        lent[packets[i].buffer] = 0;
    nic_free(&nic, packets + put, got - put);
    return put;
}

/* Sends what the application gives back. */
static unsigned take(struct ring_side *down, unsigned most)
{
    uint64_t items[NIC_BATCH];
    unsigned got = ring_take(down, items, most), count = 0, sent;

    for (unsigned i = 0; i < got; i++) {
        uint16_t buffer = (uint16_t)items[i], length = (uint16_t)(items[i] >> 16);

        if (!lent[buffer] || length > NIC_LONGEST) {
            shared->wrong++;
            continue;
        }
        lent[buffer] = 0;
        packets[count++] = (struct nic_packet){.data = nic_data(&nic, buffer), .length = length, .buffer = buffer};
    }
    if (!count)
        return got;
    sent = nic_send(&nic, 0, packets, count);
    nic_free(&nic, packets + sent, count - sent);
    return got;
}

/* One batch through the application: how many. */
static unsigned apply(struct ring_side *up, struct ring_side *down, uint8_t *data, unsigned batch)
{
    uint64_t items[NIC_BATCH];
    unsigned got = ring_take(up, items, batch), put = 0;

    for (unsigned i = 0; i < got; i++)
        exchange(data + (items[i] >> 32));
    while (put < got)
        put += ring_put(down, items + put, got - put);
    return got;
}

/* Packets come from the device first. */
static void begin(struct ring_side *down, uint8_t *data)
{
    (void)down;
    (void)data;
}

int main(int argc, char **argv)
{
    struct nic_options options = {0};
    struct device device;
    int valid = argc == 4, result;
    uint64_t batch = valid ? text_number(argv[2], &valid) : 0, bursts = valid ? text_number(argv[3], &valid) : 0;

    if (!valid || batch < 1 || batch > NIC_BATCH)
        return 2;
    result = device_open(&device, "nic");
    if (!result)
        result = nic_open(&nic, &device, &options);
    if (!result)
        result = nic_wait_for_link(&nic, 1000);
    if (result)
        return 1;
    if (text_is(argv[1], "receive"))
        result = work_alone(NIC_RECEIVE, (unsigned)batch, bursts);
    else if (text_is(argv[1], "generate"))
        result = work_alone(NIC_GENERATE, (unsigned)batch, bursts);
    else if (text_is(argv[1], "forward"))
        result = work_alone(NIC_FORWARD, (unsigned)batch, bursts);
    else
        result = run_path(argv[1], &nic.pool_memory, (unsigned)batch, bursts, 0, 0, linked_in);
    poll_model();
    nic_close(&nic);
    return result;
}
