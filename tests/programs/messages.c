/* Messages: what arrives, in which order, and when nothing does:  messages SCENE */
#include "scenes.h"

#define MILLISECOND 1000000UL

/* --- Registers --- */

struct registers {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};

/* Makes a system call with exactly these registers, and says what they are afterwards. */
void syscall_with(struct registers *registers);

__asm__(".text\n"
        "syscall_with:\n"
        "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
        "    mov (%rdi), %rax; mov 8(%rdi), %rbx; mov 16(%rdi), %rcx; mov 24(%rdi), %rdx; mov 32(%rdi), %rsi\n"
        "    mov 48(%rdi), %rbp; mov 56(%rdi), %r8; mov 64(%rdi), %r9; mov 72(%rdi), %r10; mov 80(%rdi), %r11\n"
        "    mov 88(%rdi), %r12; mov 96(%rdi), %r13; mov 104(%rdi), %r14; mov 112(%rdi), %r15; mov 40(%rdi), %rdi\n"
        "    syscall\n"
        "    push %rax; mov 8(%rsp), %rax\n"
        "    mov %rbx, 8(%rax); mov %rcx, 16(%rax); mov %rdx, 24(%rax); mov %rsi, 32(%rax); mov %rdi, 40(%rax)\n"
        "    mov %rbp, 48(%rax); mov %r8, 56(%rax); mov %r9, 64(%rax); mov %r10, 72(%rax); mov %r11, 80(%rax)\n"
        "    mov %r12, 88(%rax); mov %r13, 96(%rax); mov %r14, 104(%rax); mov %r15, 112(%rax)\n"
        "    pop %rcx; mov %rcx, (%rax)\n"
        "    pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n");

static struct registers marked(uint64_t mark)
{
    struct registers made;
    uint64_t *each = (uint64_t *)&made;

    for (uint64_t i = 0; i < sizeof made / 8; i++)
        each[i] = mark | i;
    return made;
}

/* What no call changes: all but rax, rcx and r11, and where a message comes rdi, rdx, r10 and the words. */
static void expect_kept(const char *what, struct registers before, struct registers after, bool message)
{
    uint64_t mark = before.rbx & ~0xffUL;

    expect(what, (int64_t)after.rbx, (int64_t)(mark | 1));
    expect(what, (int64_t)after.rsi, (int64_t)before.rsi);
    expect(what, (int64_t)after.rbp, (int64_t)(mark | 6));
    if (message)
        return;
    expect(what, (int64_t)after.rdi, (int64_t)before.rdi);
    expect(what, (int64_t)after.rdx, (int64_t)before.rdx);
    expect(what, (int64_t)after.r10, (int64_t)before.r10);
    expect(what, (int64_t)after.r8, (int64_t)before.r8);
    expect(what, (int64_t)after.r9, (int64_t)before.r9);
    expect(what, (int64_t)after.r12, (int64_t)before.r12);
    expect(what, (int64_t)after.r13, (int64_t)before.r13);
    expect(what, (int64_t)after.r14, (int64_t)before.r14);
    expect(what, (int64_t)after.r15, (int64_t)before.r15);
}

static void expect_words(const char *what, struct registers after, uint64_t first, uint64_t badge)
{
    expect(what, (int64_t)after.rax, 0);
    expect(what, (int64_t)after.r8, (int64_t)first);
    expect(what, (int64_t)after.r9, (int64_t)first + 1);
    expect(what, (int64_t)after.r12, (int64_t)first + 2);
    expect(what, (int64_t)after.r13, (int64_t)first + 3);
    expect(what, (int64_t)after.r14, (int64_t)first + 4);
    expect(what, (int64_t)after.r15, (int64_t)first + 5);
    expect(what, (int64_t)after.rdi, (int64_t)badge);
    expect(what, (int64_t)after.rdx, 0);
    expect(what, (int64_t)after.r10, 0);
}

static void set_words(struct registers *registers, uint64_t first)
{
    registers->r8 = first;
    registers->r9 = first + 1;
    registers->r12 = first + 2;
    registers->r13 = first + 3;
    registers->r14 = first + 4;
    registers->r15 = first + 5;
}

#define ASKING 0xa5a5a5a5a5a5a500UL
#define SERVING 0x3c3c3c3c3c3c3c00UL
#define QUESTION 0x8000000000000100UL
#define ANSWER 0x7fffffffffffff00UL
#define BADGE 0x7fffffffffffffffUL

static struct registers prepared(uint64_t mark, uint64_t number, uint64_t rdi, uint64_t rsi, uint64_t rdx, uint64_t r10)
{
    struct registers made = marked(mark);

    made.rax = number;
    made.rdi = rdi;
    made.rsi = rsi;
    made.rdx = rdx;
    made.r10 = r10;
    return made;
}

static int serve_registers(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct registers before, after;

    for (int i = 0; i < 2; i++) { /* first a call, then a message that was sent */
        /* Other registers of a receive are no arguments; nothing of the sender's may appear in them. */
        before = after = prepared(SERVING, AERO_CALL_message_receive, endpoint, AERO_FOREVER, SERVING, SERVING);
        syscall_with(&after);
        expect_words("a register of who receives", after, QUESTION, BADGE);
        expect_kept("a register of who receives", before, after, true);
        expect_true("rcx is not the sender's", after.rcx >> 8 != ASKING >> 8);
        expect_true("r11 is not the sender's", after.r11 >> 8 != ASKING >> 8);
        if (i == 1)
            break;
        before = prepared(SERVING, AERO_CALL_message_reply, 0, 0, SERVING, SERVING);
        set_words(&before, ANSWER);
        after = before;
        syscall_with(&after);
        expect("message_reply", (int64_t)after.rax, 0);
        expect_kept("a register of who replies", before, after, false);
    }
    return 0;
}

static void registers_of(uint64_t endpoint)
{
    aero_handle sender = copy(endpoint, AERO_SEND, BADGE);
    struct registers before = prepared(ASKING, AERO_CALL_message_call, sender, AERO_FOREVER, 0, 0), after;

    set_words(&before, QUESTION);
    after = before;
    syscall_with(&after);
    expect_words("a register of who called", after, ANSWER, 0);
    expect_kept("a register of who called", before, after, true);

    before = prepared(ASKING, AERO_CALL_message_send, sender, AERO_FOREVER, 0, 0);
    set_words(&before, QUESTION);
    after = before;
    syscall_with(&after);
    expect("message_send", (int64_t)after.rax, 0);
    expect_kept("a register of who sent", before, after, false);

    /* Refused and timed out: nothing has come, so nothing has changed. */
    for (int i = 0; i < 2; i++) {
        uint64_t time = i ? MILLISECOND : 0;
        int64_t error = i ? -AERO_ETIMEDOUT : -AERO_EAGAIN;
        static const uint64_t calls[] = {
            AERO_CALL_message_call, AERO_CALL_message_send, AERO_CALL_message_receive,
        };

        for (size_t c = 0; c < 3; c++) {
            before = after = prepared(ASKING, calls[c], endpoint, time, 0, 0);
            syscall_with(&after);
            expect("a call without a partner", (int64_t)after.rax, error);
            expect_kept("a register where no message came", before, after, false);
        }
    }
    /* A timer's expiry is no message either. */
    must("timer_set", aero_timer_set(endpoint, MILLISECOND, 0));
    before = after = prepared(ASKING, AERO_CALL_message_receive, endpoint, AERO_FOREVER, 0, 0);
    syscall_with(&after);
    expect("the number of expiries", (int64_t)after.rax, 1);
    expect_kept("a register where a timer expired", before, after, false);
}

static void words_between_threads(void)
{
    struct aero_thread server;
    aero_handle endpoint = new_endpoint();

    spawn(&server, serve_registers, endpoint);
    registers_of(endpoint);
    expect("the server's status", aero_thread_wait(&server), 0);
}

static int serve_in_a_child(void *argument)
{
    serve_registers(argument);
    return failures;
}

static void words_between_processes(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_child server = new_child(0);

    start(&server, serve_in_a_child, give(&server, endpoint, AERO_RECEIVE));
    registers_of(endpoint);
    expect("the server's status", aero_child_wait(&server), 0);
}

/* --- Alone --- */

static void to_oneself(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_message message = {.words = {1, 2, 3, 4, 5, 6}};

    expect("sending to oneself", aero_message_send(endpoint, 0, &message), -AERO_EAGAIN);
    expect("calling oneself", aero_message_call(endpoint, 0, &message), -AERO_EAGAIN);
    expect("receiving from oneself", aero_message_receive(endpoint, 0, &message), -AERO_EAGAIN);
    expect("sending to oneself for 1 ms", aero_message_send(endpoint, MILLISECOND, &message), -AERO_ETIMEDOUT);
    expect("calling oneself for 1 ms", aero_message_call(endpoint, MILLISECOND, &message), -AERO_ETIMEDOUT);
    expect("receiving from oneself for 1 ms", aero_message_receive(endpoint, MILLISECOND, &message), -AERO_ETIMEDOUT);
    expect("replying to nobody", aero_message_reply(&message), -AERO_ESRCH);
    expect("replying to nobody, and receiving", aero_message_reply_receive(endpoint, 0, &message), -AERO_ESRCH);
    /* What timed out is out of the queue: nothing of it is received later. */
    expect("receiving what timed out", aero_message_receive(endpoint, 0, &message), -AERO_EAGAIN);
}

static void without_partners(void)
{
    aero_handle endpoint = new_endpoint();
    aero_handle sender = copy(endpoint, AERO_SEND, 0), receiver = copy(endpoint, AERO_RECEIVE, 0);
    struct aero_message message = {0};

    must("handle_close", aero_handle_close(endpoint));
    expect("sending by a handle that receives", aero_message_send(receiver, 0, &message), -AERO_EPERM);
    expect("calling by a handle that receives", aero_message_call(receiver, 0, &message), -AERO_EPERM);
    expect("receiving by a handle that sends", aero_message_receive(sender, 0, &message), -AERO_EPERM);
    must("handle_close", aero_handle_close(receiver));
    expect("sending to nobody", aero_message_send(sender, AERO_FOREVER, &message), -AERO_EPIPE);
    expect("calling nobody", aero_message_call(sender, AERO_FOREVER, &message), -AERO_EPIPE);
    expect("sending by a closed handle", aero_message_send(endpoint, 0, &message), -AERO_ESRCH);
    must("handle_close", aero_handle_close(sender));
    expect("sending by the last closed handle", aero_message_send(sender, 0, &message), -AERO_ESRCH);

    endpoint = new_endpoint();
    receiver = copy(endpoint, AERO_RECEIVE, 0);
    must("handle_close", aero_handle_close(endpoint));
    expect("receiving from nobody", aero_message_receive(receiver, AERO_FOREVER, &message), -AERO_EPIPE);
    /* A timer is somebody. */
    must("timer_set", aero_timer_set(receiver, MILLISECOND, 0));
    expect("receiving from a timer", aero_message_receive(receiver, AERO_FOREVER, &message), 1);
    must("timer_set", aero_timer_set(receiver, 0, 0));
    expect("receiving from nobody again", aero_message_receive(receiver, AERO_FOREVER, &message), -AERO_EPIPE);
}

static int send_one(void *argument)
{
    struct aero_message message = {.words = {6}};

    return (int)aero_message_send((aero_handle)argument, AERO_FOREVER, &message);
}

static int call_one(void *argument)
{
    struct aero_message message = {.words = {6}};

    return (int)aero_message_call((aero_handle)argument, AERO_FOREVER, &message);
}

static int receive_one(void *argument)
{
    struct aero_message message = {0};

    return (int)aero_message_receive((aero_handle)argument, AERO_FOREVER, &message);
}

/* The last handle at the other end is closed while some wait, and others come: all learn it. */
static void closed_meanwhile(void)
{
    for (int i = 0; i < 6; i++) {
        bool receivers = i % 2;
        aero_handle endpoint = new_endpoint();
        aero_handle theirs = copy(endpoint, receivers ? AERO_RECEIVE : AERO_SEND, 0);
        struct aero_thread threads[4];

        for (int j = 0; j < 4; j++)
            spawn(&threads[j], receivers ? receive_one : j % 2 ? send_one : call_one, theirs);
        let_others_run(i * 2);
        must("handle_close", aero_handle_close(endpoint));
        for (int j = 0; j < 4; j++)
            expect("what they learnt", aero_thread_wait(&threads[j]), (uint32_t)-AERO_EPIPE);
        must("handle_close", aero_handle_close(theirs));
    }
}

/* Who waits by a handle that is closed in its process goes on waiting: the endpoint is there as long as it does. */
static void own_handle_closed(void)
{
    aero_handle endpoint = new_endpoint();
    aero_handle receiver = copy(endpoint, AERO_RECEIVE, 0), sender = copy(endpoint, AERO_SEND, 0);
    struct aero_thread thread;
    struct aero_message message = {0};

    must("handle_close", aero_handle_close(endpoint));
    spawn(&thread, send_one, sender);
    expect("message_receive", aero_message_receive(receiver, AERO_FOREVER, &message), 0);
    expect("the sender's status", aero_thread_wait(&thread), 0);
    spawn(&thread, send_one, sender);
    let_others_run(20);
    must("handle_close", aero_handle_close(sender));
    /* On its way it finds the handle closed; waiting already, it is received. */
    int64_t result = aero_message_receive(receiver, 1000 * MILLISECOND, &message);

    expect("the sender's status", aero_thread_wait(&thread), result == 0 ? 0 : (uint32_t)-AERO_ESRCH);
    expect_true("what was received", result == 0 ? message.words[0] == 6 : result == -AERO_EPIPE);
    must("handle_close", aero_handle_close(receiver));
}

/* --- Time --- */

static int64_t results[3];

static int receive_for(void *argument)
{
    uint64_t which = (uint64_t)argument >> 48;
    struct aero_message message = {0};

    results[which] = aero_message_receive(
        (aero_handle)argument & 0xffffffffffffUL, which == 1 ? MILLISECOND : AERO_FOREVER, &message);
    return (int)message.words[0];
}

/* One of three in a queue gives up: the two others still get a message each. */
static void one_times_out(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_thread threads[3];
    struct aero_message message = {.words = {5}};
    int64_t sum = 0;

    for (uint64_t i = 0; i < 3; i++)
        spawn(&threads[i], receive_for, i << 48 | endpoint);
    expect("who timed out", aero_thread_wait(&threads[1]), 0);
    expect("who timed out", results[1], -AERO_ETIMEDOUT);
    for (uint64_t i = 0; i < 2; i++)
        expect("message_send", aero_message_send(endpoint, AERO_FOREVER, &message), 0);
    expect("one more", aero_message_send(endpoint, 0, &message), -AERO_EAGAIN);
    for (int i = 0; i < 3; i += 2)
        sum += aero_thread_wait(&threads[i]);
    expect("what the two others got", sum, 10);
}

static volatile uint64_t received, let_reply;

static int reply_late(void *argument)
{
    struct aero_message message = {0};

    if (aero_message_receive((aero_handle)argument, AERO_FOREVER, &message))
        return 1;
    if (message.words[0] != 77)
        return 2;
    received = 1;
    await(&let_reply);
    return aero_message_reply(&message) == -AERO_ESRCH ? 3 : 4;
}

/* The time of a call is for the reply too; who replies afterwards learns that nobody waits. */
static void call_times_out(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_thread server;
    struct aero_message message = {.words = {77}};

    spawn(&server, reply_late, endpoint);
    do
        expect("a call without a reply", aero_message_call(endpoint, 5 * MILLISECOND, &message), -AERO_ETIMEDOUT);
    while (!received);
    let_reply = 1;
    expect("who replied too late", aero_thread_wait(&server), 3);
}

static int reply_when_let(void *argument)
{
    struct aero_message message = {0};

    if (aero_message_receive((aero_handle)argument, AERO_FOREVER, &message))
        return 1;
    await(&let_reply);
    message.words[0]++;
    return (int)aero_message_reply(&message);
}

static int let_reply_later(void *argument)
{
    struct aero_message none = {0};
    int64_t result = aero_message_receive((aero_handle)argument, 20 * MILLISECOND, &none);

    let_reply = 1;
    return result == -AERO_ETIMEDOUT ? 0 : 1;
}

/* A timeout of 0 is for the receiver, who has to be there; the reply may take its time. */
static void call_only_if_received_at_once(void)
{
    aero_handle endpoint = new_endpoint();
    struct aero_message message = {.words = {77}};
    struct aero_thread server, clock;
    int64_t result;

    expect("a call that nobody receives", aero_message_call(endpoint, 0, &message), -AERO_EAGAIN);
    spawn(&server, reply_when_let, endpoint);
    spawn(&clock, let_reply_later, new_endpoint());
    do {
        aero_thread_yield();
        result = aero_message_call(endpoint, 0, &message);
    } while (result == -AERO_EAGAIN);
    expect("the call", result, 0);
    expect("the reply", (int64_t)message.words[0], 78);
    expect("the server", aero_thread_wait(&server), 0);
    expect("the clock", aero_thread_wait(&clock), 0);
}

static int send_after(void *argument)
{
    struct aero_message message = {.words = {9}};

    let_others_run(50);
    return (int)aero_message_send((aero_handle)argument, AERO_FOREVER - 1, &message);
}

/* Times that are as good as none, and a message that comes before them. */
static void long_times(void)
{
    static const uint64_t times[] = {AERO_FOREVER - 1, 1UL << 63, (1UL << 63) - 1, 1UL << 62, 3600000 * MILLISECOND};
    aero_handle endpoint = new_endpoint();

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        struct aero_message message = {0};
        struct aero_thread sender;

        spawn(&sender, send_after, endpoint);
        expect("a receive with a long time", aero_message_receive(endpoint, times[i], &message), 0);
        expect("its word", (int64_t)message.words[0], 9);
        expect("the sender's status", aero_thread_wait(&sender), 0);
        must("timer_set", aero_timer_set(endpoint, times[i], times[i]));
        expect("an expiry long before its time", aero_message_receive(endpoint, 0, &message), -AERO_EAGAIN);
        must("timer_set", aero_timer_set(endpoint, 0, 0));
    }
}

static const struct scene scenes[] = {
    {"words-between-threads", words_between_threads},
    {"words-between-processes", words_between_processes},
    {"to-oneself", to_oneself},
    {"without-partners", without_partners},
    {"closed-meanwhile", closed_meanwhile},
    {"own-handle-closed", own_handle_closed},
    {"one-times-out", one_times_out},
    {"call-times-out", call_times_out},
    {"call-only-if-received-at-once", call_only_if_received_at_once},
    {"long-times", long_times},
};

int main(int argc, char **argv)
{
    return play(scenes, sizeof scenes / sizeof scenes[0], argc, argv);
}
