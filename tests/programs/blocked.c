/* Threads, processes and containers that are killed while they wait at an endpoint:  blocked SCENE
 *
 *   blocked for-ever HOW    waits so at an endpoint that nobody else knows: for ever, or for an hour */
#include "killing.h"

#define LONG 3600000000000UL /* nanoseconds: an hour */

static volatile uint64_t begun;

/* --- Killed while blocked --- */

/* What to block in, at which endpoint. */
struct task {
    aero_handle endpoint;
    int64_t (*call)(aero_handle endpoint);
};

static int64_t sends(aero_handle endpoint)
{
    struct aero_message message = {.words = {1}};

    return aero_message_send(endpoint, AERO_FOREVER, &message);
}

static int64_t sends_for_long(aero_handle endpoint)
{
    struct aero_message message = {.words = {1}};

    return aero_message_send(endpoint, LONG, &message);
}

static int64_t sends_a_page(aero_handle endpoint)
{
    struct aero_message message = {.item = AERO_MOVE(AERO_PAGE_SIZE, BOTH), .object = PAGE};

    must("mmap", aero_mmap(PAGE, AERO_PAGE_SIZE, BOTH));
    return aero_message_send(endpoint, AERO_FOREVER, &message);
}

static int64_t sends_a_handle(aero_handle endpoint)
{
    struct aero_message message = {.item = AERO_HANDLE(AERO_SEND), .object = endpoint};

    return aero_message_send(endpoint, AERO_FOREVER, &message);
}

static int64_t calls_for_long(aero_handle endpoint)
{
    struct aero_message message = {.words = {2}};

    return aero_message_call(endpoint, LONG, &message);
}

static int64_t receives(aero_handle endpoint)
{
    struct aero_message message = {0};

    return aero_message_receive(endpoint, AERO_FOREVER, &message);
}

static int64_t receives_for_long(aero_handle endpoint)
{
    struct aero_message message = {0};

    return aero_message_receive(endpoint, LONG, &message);
}

static int64_t faults(aero_handle endpoint)
{
    must("pager_set", aero_pager_set(0, endpoint));
    return (int64_t)*word_at(WINDOW);
}

static const struct {
    const char *name;
    int64_t (*call)(aero_handle);
} ways[] = {
    {"send", sends}, {"timed-send", sends_for_long}, {"send-page", sends_a_page}, {"send-handle", sends_a_handle},
    {"call", calls}, {"timed-call", calls_for_long}, {"receive", receives}, {"timed-receive", receives_for_long},
    {"fault", faults},
};

#define WAYS (sizeof ways / sizeof ways[0])

static int blocks(void *argument)
{
    struct task task = *(struct task *)argument;

    begun = 1;
    task.call(task.endpoint);
    return 1;
}

/* At the moment of the kill the victim is on its way, or blocked: with more turns, surely. */
static void killed_thread(void)
{
    aero_handle endpoint = new_endpoint();

    for (size_t way = 0; way < WAYS; way++)
        for (int turns = 0; turns < 12; turns += 3) {
            struct task task = {endpoint, ways[way].call};
            struct aero_thread thread;

            if (ways[way].call == faults) /* a pager is the whole process's */
                continue;
            begun = 0;
            spawn(&thread, blocks, (uint64_t)&task);
            await(&begun);
            let_others_run(turns);
            expect(ways[way].name, aero_thread_kill(thread.handle), 0);
            expect(ways[way].name, aero_thread_wait(&thread), KILLED);
            expect_empty(endpoint);
            if (ways[way].call == sends_a_page && aero_munmap(PAGE, AERO_PAGE_SIZE) != -AERO_EFAULT)
                expect("mapped after munmap", aero_munmap(PAGE, AERO_PAGE_SIZE), -AERO_EFAULT);
            /* else it was killed before it had mapped that page */
        }
}

static void killed_child(bool contained)
{
    aero_handle endpoint = new_endpoint();

    for (size_t way = 0; way < WAYS; way++)
        for (int turns = 0; turns < 8; turns += 7) {
            aero_handle container = container_if(contained);
            struct aero_child child = new_child(container);
            struct task *task = (struct task *)child.stack;

            *task = (struct task){give(&child, endpoint, AERO_SEND | AERO_RECEIVE | AERO_GRANT), ways[way].call};
            begun = 0;
            start(&child, blocks, (uint64_t)task);
            await(&begun);
            let_others_run(turns);
            kill_child(ways[way].name, &child, container);
            expect_empty(endpoint);
        }
}

static void killed_process(void)
{
    killed_child(false);
}

static void killed_container(void)
{
    killed_child(true);
}

/* --- Killed between a call and its reply --- */

static void killed_caller(void)
{
    aero_handle endpoint = new_endpoint();

    for (size_t way = 0; way < WAYS; way++)
        for (int contained = 0; contained < 2; contained++) {
            aero_handle container = container_if(contained);
            struct aero_child child;
            struct task *task;
            struct aero_message message = {0};

            if (ways[way].call != calls && ways[way].call != calls_for_long && ways[way].call != faults)
                continue;
            child = new_child(container);
            task = (struct task *)child.stack;
            *task = (struct task){give(&child, endpoint, AERO_SEND), ways[way].call};
            start(&child, blocks, (uint64_t)task);
            expect("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message), 0);
            kill_child(ways[way].name, &child, container);
            expect("a reply to who was killed", aero_message_reply(&message), -AERO_ESRCH);
            expect_empty(endpoint);
        }
}

/* --- For ever --- */

/* A timer of one endpoint expires, but this thread waits at another. */
static int64_t waits_beside_a_timer(void)
{
    must("timer_set", aero_timer_set(new_endpoint(), 50000000, 0));
    return receives(new_endpoint());
}

static aero_handle asking, asked;

static int asks_back(void *argument)
{
    struct aero_message message = {0};

    (void)argument;
    must("message_receive", aero_message_receive(asked, AERO_FOREVER, &message));
    return (int)calls(asking);
}

/* This process calls a child that, before it replies, calls this one. */
static int64_t calls_in_a_circle(void)
{
    struct aero_child child;

    asking = new_endpoint();
    asked = new_endpoint();
    child = new_child(0);
    give(&child, asking, AERO_SEND);
    give(&child, asked, AERO_RECEIVE);
    start(&child, asks_back, 0);
    return calls(asked);
}

static const struct scene scenes[] = {
    {"killed-thread", killed_thread},
    {"killed-process", killed_process},
    {"killed-container", killed_container},
    {"killed-caller", killed_caller},
};

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[2], "circle") == 0)
        return (int)calls_in_a_circle();
    if (argc > 2 && strcmp(argv[2], "expiry") == 0)
        return (int)waits_beside_a_timer();
    for (size_t way = 0; argc > 2 && way < WAYS; way++)
        if (strcmp(argv[2], ways[way].name) == 0)
            return (int)ways[way].call(new_endpoint());
    return play(scenes, sizeof scenes / sizeof scenes[0], argc, argv);
}
