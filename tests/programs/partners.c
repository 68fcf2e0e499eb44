/* Servers, pagers and other partners that are killed while somebody has to do with them:  partners SCENE */
#include "killing.h"

#define WORD 0x5ec2e75ec2e75ec2UL
#define SEGV 139 /* 128 + SIGSEGV */

static volatile uint64_t begun;

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

/* --- Killed in the middle of a long message --- */

#define MANY 64UL /* as many as a message can carry */

static int takes_many(void *argument)
{
    struct aero_message message = {0};

    must("message_accept", aero_message_accept(WINDOW, MANY * AERO_PAGE_SIZE, 0));
    begun = 1;
    must("message_receive", aero_message_receive((aero_handle)argument, AERO_FOREVER, &message));
    for (;;)
        aero_thread_yield();
    return 0;
}

static aero_handle victim;
static int turns_before_kill;

static int kills_the_victim(void *argument)
{
    (void)argument;
    let_others_run(turns_before_kill);
    return (int)aero_process_kill(victim);
}

/* Who receives many pages is killed before, while and after they pass.  Those that are shared stay the sender's; those
 * that have moved are gone with the receiver, and the others are there as they were. */
static void killed_in_a_long_message(void)
{
    for (int i = 0; i < 16; i++) {
        bool moves = i % 2;
        aero_handle endpoint = new_endpoint(), sender;
        struct aero_child child = new_child(0);
        struct aero_thread killer;
        struct aero_message message = {.object = PAGE};
        uint64_t left = 0;
        int64_t result;

        must("mmap", aero_mmap(PAGE, MANY * AERO_PAGE_SIZE, BOTH));
        for (uint64_t j = 0; j < MANY; j++)
            *word_at(PAGE + j * AERO_PAGE_SIZE) = WORD + j;
        begun = 0;
        start(&child, takes_many, give(&child, endpoint, AERO_RECEIVE));
        sender = copy(endpoint, AERO_SEND, 0);
        must("handle_close", aero_handle_close(endpoint));
        await(&begun);
        victim = child.process;
        turns_before_kill = i / 2 * 3;
        spawn(&killer, kills_the_victim, 0);
        message.item = moves ? AERO_MOVE(MANY * AERO_PAGE_SIZE, BOTH) : AERO_SHARE(MANY * AERO_PAGE_SIZE, BOTH);
        result = aero_message_send(sender, AERO_FOREVER, &message);
        expect_true("message_send to who is killed", result == 0 || result == -AERO_EPIPE);
        expect("process_kill", aero_thread_wait(&killer), 0);
        expect("its status", aero_child_wait(&child), KILLED);
        for (uint64_t j = 0; j < MANY; j++)
            if (aero_mprotect(PAGE + j * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ) == 0) {
                expect("a page that did not move", (int64_t)*word_at(PAGE + j * AERO_PAGE_SIZE), (int64_t)(WORD + j));
                must("munmap", aero_munmap(PAGE + j * AERO_PAGE_SIZE, AERO_PAGE_SIZE));
                left++;
            }
        if (!moves)
            expect("pages that were shared", (int64_t)left, MANY);
        else if (result == 0)
            expect("pages that moved", (int64_t)left, 0);
        must("handle_close", aero_handle_close(sender));
    }
}

static const struct scene scenes[] = {
    {"killed-server", killed_server},
    {"thread-that-owes-a-reply", thread_that_owes_a_reply},
    {"killed-pager", killed_pager},
    {"pager-that-faults", pager_that_faults},
    {"pages-of-the-killed", pages_of_the_killed},
    {"killed-in-a-long-message", killed_in_a_long_message},
};

int main(int argc, char **argv)
{
    return play(scenes, sizeof scenes / sizeof scenes[0], argc, argv);
}
