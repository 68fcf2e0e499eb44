/* Processes whose page faults are served by a pager, well or badly:  pagers SCENE */
#include "scenes.h"

#define BOTH (AERO_READ | AERO_WRITE)
#define REGION 0x300000000UL
#define DESK 0x400000000UL
#define KERNEL 0xffff800000000000UL
#define SEGV 139 /* 128 + SIGSEGV */
#define KILLED 137
#define READING 1
#define WRITING 2
#define EXECUTING 4

static volatile uint64_t *word_at(uint64_t address)
{
    return (volatile uint64_t *)address;
}

/* A child with a pager, whose faults are received by `receiver` until there is no child any more. */
static struct aero_child paged_child(aero_handle *receiver)
{
    aero_handle faults = new_endpoint();
    struct aero_child child = new_child(0);

    *receiver = copy(faults, AERO_RECEIVE, 0);
    aero_handle sender = copy(faults, AERO_SEND, 77);

    must("pager_set", aero_pager_set(child.process, sender));
    expect("a second pager_set", aero_pager_set(child.process, faults), -AERO_EBUSY);
    must("handle_close", aero_handle_close(sender));
    must("handle_close", aero_handle_close(faults));
    return child;
}

/* The next fault: its address and access. */
static struct aero_message next_fault(aero_handle receiver, uint64_t address, uint64_t access)
{
    struct aero_message message = {0};

    expect("message_receive of a fault", aero_message_receive(receiver, AERO_FOREVER, &message), 0);
    expect("where", (int64_t)message.words[0], (int64_t)address);
    expect("which access", (int64_t)message.words[1], (int64_t)access);
    expect_true("by which instruction", message.words[2] >= AERO_USER_MIN && message.words[2] < AERO_USER_END);
    expect("more words", (int64_t)(message.words[3] | message.words[4] | message.words[5]), 0);
    expect("what it carries", (int64_t)message.item, 0);
    return message;
}

static void map_desk(uint64_t word)
{
    must("mmap", aero_mmap(DESK, AERO_PAGE_SIZE, BOTH));
    *word_at(DESK) = word;
}

static void reply_with(uint64_t item, uint64_t object, int64_t expected)
{
    struct aero_message message = {.item = item, .object = object};

    expect("message_reply", aero_message_reply(&message), expected);
}

static void refuse(void)
{
    struct aero_message no = {.words = {1}};

    expect("message_reply of a refusal", aero_message_reply(&no), 0);
}

/* --- What faults there are --- */

static int touch(void *argument)
{
    uint64_t sum = *word_at(REGION);

    (void)argument;
    *word_at(REGION + AERO_PAGE_SIZE + 8) = sum;
    sum += *word_at(REGION + AERO_PAGE_SIZE);
    ((void (*)(void))(REGION + 2 * AERO_PAGE_SIZE))();
    return (int)sum;
}

static void each_access(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);

    start(&child, touch, 0);
    expect("the badge of a fault", (int64_t)next_fault(receiver, REGION, READING).badge, 77);
    map_desk(20);
    reply_with(AERO_MOVE(AERO_PAGE_SIZE, AERO_READ), DESK, 0);
    next_fault(receiver, REGION + AERO_PAGE_SIZE + 8, WRITING);
    map_desk(30);
    reply_with(AERO_SHARE(AERO_PAGE_SIZE, BOTH), DESK, 0);
    next_fault(receiver, REGION + 2 * AERO_PAGE_SIZE, EXECUTING);
    expect("what it wrote in the shared page", (int64_t)*word_at(DESK + 8), 20);
    must("munmap", aero_munmap(DESK, AERO_PAGE_SIZE));
    must("mmap", aero_mmap(DESK, AERO_PAGE_SIZE, BOTH | AERO_EXECUTE));
    *(volatile uint8_t *)DESK = 0xc3; /* ret */
    reply_with(AERO_MOVE(AERO_PAGE_SIZE, AERO_READ | AERO_EXECUTE), DESK, 0);
    expect("the child's status", aero_child_wait(&child), 50);
}

/* What a page does not permit is a fault too; the pager cannot replace the page, only say yes or no. */
static int write_twice(void *argument)
{
    (void)argument;
    *word_at(REGION + 16) = 1;
    return 0;
}

static void not_permitted(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);

    start(&child, write_twice, 0);
    next_fault(receiver, REGION + 16, WRITING);
    map_desk(0);
    reply_with(AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), DESK, 0); /* readable: the same instruction faults again */
    next_fault(receiver, REGION + 16, WRITING);
    reply_with(AERO_SHARE(AERO_PAGE_SIZE, BOTH), DESK, -AERO_EEXIST);
    reply_with(0, 0, 0); /* "try again", without a page: it does, and faults */
    next_fault(receiver, REGION + 16, WRITING);
    refuse();
    expect("the child's status", aero_child_wait(&child), SEGV);
    expect("the page", (int64_t)*word_at(DESK + 16), 0);
}

/* Replies that cannot be carried out leave the fault with the pager. */
static void bad_replies(void)
{
    const uint64_t page = AERO_PAGE_SIZE;
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);
    struct aero_message message = {0};

    start(&child, touch, 0);
    next_fault(receiver, REGION, READING);
    expect("receiving while one owes a reply", aero_message_receive(receiver, 0, &message), -AERO_EBUSY);
    must("mmap", aero_mmap(DESK, 2 * page, BOTH));
    *word_at(DESK) = 4;
    reply_with(AERO_SHARE(2 * page, BOTH), DESK, -AERO_EMSGSIZE);
    reply_with(AERO_MOVE(2 * page, BOTH), DESK, -AERO_EMSGSIZE);
    reply_with(AERO_SHARE(page, BOTH), DESK + 2 * page, -AERO_EFAULT);
    reply_with(AERO_SHARE(page, AERO_EXECUTE), DESK, -AERO_EPERM);
    reply_with(AERO_SHARE(page, BOTH), DESK + 1, -AERO_EINVAL);
    reply_with(AERO_SHARE(page, BOTH), KERNEL, -AERO_EINVAL);
    reply_with(15, DESK, -AERO_EINVAL);
    reply_with(AERO_HANDLE(AERO_SEND), receiver, -AERO_EPROTO);
    reply_with(AERO_MOVE(page, BOTH), DESK, 0);
    next_fault(receiver, REGION + page + 8, WRITING);
    refuse();
    expect("a second reply", aero_message_reply(&message), -AERO_ESRCH);
    expect("the child's status", aero_child_wait(&child), SEGV);
    expect("receiving from who has ended", aero_message_receive(receiver, AERO_FOREVER, &message), -AERO_EPIPE);
}

static uint64_t touched_address;

static int touch_address(void *argument)
{
    (void)argument;
    return (int)*word_at(touched_address);
}

/* Addresses that no pager can map: the message comes, the page is refused.  Page 0 is never paged. */
static void impossible_addresses(void)
{
    static const uint64_t addresses[] = {
        AERO_USER_MIN - 8, AERO_SYSTEM_BASE + (1UL << 30), 0x7ffffffff000UL, KERNEL, 0xffffffffffffff00UL,
    };

    map_desk(1);
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        aero_handle receiver;
        struct aero_child child = paged_child(&receiver);

        touched_address = addresses[i];
        start(&child, touch_address, 0);
        next_fault(receiver, touched_address, READING);
        reply_with(AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), DESK, -AERO_EINVAL);
        reply_with(AERO_MOVE(AERO_PAGE_SIZE, AERO_READ), DESK, -AERO_EINVAL);
        refuse();
        expect("the child's status", aero_child_wait(&child), SEGV);
    }
    touched_address = 8;
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);
    struct aero_message message = {0};

    start(&child, touch_address, 0);
    expect("the status of a child that touched null", aero_child_wait(&child), SEGV);
    expect("no message of it", aero_message_receive(receiver, AERO_FOREVER, &message), -AERO_EPIPE);
}

/* --- A stack that grows --- */

static uint64_t depth_of(volatile uint64_t level)
{
    volatile uint8_t frame[1000];

    frame[level % 1000] = 1;
    return level == 0 ? 0 : depth_of(level - 1) + frame[level % 1000];
}

static int recurse(void *argument)
{
    return (int)depth_of((uint64_t)argument);
}

static void stack_growth(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);
    struct aero_message message = {0};
    uint64_t served = 0, lowest = child.stack;
    int64_t result;

    start(&child, recurse, 100);
    result = aero_message_receive(receiver, AERO_FOREVER, &message);
    while (result == 0) {
        uint64_t page = message.words[0] & ~(AERO_PAGE_SIZE - 1);

        expect("which access", (int64_t)message.words[1], WRITING);
        expect_true("below what it has", page < lowest && page >= lowest - 2 * AERO_PAGE_SIZE);
        lowest = page;
        map_desk(0);
        served++;
        message = (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, BOTH), .object = DESK};
        result = aero_message_reply_receive(receiver, AERO_FOREVER, &message);
    }
    expect("how it ended", result, -AERO_EPIPE);
    expect_true("pages of stack", served > 20 && served < 40);
    expect("the child's status", aero_child_wait(&child), 100);
}

/* --- Several threads at the same pages --- */

#define THREADS 4
#define PAGES 40UL

static int touch_all(void *argument)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < PAGES; i++)
        sum += *word_at(REGION + ((uint64_t)argument + i) % PAGES * AERO_PAGE_SIZE);
    return (int)sum;
}

static int touch_by_threads(void *argument)
{
    struct aero_thread threads[THREADS];
    int right = 0;

    (void)argument;
    for (uint64_t i = 0; i < THREADS; i++)
        spawn(&threads[i], touch_all, i % 2 * 7);
    for (int i = 0; i < THREADS; i++)
        right += aero_thread_wait(&threads[i]) == PAGES * (PAGES - 1) / 2;
    return right;
}

static void threads_at_the_same_pages(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);
    struct aero_message message = {0};
    bool given[PAGES] = {false};
    int64_t result;

    start(&child, touch_by_threads, 0);
    result = aero_message_receive(receiver, AERO_FOREVER, &message);
    while (result == 0) {
        uint64_t page = (message.words[0] - REGION) / AERO_PAGE_SIZE;

        message = (struct aero_message){0}; /* another thread's fault has been served meanwhile: try again */
        if (page < PAGES && !given[page]) {
            map_desk(page);
            given[page] = true;
            message = (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, AERO_READ), .object = DESK};
        }
        result = aero_message_reply_receive(receiver, AERO_FOREVER, &message);
    }
    expect("threads that read what they should", aero_child_wait(&child), THREADS);
}

/* --- Pagers of their own process --- */

static int page_own_process(void *argument)
{
    aero_handle receiver = (aero_handle)argument;
    struct aero_message message = {0};
    int64_t result = aero_message_receive(receiver, AERO_FOREVER, &message);

    while (result == 0) {
        uint64_t page = (message.words[0] - REGION) / AERO_PAGE_SIZE;

        message = (struct aero_message){.words = {1}};
        if (page < PAGES) {
            map_desk(page);
            message = (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, AERO_READ), .object = DESK};
        }
        result = aero_message_reply_receive(receiver, AERO_FOREVER, &message);
    }
    return (int)result;
}

static int with_own_pager(void *argument)
{
    aero_handle faults = new_endpoint();
    struct aero_thread pager;

    must("pager_set", aero_pager_set(0, faults));
    spawn(&pager, page_own_process, faults);
    if (touch_all(argument) != PAGES * (PAGES - 1) / 2)
        return 1;
    return (int)*word_at(REGION + PAGES * AERO_PAGE_SIZE); /* refused: the end of both */
}

static void its_own_pager(void)
{
    struct aero_child child = new_child(0);

    start(&child, with_own_pager, 3);
    expect("the child's status", aero_child_wait(&child), SEGV);
}

static int exit_beside_a_fault(void *argument)
{
    aero_handle faults = new_endpoint();
    struct aero_thread other;

    must("pager_set", aero_pager_set(0, faults));
    touched_address = REGION;
    spawn(&other, touch_address, 0);
    if (argument == NULL) { /* the fault is with this thread when it ends the process */
        struct aero_message message = {0};

        must("message_receive", aero_message_receive(faults, AERO_FOREVER, &message));
    } else {
        let_others_run(20);
    }
    return 9;
}

/* A process that ends while a thread's fault is with its other thread, or in a queue, ends as it says. */
static void exits_beside_a_fault(void)
{
    for (uint64_t queued = 0; queued < 2; queued++) {
        struct aero_child child = new_child(0);

        start(&child, exit_beside_a_fault, queued);
        expect("the child's status", aero_child_wait(&child), 9);
    }
}

/* --- What does not fault --- */

static int print_unmapped(void *argument)
{
    (void)argument;
    return aero_debug_print((void *)REGION, 1) == -AERO_EFAULT ? 4 : 5;
}

/* The kernel's own reading of a program's memory is no fault of the program. */
static void system_calls_do_not_fault(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);
    struct aero_message message = {0};

    start(&child, print_unmapped, 0);
    expect("the child's status", aero_child_wait(&child), 4);
    expect("no message of it", aero_message_receive(receiver, AERO_FOREVER, &message), -AERO_EPIPE);
}

/* Without its pager a process ends by its faults again. */
static void pager_unset(void)
{
    aero_handle receiver;
    struct aero_child child = paged_child(&receiver);

    must("pager_set to none", aero_pager_set(child.process, 0));
    touched_address = REGION;
    start(&child, touch_address, 0);
    expect("the child's status", aero_child_wait(&child), SEGV);
}

static const struct scene scenes[] = {
    {"each-access", each_access},
    {"not-permitted", not_permitted},
    {"bad-replies", bad_replies},
    {"impossible-addresses", impossible_addresses},
    {"stack-growth", stack_growth},
    {"threads-at-the-same-pages", threads_at_the_same_pages},
    {"its-own-pager", its_own_pager},
    {"exits-beside-a-fault", exits_beside_a_fault},
    {"system-calls-do-not-fault", system_calls_do_not_fault},
    {"pager-unset", pager_unset},
};

int main(int argc, char **argv)
{
    return play(scenes, sizeof scenes / sizeof scenes[0], argc, argv);
}
