/* What messages carry, pages and handles, and what becomes of it:  carried SCENE [SEED] */
#include "scenes.h"

#define BOTH (AERO_READ | AERO_WRITE)
#define PAGE 0x300000000UL
#define WINDOW 0x400000000UL
#define ELSEWHERE 0x500000000UL
#define BLOCK 0x680000000UL
#define WORD 0x5ec2e75ec2e75ec2UL

static volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

static void map(uint64_t address, uint64_t length)
{
    must("mmap", aero_mmap(address, length, BOTH));
    *word_at(address) = WORD;
}

/* Receives one message, with what it carries in WINDOW or as a handle, and replies with what it found. */
static int take(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {0};
    int64_t result;

    must("message_accept", aero_message_accept(WINDOW, AERO_BLOCK_SIZE, 1));
    result = aero_message_receive(endpoint, AERO_FOREVER, &message);
    if (result)
        return (int)result;
    message.words[0] = message.item;
    message.words[1] = message.object;
    message.words[2] = message.item && AERO_ITEM_KIND(message.item) != 3 ? *word_at(message.object) : 0;
    message.item = message.object = 0;
    return (int)aero_message_reply(&message);
}

/* --- Within one process --- */

static struct aero_message offer_after(int turns, aero_handle endpoint, uint64_t item, uint64_t object,
                                       int64_t expected)
{
    struct aero_thread taker;
    struct aero_message message = {.item = item, .object = object};

    spawn(&taker, take, endpoint);
    let_others_run(turns);
    expect("message_call", aero_message_call(endpoint, AERO_FOREVER, &message), expected);
    if (expected) { /* whether the taker waited or came later, it still takes what it can */
        struct aero_message plain = {0};

        expect("a message after a refused one", aero_message_call(endpoint, AERO_FOREVER, &plain), 0);
    }
    expect("the taker's status", aero_thread_wait(&taker), 0);
    return message;
}

static struct aero_message offer(aero_handle endpoint, uint64_t item, uint64_t object, int64_t expected)
{
    return offer_after(0, endpoint, item, object, expected);
}

static void to_the_same_process(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_message message;

    map(PAGE, 2 * AERO_PAGE_SIZE);
    message = offer(endpoint, AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), PAGE, 0);
    expect("the item that arrived", (int64_t)message.words[0], (int64_t)AERO_SHARE(AERO_PAGE_SIZE, AERO_READ));
    expect("where", (int64_t)message.words[1], WINDOW);
    expect("its word", (int64_t)message.words[2], (int64_t)WORD);
    *word_at(PAGE) = 3;
    expect("the same page", (int64_t)*word_at(WINDOW), 3);
    offer(endpoint, AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), PAGE, -AERO_EEXIST);
    offer(endpoint, AERO_MOVE(AERO_PAGE_SIZE, BOTH), PAGE, -AERO_EEXIST);
    must("munmap", aero_munmap(WINDOW, AERO_PAGE_SIZE));

    message = offer(endpoint, AERO_MOVE(2 * AERO_PAGE_SIZE, BOTH), PAGE, 0);
    expect("the item that arrived", (int64_t)message.words[0], (int64_t)AERO_MOVE(2 * AERO_PAGE_SIZE, BOTH));
    expect("the page that moved", (int64_t)*word_at(WINDOW), 3);
    expect("where it was", aero_munmap(PAGE, AERO_PAGE_SIZE), -AERO_EFAULT);
    must("munmap", aero_munmap(WINDOW, 2 * AERO_PAGE_SIZE));

    must("mmap", aero_mmap(BLOCK, AERO_BLOCK_SIZE, BOTH));
    *word_at(BLOCK) = 8;
    message = offer(endpoint, AERO_MOVE(AERO_BLOCK_SIZE, AERO_READ), BLOCK, 0);
    expect("the block's word", (int64_t)message.words[2], 8);
    must("munmap", aero_munmap(WINDOW, AERO_BLOCK_SIZE));
}

/* By who waits already, to the sender's face; or by who comes later, when the sender waits. */
static void refused(aero_handle endpoint, uint64_t item, uint64_t object, int64_t error)
{
    offer_after(0, endpoint, item, object, error);
    offer_after(20, endpoint, item, object, error);
}

static void what_is_refused(void)
{
    const uint64_t page = AERO_PAGE_SIZE;
    aero_handle endpoint = new_endpoint();

    map(PAGE, 4 * page);
    must("mprotect", aero_mprotect(PAGE, page, AERO_READ));
    refused(endpoint, AERO_SHARE(page, BOTH), PAGE, -AERO_EPERM);
    refused(endpoint, AERO_SHARE(4 * page, BOTH), PAGE, -AERO_EPERM);
    refused(endpoint, AERO_SHARE(page, AERO_EXECUTE), PAGE + page, -AERO_EPERM);
    refused(endpoint, AERO_SHARE(page, AERO_READ), ELSEWHERE, -AERO_EFAULT);
    refused(endpoint, AERO_SHARE(5 * page, AERO_READ), PAGE, -AERO_EFAULT);
    refused(endpoint, AERO_MOVE(5 * page, AERO_READ), PAGE, -AERO_EFAULT);
    refused(endpoint, AERO_SHARE(AERO_BLOCK_SIZE + page, AERO_READ), PAGE, -AERO_EMSGSIZE);
    refused(endpoint, AERO_HANDLE(AERO_SEND), endpoint + 1, -AERO_ESRCH);
    refused(endpoint, AERO_HANDLE(AERO_SEND), 0, -AERO_ESRCH);
    refused(endpoint, AERO_HANDLE(0), endpoint, -AERO_EPERM);
    refused(endpoint, AERO_HANDLE(AERO_RECEIVE), copy(endpoint, AERO_SEND | AERO_GRANT, 0), -AERO_EPERM);
    refused(endpoint, AERO_HANDLE(AERO_SEND), copy(endpoint, AERO_SEND, 0), -AERO_EPERM);
    /* None of them has left anything behind. */
    expect("the window afterwards", aero_munmap(WINDOW, page), -AERO_EFAULT);
    expect("the pages afterwards", (int64_t)*word_at(PAGE), (int64_t)WORD);
}

/* An endpoint whose own queue carries a handle to it, and is never emptied. */
static int send_itself(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {.item = AERO_HANDLE(AERO_SEND | AERO_RECEIVE | AERO_GRANT), .object = endpoint};

    return (int)aero_message_send(endpoint, AERO_FOREVER, &message);
}

static void through_itself(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_thread senders[3];
    struct aero_message message = {0};

    for (int i = 0; i < 3; i++)
        spawn(&senders[i], send_itself, endpoint);
    must("message_accept", aero_message_accept(0, 0, 1));
    expect("message_receive", aero_message_receive(endpoint, AERO_FOREVER, &message), 0);
    expect("what came", (int64_t)message.item, (int64_t)AERO_HANDLE(7));
    expect_true("another handle", message.object != endpoint);
    must("handle_close of the one it came by", aero_handle_close(endpoint));
    endpoint = message.object;
    /* The two others carry a handle that is closed now: they are told, and nobody else is kept waiting. */
    expect("message_receive of what is gone", aero_message_receive(endpoint, 1000000, &message), -AERO_ETIMEDOUT);
    let_others_run(100);
    expect("message_receive of what is gone", aero_message_receive(endpoint, 1000000, &message), -AERO_ETIMEDOUT);
    must("handle_close", aero_handle_close(endpoint));
    for (int i = 0; i < 3; i++) {
        int64_t status = aero_thread_wait(&senders[i]);

        expect_true("a sender's status", status == 0 || status == (uint32_t)-AERO_ESRCH);
    }
}

/* A queue of cycles: each endpoint's queue carries a handle to the other, and nobody receives. */
static int send_other(void *argument)
{
    aero_handle *pair = argument;
    struct aero_message message = {.item = AERO_HANDLE(7), .object = pair[1]};

    return (int)aero_message_send(pair[0], AERO_FOREVER, &message);
}

static void in_cycles(void)
{
    static aero_handle pairs[8][2];
    struct aero_thread senders[8];

    for (int i = 0; i < 8; i++)
        pairs[i][0] = new_endpoint();
    for (int i = 0; i < 8; i++) {
        pairs[i][1] = pairs[(i + 1) % 8][0];
        spawn(&senders[i], send_other, (uint64_t)pairs[i]);
    }
    let_others_run(20);
    /* The program ends with all of it as it is. */
}

/* --- A page that ten processes map, released in any order --- */

#define SHARERS 10

enum { LOOK, UNMAP, LEAVE };

static int share_holder(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {0};
    int64_t result;

    must("message_accept", aero_message_accept(WINDOW, AERO_PAGE_SIZE, 0));
    result = aero_message_receive(endpoint, AERO_FOREVER, &message);
    while (result == 0) {
        uint64_t what = message.words[0];

        if (what == LEAVE)
            return 5;
        message = (struct aero_message){.words = {what == UNMAP ? (uint64_t)aero_munmap(WINDOW, AERO_PAGE_SIZE)
                                                                : *word_at(WINDOW)}};
        result = aero_message_reply_receive(endpoint, AERO_FOREVER, &message);
    }
    return 6;
}

static struct sharer {
    struct aero_child child;
    aero_handle container, endpoint;
    bool has_page, alive;
} sharers[SHARERS];

static uint64_t tell(const struct sharer *sharer, uint64_t what)
{
    struct aero_message message = {.words = {what}};

    expect("message_call of a sharer", aero_message_call(sharer->endpoint, AERO_FOREVER, &message), 0);
    return message.words[0];
}

static void release(struct sharer *sharer, uint64_t how)
{
    struct aero_message leave = {.words = {LEAVE}};

    sharer->has_page = false;
    if (how == 0) {
        expect("a sharer's munmap", (int64_t)tell(sharer, UNMAP), 0);
        return;
    }
    sharer->alive = false;
    if (how == 1)
        expect("message_send", aero_message_send(sharer->endpoint, AERO_FOREVER, &leave), 0);
    if (how == 2)
        expect("process_kill", aero_process_kill(sharer->child.process), 0);
    if (how == 3) {
        expect("container_kill", aero_container_kill(sharer->container), 0);
        return;
    }
    expect("a sharer's status", aero_child_wait(&sharer->child), how == 1 ? 5 : 137);
}

static uint64_t seed = 1;

static void ten_ways(void)
{
    bool own = true;

    map(PAGE, AERO_PAGE_SIZE);
    for (int i = 0; i < SHARERS; i++) {
        struct sharer *sharer = &sharers[i];
        struct aero_message message = {.item = AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), .object = PAGE};

        sharer->container = (aero_handle)must("container_create", aero_container_create(24, 0, 0, 0));
        sharer->child = new_child(sharer->container);
        sharer->endpoint = new_endpoint();
        start(&sharer->child, share_holder, give(&sharer->child, sharer->endpoint, AERO_RECEIVE));
        expect("the page to a sharer", aero_message_call(sharer->endpoint, AERO_FOREVER, &message), 0);
        expect("what it read", (int64_t)message.words[0], (int64_t)WORD);
        sharer->has_page = sharer->alive = true;
    }
    for (int left = SHARERS; left > 0; left--) {
        uint64_t next = xorshift(&seed) % (uint64_t)left;

        *word_at(own ? PAGE : ELSEWHERE) = own ? WORD + (uint64_t)left : 0;
        for (int i = 0; i < SHARERS; i++)
            if (sharers[i].has_page && next-- == 0)
                release(&sharers[i], xorshift(&seed) % 4);
        for (int i = 0; i < SHARERS; i++)
            if (sharers[i].has_page)
                expect_true("what a sharer reads", own ? tell(&sharers[i], LOOK) == WORD + (uint64_t)left
                                                       : tell(&sharers[i], LOOK) >= WORD);
        if (own && xorshift(&seed) % 5 == 0) { /* who brought it no longer has it */
            must("munmap", aero_munmap(PAGE, AERO_PAGE_SIZE));
            must("mmap", aero_mmap(ELSEWHERE, AERO_PAGE_SIZE, BOTH));
            own = false;
        }
    }
    for (int i = 0; i < SHARERS; i++)
        if (sharers[i].alive)
            release(&sharers[i], 1);
}

/* --- Quotas --- */

#define PAGES 64UL

/* Takes PAGES pages at most, and says when it has; or what it got in their place. */
static int take_pages(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {0};

    for (;;) {
        uint64_t length;

        must("message_accept", aero_message_accept(WINDOW, PAGES * AERO_PAGE_SIZE, 0));
        if (aero_message_receive(endpoint, AERO_FOREVER, &message))
            return 0;
        length = AERO_ITEM_LENGTH(message.item);
        if (length != 0 && (*word_at(WINDOW) != WORD || aero_munmap(WINDOW, length)))
            return 1;
        message = (struct aero_message){.words = {length}};
        aero_message_reply(&message);
    }
}

static void expect_taken(aero_handle endpoint, uint64_t item, int64_t error)
{
    struct aero_message message = {.item = item, .object = PAGE};

    expect("message_call with pages", aero_message_call(endpoint, AERO_FOREVER, &message), error);
    if (error == 0)
        expect("pages that were taken", (int64_t)message.words[0], (int64_t)AERO_ITEM_LENGTH(item));
}

/* Pages that move are charged to who gets them; those that are shared are not. */
static void without_quota(void)
{
    const uint64_t page = AERO_PAGE_SIZE;
    aero_handle container = (aero_handle)must("container_create", aero_container_create(24, 0, 0, 0));
    aero_handle endpoint = new_endpoint(), sender;
    struct aero_child child = new_child(container), other = new_child(0);

    start(&child, take_pages, give(&child, endpoint, AERO_RECEIVE));
    sender = copy(endpoint, AERO_SEND, 0);
    must("handle_close", aero_handle_close(endpoint));
    map(PAGE, PAGES * page);
    for (int i = 0; i < 3; i++) {
        expect_taken(sender, AERO_MOVE(PAGES * page, BOTH), -AERO_ENOMEM);
        expect_taken(sender, AERO_MOVE(PAGES / 2 * page, BOTH), -AERO_ENOMEM);
        expect_taken(sender, AERO_SHARE(PAGES * page, BOTH), 0);
    }
    expect("the page that did not move", (int64_t)*word_at(PAGE), (int64_t)WORD);
    expect("the last of them", (int64_t)*word_at(PAGE + (PAGES - 1) * page), 0);
    expect_taken(sender, AERO_MOVE(4 * page, BOTH), 0);
    expect("where they were", aero_munmap(PAGE, page), -AERO_EFAULT);
    map(PAGE, 4 * page);
    /* A page that somebody else maps is not only the sender's to give away. */
    must("process_share", aero_process_share(other.process, PAGE + 2 * page, page, PAGE, AERO_READ));
    expect_taken(sender, AERO_MOVE(4 * page, BOTH), -AERO_EBUSY);
    must("process_kill", aero_process_kill(other.process));
    expect_taken(sender, AERO_MOVE(4 * page, BOTH), 0);
    must("handle_close", aero_handle_close(sender));
    expect("the child's status", aero_child_wait(&child), 0);
    expect("container_kill", aero_container_kill(container), 0);
}

static const struct scene scenes[] = {
    {"to-the-same-process", to_the_same_process},
    {"what-is-refused", what_is_refused},
    {"through-itself", through_itself},
    {"in-cycles", in_cycles},
    {"ten-ways", ten_ways},
    {"without-quota", without_quota},
};

int main(int argc, char **argv)
{
    seed = number_or(argc > 2 ? argv[2] : NULL, 1);
    return play(scenes, sizeof scenes / sizeof scenes[0], argc, argv);
}
