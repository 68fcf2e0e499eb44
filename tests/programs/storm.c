/* Messages at random between threads of two processes that share their endpoints:  storm [ROUNDS] [SEED]
 *
 * Some carry pages or handles; threads are killed in between.  Whatever meets whom: a message arrives whole, words and
 * page of one sender, or not at all, with an error that the table names. */
#include "scenes.h"

#define BOTH (AERO_READ | AERO_WRITE)
#define ENDPOINTS 3
#define THREADS 4
#define MILLISECOND 1000000UL
#define AREA(number) (0x300000000UL + (uint64_t)(number) * 0x40000000UL)

static uint64_t rounds, base_seed;
static aero_handle endpoints[ENDPOINTS];

struct view {
    uint64_t random, page, window;
};

static uint64_t mix(uint64_t word, uint64_t i)
{
    return (word + i) * 0x9e3779b97f4a7c15UL;
}

static struct aero_message written(struct view *view)
{
    uint64_t word = xorshift(&view->random);
    struct aero_message message = {.words = {word}};

    for (uint64_t i = 1; i < 6; i++)
        message.words[i] = mix(word, i);
    return message;
}

/* The words belong together, and so does the page; what came is given back. */
static void check(struct view *view, const struct aero_message *message)
{
    for (uint64_t i = 1; i < 6; i++)
        expect("a word that belongs to another", (int64_t)message->words[i], (int64_t)mix(message->words[0], i));
    if (AERO_ITEM_KIND(message->item) == 3) {
        expect("handle_close of what came", aero_handle_close(message->object), 0);
    } else if (AERO_ITEM_KIND(message->item)) {
        expect("where pages came", (int64_t)message->object, (int64_t)view->window);
        expect("the word of a page", (int64_t) * (volatile uint64_t *)view->window, (int64_t)message->words[0]);
        must("munmap of what came", aero_munmap(view->window, AERO_ITEM_LENGTH(message->item)));
    }
}

/* Puts something into the message that it is to carry; a page of it stays mapped unless it moves. */
static void load(struct view *view, struct aero_message *message, aero_handle endpoint)
{
    uint64_t choice = xorshift(&view->random) % 8;

    if (choice == 0) {
        message->item = AERO_HANDLE(1 + xorshift(&view->random) % 7);
        message->object = endpoint;
    } else if (choice < 4) {
        must("mmap", aero_mmap(view->page, 2 * AERO_PAGE_SIZE, BOTH));
        *(volatile uint64_t *)view->page = message->words[0];
        message->item = choice == 1 ? AERO_SHARE(AERO_PAGE_SIZE, AERO_READ) : AERO_MOVE(2 * AERO_PAGE_SIZE, BOTH);
        message->object = view->page;
    }
}

static void unload(struct view *view, const struct aero_message *message, int64_t result)
{
    uint64_t kind = AERO_ITEM_KIND(message->item);

    if (kind != 1 && kind != 2)
        return;
    if (kind == 2 && result == 0)
        expect("munmap of pages that moved", aero_munmap(view->page, 2 * AERO_PAGE_SIZE), -AERO_EFAULT);
    else
        must("munmap of pages that were sent", aero_munmap(view->page, 2 * AERO_PAGE_SIZE));
}

/* Errors that a message may meet here. */
static void expect_known(int64_t result)
{
    if (result == 0 || result == -AERO_EAGAIN || result == -AERO_ETIMEDOUT || result == -AERO_EPROTO ||
        result == -AERO_EMSGSIZE || result == -AERO_EPIPE || result == -AERO_ENOMEM)
        return;
    wrong("the result of a message", result, 0);
}

static void one(struct view *view)
{
    aero_handle endpoint = endpoints[xorshift(&view->random) % ENDPOINTS];
    uint64_t choice = xorshift(&view->random) % 16, wait = xorshift(&view->random) % 4 * MILLISECOND / 2;
    struct aero_message message = written(view), sent;
    int64_t result;

    if (choice < 6) {
        must("message_accept", aero_message_accept(view->window, choice * AERO_PAGE_SIZE, choice % 2));
        result = aero_message_receive(endpoint, wait, &message);
        if (result == -AERO_EBUSY)
            aero_message_reply(&message); /* to the call that was left without one */
        else if (result < 0)
            expect_known(result);
        if (result)
            return; /* an error, or a timer's expiries */
        check(view, &message);
        if (choice == 0)
            return; /* owing a reply, perhaps; who is killed so is killed as a server */
        message = sent = written(view);
        result = aero_message_reply(&message);
        if (result != -AERO_ESRCH)
            expect_known(result);
    } else if (choice < 13) {
        load(view, &message, endpoint);
        sent = message;
        must("message_accept", aero_message_accept(view->window, choice % 3 * AERO_PAGE_SIZE, choice % 2));
        result = choice < 10 ? aero_message_send(endpoint, wait, &message)
                             : aero_message_call(endpoint, wait, &message);
        expect_known(result);
        /* A call without a reply may have been received, and its pages with it. */
        if (choice >= 10 && (result == -AERO_ETIMEDOUT || result == -AERO_EPIPE) && AERO_ITEM_KIND(sent.item) == 2)
            aero_munmap(view->page, 2 * AERO_PAGE_SIZE);
        else
            unload(view, &sent, result);
        if (choice >= 10 && result == 0)
            check(view, &message);
    } else if (choice == 13) {
        aero_handle other = (aero_handle)must("handle_copy", aero_handle_copy(endpoint, 1 + choice % 7, 0));

        must("handle_close", aero_handle_close(other));
    } else if (choice == 14) {
        must("timer_set", aero_timer_set(endpoint, wait, 0));
    } else {
        aero_thread_yield();
    }
}

static int weather(void *argument)
{
    uint64_t number = (uint64_t)argument;
    struct view view = {base_seed * 1000 + number + 1, AREA(2 * number), AREA(2 * number + 1)};

    for (uint64_t round = 0; round < rounds; round++)
        one(&view);
    return 0;
}

/* Threads that do what the others do until they are killed. */
static int victim(void *argument)
{
    for (;;)
        weather(argument);
    return 0;
}

static int process(void *argument)
{
    uint64_t first = (uint64_t)argument, random = base_seed + first + 1;
    struct aero_thread threads[THREADS];

    for (uint64_t i = 0; i < THREADS; i++)
        spawn(&threads[i], weather, first + i);
    for (uint64_t i = 0; i < 6; i++) {
        struct aero_thread thread;
        uint64_t number = first + THREADS + i; /* what it leaves behind is in nobody's way */

        spawn(&thread, victim, number);
        let_others_run((int)(xorshift(&random) % 60));
        expect("thread_kill", aero_thread_kill(thread.handle), 0);
        expect("its status", aero_thread_wait(&thread), 137);
    }
    for (uint64_t i = 0; i < THREADS; i++)
        expect("a thread's status", aero_thread_wait(&threads[i]), 0);
    return failures;
}

int main(int argc, char **argv)
{
    struct aero_child child;

    rounds = number_or(argc > 1 ? argv[1] : NULL, 200);
    base_seed = number_or(argc > 2 ? argv[2] : NULL, 1);
    for (int i = 0; i < ENDPOINTS; i++)
        endpoints[i] = new_endpoint();
    child = new_child(0);
    /* The first handles of each process have the same numbers. */
    for (int i = 0; i < ENDPOINTS; i++)
        expect("the child's handle", (int64_t)give(&child, endpoints[i], 7), (int64_t)endpoints[i]);
    start(&child, process, 20);
    process((void *)0);
    expect("the child's status", aero_child_wait(&child), 0);
    return verdict("storm");
}
