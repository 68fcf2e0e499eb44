/* Many threads at one endpoint:
 *
 *   queues first-come         SENDERS threads of two processes come to wait one after the other, as the host lets them
 *                             (`allowed`); when it says so (`drain`), each is received, in the order in which they came
 *   queues hung-up            SENDERS threads of another process wait when the handle is closed by which they would be
 *                             received (`drain`): each learns so
 *   queues refused            the same, and what each sends cannot be taken
 *   queues crowd [N] [ROUNDS] N clients call N servers, all threads of one process, ROUNDS times each */
#include "scenes.h"

#define SENDERS 40UL
#define MOST 300
#define MILLISECOND 1000000UL
#define STACKS 0x100000000UL

/* Set by the host. */
volatile uint64_t allowed, drain;

static aero_handle idle; /* nothing ever comes here */

static void sleep_until(volatile uint64_t *what, uint64_t least)
{
    struct aero_message message = {0};

    while (*what < least)
        expect("waiting for a while", aero_message_receive(idle, MILLISECOND, &message), -AERO_ETIMEDOUT);
}

/* --- First come, first served --- */

static aero_handle queue;

static int comes(void *argument)
{
    uint64_t number = (uint64_t)argument;
    struct aero_message message = {.words = {number, number * 3}};

    sleep_until(&allowed, number + 1);
    if (number % 3)
        return (int)aero_message_send(queue, AERO_FOREVER, &message);
    must("message_call", aero_message_call(queue, AERO_FOREVER, &message));
    return message.words[0] == ~number ? 0 : 1;
}

static int half_of_them(void *argument)
{
    struct aero_thread threads[SENDERS / 2];

    for (uint64_t i = 0; i < SENDERS / 2; i++)
        spawn(&threads[i], comes, 2 * i + (uint64_t)argument);
    for (uint64_t i = 0; i < SENDERS / 2; i++)
        expect("a sender's status", aero_thread_wait(&threads[i]), 0);
    return failures;
}

static void first_come(void)
{
    struct aero_child child;
    struct aero_thread other;

    queue = new_endpoint();
    idle = new_endpoint();
    child = new_child(0);
    /* The first handles of each process have the same numbers. */
    expect("the child's handle", (int64_t)give(&child, queue, AERO_SEND), (int64_t)queue);
    expect("the child's handle", (int64_t)give(&child, idle, AERO_SEND | AERO_RECEIVE), (int64_t)idle);
    start(&child, half_of_them, 0);
    spawn(&other, half_of_them, 1);
    sleep_until(&drain, 1);
    for (uint64_t i = 0; i < SENDERS; i++) {
        struct aero_message message = {0};

        expect("message_receive", aero_message_receive(queue, AERO_FOREVER, &message), 0);
        expect("who came next", (int64_t)message.words[0], (int64_t)i);
        expect("its second word", (int64_t)message.words[1], (int64_t)i * 3);
        message.words[0] = ~i;
        expect("message_reply", aero_message_reply(&message), i % 3 ? -AERO_ESRCH : 0);
    }
    expect("one half", aero_thread_wait(&other), 0);
    expect("the other half", aero_child_wait(&child), 0);
}

/* --- Turned away --- */

static struct aero_message unwanted;
static int64_t turned_away_by;

static int is_turned_away(void *argument)
{
    struct aero_message message = unwanted;

    (void)argument;
    return aero_message_send(queue, AERO_FOREVER, &message) == turned_away_by ? 0 : 1;
}

static int all_are_turned_away(void *argument)
{
    struct aero_thread threads[SENDERS];

    (void)argument;
    for (uint64_t i = 0; i < SENDERS; i++)
        spawn(&threads[i], is_turned_away, 0);
    for (uint64_t i = 0; i < SENDERS; i++)
        expect("a sender's status", aero_thread_wait(&threads[i]), 0);
    return failures;
}

static void turned_away(bool refused)
{
    struct aero_child child;
    struct aero_message message = {0};

    queue = new_endpoint();
    idle = new_endpoint();
    if (refused) /* nothing is mapped there */
        unwanted = (struct aero_message){.item = AERO_SHARE(AERO_PAGE_SIZE, AERO_READ), .object = STACKS};
    turned_away_by = refused ? -AERO_EFAULT : -AERO_EPIPE;
    child = new_child(0);
    expect("the child's handle", (int64_t)give(&child, queue, AERO_SEND), (int64_t)queue);
    start(&child, all_are_turned_away, 0);
    sleep_until(&drain, 1);
    if (refused) {
        must("message_accept", aero_message_accept(STACKS, AERO_PAGE_SIZE, 0));
        expect("message_receive", aero_message_receive(queue, 0, &message), -AERO_EAGAIN);
    } else {
        expect("handle_close", aero_handle_close(queue), 0);
    }
    expect("those who waited", aero_child_wait(&child), 0);
}

/* --- A crowd --- */

static uint64_t rounds;

static int crowd_client(void *argument)
{
    uint64_t number = (uint64_t)argument;

    for (uint64_t round = 0; round < rounds; round++) {
        struct aero_message message;

        for (uint64_t i = 0; i < 6; i++)
            message.words[i] = number << 32 | round << 8 | i;
        message.item = message.object = 0;
        must("message_call", aero_message_call(queue, round % 2 ? AERO_FOREVER : 3600000 * MILLISECOND, &message));
        for (uint64_t i = 0; i < 6; i++)
            expect("a word of the reply", (int64_t)message.words[i], (int64_t) ~(number << 32 | round << 8 | i));
    }
    return 0;
}

static int crowd_server(void *argument)
{
    struct aero_message message = {0};
    int64_t result = aero_message_receive(queue, AERO_FOREVER, &message);

    (void)argument;
    while (result == 0 && message.badge == 0) {
        for (int i = 0; i < 6; i++)
            message.words[i] = ~message.words[i];
        result = aero_message_reply_receive(queue, AERO_FOREVER, &message);
    }
    return (int)result; /* a message with a badge is the end */
}

/* Stacks of a page each: hundreds of those that the library makes would be more than there is. */
static aero_handle small_thread(int (*function)(void *), uint64_t argument)
{
    static uint64_t made;
    uint64_t *stack = (uint64_t *)(STACKS + (2 * made++ + 1) * AERO_PAGE_SIZE);

    must("mmap", aero_mmap((uint64_t)stack - AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    extern void small_start(void);
    *--stack = 0;
    *--stack = (uint64_t)function;
    return (aero_handle)must("thread_create", aero_thread_create((void *)small_start, stack, argument));
}

__asm__(".text\n"
        "small_start:\n"
        "    pop %rax\n"
        "    add $8, %rsp\n"
        "    call *%rax\n"
        "    mov %eax, %edi\n"
        "    mov $0x1007, %eax\n" /* thread_exit */
        "    syscall\n");

_Static_assert(AERO_CALL_thread_exit == 0x1007, "the number above");

static void crowd(uint64_t count)
{
    static aero_handle clients[MOST], servers[MOST];
    aero_handle last;

    queue = new_endpoint();
    last = copy(queue, AERO_SEND, 1);
    for (uint64_t i = 0; i < count; i++) {
        clients[i] = small_thread(crowd_client, i + 1);
        servers[i] = small_thread(crowd_server, 0);
    }
    for (uint64_t i = 0; i < count; i++)
        expect("a client's status", aero_thread_join(clients[i]), 0);
    for (uint64_t i = 0; i < count; i++) {
        struct aero_message message = {0};

        expect("the last message", aero_message_send(last, AERO_FOREVER, &message), 0);
    }
    for (uint64_t i = 0; i < count; i++)
        expect("a server's status", aero_thread_join(servers[i]), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "crowd") == 0) {
        uint64_t count = number_or(argc > 2 ? argv[2] : NULL, 150);

        rounds = number_or(argc > 3 ? argv[3] : NULL, 4);
        if (count > MOST)
            return 2;
        crowd(count);
    } else if (argc > 1 && strcmp(argv[1], "first-come") != 0) {
        turned_away(strcmp(argv[1], "refused") == 0);
    } else {
        first_come();
    }
    return verdict("queues");
}
