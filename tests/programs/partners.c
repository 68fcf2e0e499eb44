/* Threads, processes and containers that are killed while others have to do with them:  partners SCENE
 *
 *   partners block HOW    waits so at an endpoint that nobody else knows: for ever, or for an hour */
#include "scenes.h"

#define BOTH (AERO_READ | AERO_WRITE)
#define PAGE 0x300000000UL
#define WINDOW 0x400000000UL
#define WORD 0x5ec2e75ec2e75ec2UL
#define KILLED 137
#define SEGV 139 /* 128 + SIGSEGV */
#define LONG 3600000000000UL /* nanoseconds: an hour */

static volatile uint64_t begun;

static volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

/* A container for one child, or 0 for none. */
static aero_handle container_if(bool wanted)
{
    return wanted ? (aero_handle)must("container_create", aero_container_create(24, 0, 0, 0)) : 0;
}

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

static int64_t calls(aero_handle endpoint)
{
    struct aero_message message = {.words = {2}};

    return aero_message_call(endpoint, AERO_FOREVER, &message);
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

static int receive_one(void *argument)
{
    struct aero_message message = {0};
    int64_t result = aero_message_receive((aero_handle)argument, AERO_FOREVER, &message);

    return result ? (int)result : (int)message.words[0];
}

/* Nobody is left in the queue: a message goes from here to one who receives it, and none is there before. */
static void expect_empty(aero_handle endpoint)
{
    struct aero_message message = {.words = {33}};
    struct aero_thread receiver;

    expect("a message of somebody killed", aero_message_receive(endpoint, 0, &message), -AERO_EAGAIN);
    expect("a receiver that was killed", aero_message_send(endpoint, 0, &message), -AERO_EAGAIN);
    spawn(&receiver, receive_one, endpoint);
    expect("message_send", aero_message_send(endpoint, AERO_FOREVER, &message), 0);
    expect("who received it", aero_thread_wait(&receiver), 33);
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
            if (ways[way].call == sends_a_page)
                must("munmap", aero_munmap(PAGE, AERO_PAGE_SIZE));
        }
}

static void kill_child(const char *name, struct aero_child *child, aero_handle container)
{
    if (container) {
        expect(name, aero_container_kill(container), 0);
        expect(name, aero_process_wait(child->process), -AERO_ESRCH);
        must("munmap", aero_munmap(child->stack, AERO_CHILD_STACK_SIZE));
    } else {
        expect(name, aero_process_kill(child->process), 0);
        expect(name, aero_child_wait(child), KILLED);
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

#define CALLERS 5

static int serves_never(void *argument)
{
    struct aero_message message = {0};

    must("message_receive", aero_message_receive((aero_handle)argument, AERO_FOREVER, &message));
    begun = 1;
    for (;;)
        aero_thread_yield();
    return 0;
}

static int call_until_told(void *argument)
{
    return (int)calls((aero_handle)argument) == -AERO_EPIPE ? 3 : 4;
}

/* A server ends with one caller to reply to and others in its queue: each learns it, and so does who calls later. */
static void killed_server(void)
{
    for (int contained = 0; contained < 2; contained++) {
        aero_handle container = container_if(contained);
        aero_handle endpoint = new_endpoint(), sender;
        struct aero_child server = new_child(container);
        struct aero_thread callers[CALLERS];

        begun = 0;
        start(&server, serves_never, give(&server, endpoint, AERO_RECEIVE));
        sender = copy(endpoint, AERO_SEND, 0);
        must("handle_close", aero_handle_close(endpoint));
        for (int i = 0; i < CALLERS; i++)
            spawn(&callers[i], call_until_told, sender);
        await(&begun);
        let_others_run(contained ? 0 : 20);
        kill_child("a server", &server, container);
        for (int i = 0; i < CALLERS; i++)
            expect("what a caller learnt", aero_thread_wait(&callers[i]), 3);
        expect("a later call", calls(sender), -AERO_EPIPE);
        must("handle_close", aero_handle_close(sender));
    }
}

static int receive_and_end(void *argument)
{
    struct aero_message message = {0};

    return (int)aero_message_receive((aero_handle)argument, AERO_FOREVER, &message);
}

/* A thread that ends owing a reply; the others of its process could still receive, but not reply to this call. */
static void thread_that_owes_a_reply(void)
{
    aero_handle endpoint = new_endpoint();

    for (int kill = 0; kill < 2; kill++) {
        struct aero_thread server, caller;

        begun = 0;
        spawn(&server, kill ? serves_never : receive_and_end, endpoint);
        spawn(&caller, call_until_told, endpoint);
        if (kill) {
            await(&begun);
            expect("thread_kill", aero_thread_kill(server.handle), 0);
        }
        expect("the server's status", aero_thread_wait(&server), kill ? KILLED : 0);
        expect("what its caller learnt", aero_thread_wait(&caller), 3);
        expect_empty(endpoint);
    }
}

/* --- Pagers that are killed --- */

static int touch_page(void *argument)
{
    return (int)*word_at((uint64_t)argument);
}

/* It could receive, but does not. */
static int receives_never(void *argument)
{
    (void)argument;
    begun = 1;
    for (;;)
        aero_thread_yield();
    return 0;
}

static void killed_pager(void)
{
    for (int i = 0; i < 4; i++) {
        bool held = i & 1, contained = i & 2; /* a fault that the pager has received, or one in its queue */
        aero_handle container = container_if(contained);
        aero_handle endpoint = new_endpoint();
        struct aero_child pager = new_child(container), clients[3];

        begun = 0;
        start(&pager, held ? serves_never : receives_never, give(&pager, endpoint, AERO_RECEIVE));
        for (int c = 0; c < 3; c++) {
            clients[c] = new_child(0);
            must("pager_set", aero_pager_set(clients[c].process, endpoint));
            start(&clients[c], touch_page, WINDOW);
        }
        must("handle_close", aero_handle_close(endpoint));
        await(&begun);
        let_others_run(i < 2 ? 20 : 0);
        kill_child("a pager", &pager, container);
        for (int c = 0; c < 3; c++)
            expect("who faulted", aero_child_wait(&clients[c]), SEGV);
    }
}

/* A pager that faults itself, having no pager, ends; and with it who waits for it. */
static int fault_instead(void *argument)
{
    struct aero_message message = {0};

    must("message_receive", aero_message_receive((aero_handle)argument, AERO_FOREVER, &message));
    return (int)*word_at(WINDOW);
}

static void pager_that_faults(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_child pager = new_child(0), client = new_child(0);

    start(&pager, fault_instead, give(&pager, endpoint, AERO_RECEIVE));
    must("pager_set", aero_pager_set(client.process, endpoint));
    must("handle_close", aero_handle_close(endpoint));
    start(&client, touch_page, WINDOW);
    expect("the pager's status", aero_child_wait(&pager), SEGV);
    expect("the client's status", aero_child_wait(&client), SEGV);
}

/* --- Shared and moved pages outlive who sent them --- */

static int sends_pages(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {.item = AERO_SHARE(AERO_PAGE_SIZE, BOTH), .object = PAGE};

    must("mmap", aero_mmap(PAGE, 2 * AERO_PAGE_SIZE, BOTH));
    *word_at(PAGE) = WORD;
    *word_at(PAGE + AERO_PAGE_SIZE) = ~WORD;
    must("message_send", aero_message_send(endpoint, AERO_FOREVER, &message));
    message = (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, BOTH), .object = PAGE + AERO_PAGE_SIZE};
    must("message_send", aero_message_send(endpoint, AERO_FOREVER, &message));
    for (;;)
        *word_at(PAGE) = WORD; /* still in it when it is killed */
    return 0;
}

static void pages_of_the_killed(void)
{
    for (int contained = 0; contained < 2; contained++) {
        aero_handle container = container_if(contained);
        aero_handle endpoint = new_endpoint();
        struct aero_child child = new_child(container);
        struct aero_message message = {0};

        start(&child, sends_pages, give(&child, endpoint, AERO_SEND));
        for (uint64_t i = 0; i < 2; i++) {
            must("message_accept", aero_message_accept(WINDOW + i * AERO_PAGE_SIZE, AERO_PAGE_SIZE, 0));
            must("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message));
        }
        kill_child("who shares", &child, container);
        expect("the page that was shared", (int64_t)*word_at(WINDOW), (int64_t)WORD);
        expect("the page that moved", (int64_t)*word_at(WINDOW + AERO_PAGE_SIZE), (int64_t)~WORD);
        *word_at(WINDOW) = 0;
        let_others_run(20);
        expect("a page that only we have now", (int64_t)*word_at(WINDOW), 0);
        must("munmap", aero_munmap(WINDOW, 2 * AERO_PAGE_SIZE));
        must("handle_close", aero_handle_close(endpoint));
    }
}

static const struct scene scenes[] = {
    {"killed-thread", killed_thread},
    {"killed-process", killed_process},
    {"killed-container", killed_container},
    {"killed-caller", killed_caller},
    {"killed-server", killed_server},
    {"thread-that-owes-a-reply", thread_that_owes_a_reply},
    {"killed-pager", killed_pager},
    {"pager-that-faults", pager_that_faults},
    {"pages-of-the-killed", pages_of_the_killed},
};

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
