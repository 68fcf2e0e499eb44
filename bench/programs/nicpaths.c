/* Forwards packets in one of the paper's configurations, and says how many processor ticks a packet took.
 *
 *   driver   application and driver are one program
 *   c2       two processes in two containers on two cores, with rings of packets between them
 *   c1       two processes in two containers on one core: the application calls the driver for each batch
 *
 * nicpaths CONFIGURATION BATCH BURSTS.  The device is called nic, and its model moves nothing but when this program makes
 * call 0x2000; what that takes is not counted.  Between two such calls BURST packets are forwarded.
 *
 * Its first call 0x2000 has the number of exits in rdi that are to be timed: the host answers as many null calls with nothing
 * done between.
 *
 * The driver does not rely on the application: a packet that comes back is one that it gave out and has not got back. */
#include <aero.h>
#include <string.h>

#include "../../drivers/ixgbe/driver.h"
#include "line.h"
#include "ring.h"

#define BURST 256u
#define SHARED 0x6000000000UL
#define EXITS 200

enum { POLL = AERO_USER_FIRST };
enum { WORK, END };

/* What the two processes share, beside the packets. */
struct shared {
    struct ring up, down; /* to the application, to the driver */
    uint32_t end;
    uint32_t wrong; /* packets that came back and had not been given out */
};

/* What the application is told. */
struct told {
    uint64_t pool, batch, bursts;
    aero_handle driver; /* the endpoint where it is called; c1 */
};

static struct nic nic;
static struct nic_packet packets[NIC_BATCH];
static uint64_t polled;
static uint8_t lent[65536]; /* by buffer: the application has it */
static struct shared *const shared = (struct shared *)SHARED;

static void time_exits(void)
{
    aero_syscall(POLL, EXITS, 0, 0, 0, 0, 0);
    for (int i = 0; i < EXITS; i++)
        aero_null();
}

static void poll_model(void)
{
    uint64_t start = device_ticks();

    aero_syscall(POLL, 0, 0, 0, 0, 0, 0);
    polled += device_ticks() - start;
}

/* The application's work: addresses exchanged. */
static inline void exchange(uint8_t *data)
{
    uint8_t from[6];

    memcpy(from, data, 6);
    memcpy(data, data + 6, 6);
    memcpy(data + 6, from, 6);
}

static void say(uint64_t ticks, uint64_t count)
{
    struct line line = {0};

    line_decimal(&line, "ticks ", ticks);
    line_decimal(&line, " packets ", count);
    device_say(line.text);
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

/* --- Two processes --- */

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
static unsigned apply(struct ring_side *up, struct ring_side *down, uint8_t *pool, unsigned batch)
{
    uint64_t items[NIC_BATCH];
    unsigned got = ring_take(up, items, batch), put = 0;

    for (unsigned i = 0; i < got; i++)
        exchange(pool + (items[i] >> 32));
    while (put < got)
        put += ring_put(down, items + put, got - put);
    return got;
}

static int application_apart(void *argument)
{
    struct told told = *(struct told *)argument;
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};

    while (!__atomic_load_n(&shared->end, __ATOMIC_ACQUIRE))
        if (!apply(&up, &down, (uint8_t *)told.pool, (unsigned)told.batch))
            device_pause();
    return 0;
}

static uint64_t two_cores(unsigned batch, uint64_t bursts)
{
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};
    uint64_t took = 0;

    for (uint64_t burst = 0; burst < bursts; burst++) {
        unsigned given = 0, taken = 0;
        uint64_t start;

        poll_model();
        start = device_ticks();
        while (taken < BURST) {
            if (given < BURST)
                given += give(&up, batch);
            taken += take(&down, batch);
        }
        took += device_ticks() - start;
    }
    __atomic_store_n(&shared->end, 1, __ATOMIC_RELEASE);
    return took;
}

/* Calls the driver for each batch. */
static int application_calls(void *argument)
{
    struct told told = *(struct told *)argument;
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};
    struct aero_message message = {0};
    uint64_t done = 0;

    while (done < told.bursts * BURST) {
        message = (struct aero_message){.words = {WORK}};
        aero_must(aero_message_call(told.driver, AERO_FOREVER, &message), "message_call");
        done += apply(&up, &down, (uint8_t *)told.pool, (unsigned)told.batch);
    }
    message = (struct aero_message){.words = {END}};
    aero_must(aero_message_call(told.driver, AERO_FOREVER, &message), "message_call");
    return 0;
}

static uint64_t one_core(unsigned batch, aero_handle endpoint)
{
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};
    struct aero_message message = {0};
    uint64_t start = 0;
    unsigned given = BURST;

    aero_must(aero_message_receive(endpoint, AERO_FOREVER, &message), "message_receive");
    for (;;) {
        take(&down, NIC_BATCH);
        if (message.words[0] == END)
            break;
        if (given == BURST) {
            if (!start) {
                poll_model();
                polled = 0;
                start = device_ticks();
            } else {
                poll_model();
            }
            given = 0;
        }
        given += give(&up, batch);
        message.item = 0;
        aero_must(aero_message_reply_receive(endpoint, AERO_FOREVER, &message), "message_reply_receive");
    }
    start = device_ticks() - start - polled;
    message.item = 0;
    aero_must(aero_message_reply(&message), "message_reply");
    return start;
}

static uint64_t apart(bool cores, unsigned batch, uint64_t bursts)
{
    aero_handle endpoint = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create"), container;
    uint64_t size = aero_round_to_pages(sizeof *shared), ticks;
    struct told told = {(uint64_t)nic.pool, batch, bursts, 0};
    struct aero_child child;

    aero_must(aero_mmap(SHARED, size, AERO_READ | AERO_WRITE), "mmap");
    container = (aero_handle)aero_must(aero_container_create(200, 0, 0, cores ? 1 : 0), "container_create");
    aero_must(aero_child_create_apart(&child, container), "aero_child_create_apart");
    aero_must(aero_process_share(child.process, SHARED, size, SHARED, AERO_READ | AERO_WRITE), "share");
    aero_must(aero_process_share(child.process, told.pool, nic.pool_memory.size, told.pool, AERO_READ | AERO_WRITE),
              "share of the packets");
    told.driver = (aero_handle)aero_must(aero_handle_give(child.process, endpoint, AERO_SEND), "handle_give");
    *(struct told *)child.stack = told; /* the far end of its stack */
    aero_must(aero_child_start(&child, cores ? application_apart : application_calls, (void *)child.stack), "child_start");
    ticks = cores ? two_cores(batch, bursts) : one_core(batch, endpoint);
    aero_must(aero_child_wait(&child), "aero_child_wait");
    if (shared->wrong)
        device_say("packets came back that had not been given out");
    return ticks;
}

int main(int argc, char **argv)
{
    struct nic_options options = {0};
    struct device device;
    int valid = argc == 4, result;
    uint64_t batch = valid ? text_number(argv[2], &valid) : 0, bursts = valid ? text_number(argv[3], &valid) : 0, ticks;

    if (!valid || batch < 1 || batch > NIC_BATCH)
        return 2;
    result = device_open(&device, "nic");
    if (!result)
        result = nic_open(&nic, &device, &options);
    if (!result)
        result = nic_wait_for_link(&nic, 1000);
    if (result)
        return 1;
    time_exits();
    if (text_is(argv[1], "driver"))
        ticks = linked_in((unsigned)batch, bursts);
    else
        ticks = apart(text_is(argv[1], "c2"), (unsigned)batch, bursts);
    say(ticks, bursts * BURST);
    poll_model();
    nic_close(&nic);
    return 0;
}
