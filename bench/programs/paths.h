/* The paper's configurations of driver and application, but for what driver and application do: nicpaths.c, nvmepaths.c.
 *
 *   driver   application and driver are one program
 *   c2       two processes in two containers on two cores, with a ring each way between them
 *   c1       two processes in two containers on one core: the application calls the driver for each batch
 *
 * The device's model moves nothing but when the program makes call HOST, and what that takes is not counted.  Between two
 * such calls BURST items pass.  Who includes this defines BURST and, before, BATCH_MOST; and then give, take, apply and
 * begin. */
#ifndef PATHS_H
#define PATHS_H

#include <aero.h>

#include "device.h"
#include "line.h"
#include "ring.h"

#define SHARED 0x6000000000UL
#define EXITS 200

enum { HOST = AERO_USER_FIRST };
/* What call HOST is to do, in rdi: the model's part; as many exits with nothing done between as rsi says, timed; from now on
 * the model does its part in these calls only; from now on by itself. */
enum { TURN, TIME, QUIET, RUNNING };
/* What the application calls the driver for. */
enum { WORK, END };

/* What the two processes share, beside the data. */
struct shared {
    struct ring up, down; /* to the application, to the driver */
    uint32_t end;
    uint32_t wrong; /* what the driver, or the application, found wrong */
    uint64_t argument, drawn, own[BURST]; /* the application's, which has no globals of its own */
};

/* What the application is told. */
struct told {
    uint64_t data, batch, bursts;
    aero_handle driver; /* the endpoint where it is called; c1 */
};

static uint64_t polled;
static struct shared *const shared = (struct shared *)SHARED;

/* The driver gives what came to the application, at most so many; and takes what that gives back. */
static unsigned give(struct ring_side *up, unsigned most);
static unsigned take(struct ring_side *down, unsigned most);

/* The application: takes a batch, does its work, gives it back.  How many.  `begin` is before the first. */
static unsigned apply(struct ring_side *up, struct ring_side *down, uint8_t *data, unsigned batch);
static void begin(struct ring_side *down, uint8_t *data);

static void time_exits(void)
{
    aero_syscall(HOST, TIME, EXITS, 0, 0, 0, 0);
    for (int i = 0; i < EXITS; i++)
        aero_null();
}

static void poll_model(void)
{
    uint64_t start = device_ticks();

    aero_syscall(HOST, TURN, 0, 0, 0, 0, 0);
    polled += device_ticks() - start;
}

static void say_ticks(uint64_t ticks, uint64_t count)
{
    struct line line = {0};

    line_decimal(&line, "ticks ", ticks);
    line_decimal(&line, " items ", count);
    device_say(line.text);
}

static int application_apart(void *argument)
{
    struct told told = *(struct told *)argument;
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};

    begin(&down, (uint8_t *)told.data);
    while (!__atomic_load_n(&shared->end, __ATOMIC_ACQUIRE))
        if (!apply(&up, &down, (uint8_t *)told.data, (unsigned)told.batch))
            device_pause();
    return 0;
}

/* `first`: so many come from the application before anything else. */
static uint64_t two_cores(unsigned batch, uint64_t bursts, unsigned first)
{
    struct ring_side up = {&shared->up, 0, 0}, down = {&shared->down, 0, 0};
    uint64_t took = 0;

    while (first)
        first -= take(&down, first);
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

    begin(&down, (uint8_t *)told.data);
    while (done < told.bursts * BURST) {
        message = (struct aero_message){.words = {WORK}};
        aero_must(aero_message_call(told.driver, AERO_FOREVER, &message), "message_call");
        done += apply(&up, &down, (uint8_t *)told.data, (unsigned)told.batch);
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
        while (take(&down, BATCH_MOST) == BATCH_MOST) {
        }
        if (message.words[0] == END)
            break;
        if (given == BURST) {
            poll_model();
            if (!start) {
                polled = 0;
                start = device_ticks();
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

/* Runs driver and application in two containers, on two cores or one; the ticks it took.  `data` is shared as well. */
static uint64_t apart(bool cores, const struct device_memory *data, unsigned batch, uint64_t bursts, unsigned first)
{
    aero_handle endpoint = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create"), container;
    uint64_t size = aero_round_to_pages(sizeof *shared), at = (uint64_t)data->at, ticks;
    struct told told = {at, batch, bursts, 0};
    struct aero_child child;

    container = (aero_handle)aero_must(aero_container_create(200, 0, 0, cores ? 1 : 0), "container_create");
    aero_must(aero_child_create_apart(&child, container), "aero_child_create_apart");
    aero_must(aero_process_share(child.process, SHARED, size, SHARED, AERO_READ | AERO_WRITE), "share");
    aero_must(aero_process_share(child.process, at, data->size, at, AERO_READ | AERO_WRITE), "share of the data");
    told.driver = (aero_handle)aero_must(aero_handle_give(child.process, endpoint, AERO_SEND), "handle_give");
    *(struct told *)child.stack = told; /* the far end of its stack */
    aero_must(aero_child_start(&child, cores ? application_apart : application_calls, (void *)child.stack), "child_start");
    ticks = cores ? two_cores(batch, bursts, first) : one_core(batch, endpoint);
    aero_must(aero_child_wait(&child), "aero_child_wait");
    return ticks;
}

/* Runs so many bursts in the configuration of this name, and says how many ticks they took.  `argument` is for the
 * application.  The program's exit status. */
static int run_path(const char *name, const struct device_memory *data, unsigned batch, uint64_t bursts, unsigned first,
                    uint64_t argument, uint64_t (*linked_in)(unsigned batch, uint64_t bursts))
{
    uint64_t ticks;

    aero_must(aero_mmap(SHARED, aero_round_to_pages(sizeof *shared), AERO_READ | AERO_WRITE), "mmap");
    shared->argument = argument;
    time_exits();
    ticks = text_is(name, "driver") ? linked_in(batch, bursts) : apart(text_is(name, "c2"), data, batch, bursts, first);
    if (shared->wrong) {
        device_say("something was wrong with what passed");
        return 3;
    }
    say_ticks(ticks, bursts * BURST);
    return 0;
}

#endif
