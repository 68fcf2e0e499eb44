/* Two that do not trust each other, A and B, and a mediator, V, that both trust: the example of the Atmosphere paper
 * (SOSP'25, section 2).
 *
 * Each is a process in a container of its own, with code and a stack and no other memory.  A and B have handles to
 * endpoints of V's and to nothing else, so whatever passes between them passes through V, which checks each message and
 * copies only the words that the other may have.  A tries to get round V and cannot; when A's container is killed in
 * the middle of a call, B and V go on.  V needs nothing but native calls: Linux's are not even there. */
#include <aero.h>

#define QUOTA 64
#define LIMIT 100 /* V passes on no larger amount */
#define SECRET 0x5ec2e7
#define PATIENCE 60000000000UL /* nanoseconds: B must not be able to hold V up for ever */
#define LINUX_GETPID 39

enum { FROM_A = 1, FROM_PARENT = 2 }; /* badges: V cannot be deceived about who calls */
enum { PAY, DONE };                   /* requests to V, in word 0 */
enum { ACCEPTED, REFUSED };           /* V's replies, in word 0 */

/* --- A: asks V to pay amounts to B, and tries what it should not. --- */

static uint64_t ask(aero_handle v, uint64_t amount, uint64_t *more)
{
    struct aero_message message = {.words = {PAY, amount}};

    aero_must(aero_message_call(v, AERO_FOREVER, &message), "A: message_call");
    *more = message.words[1];
    return message.words[0];
}

static int run_a(void *argument)
{
    aero_handle v = (aero_handle)argument;
    struct aero_message report = {.words = {DONE}};
    struct aero_message page = {.item = AERO_SHARE(AERO_PAGE_SIZE, AERO_READ)};
    uint64_t more = 0;

    report.words[1] = ask(v, 40, &more) == ACCEPTED && more == 0; /* B's second word did not come through */
    report.words[2] = ask(v, LIMIT + 1, &more) == REFUSED;
    /* Memory that both could see would be a way round V, but V takes words only. */
    page.object = (uint64_t)&page & ~(AERO_PAGE_SIZE - 1);
    report.words[3] = aero_message_call(v, AERO_FOREVER, &page) == -AERO_EPROTO;
    /* A handle is a number, and A may guess: numbers name nothing but what this process was given. */
    for (uint64_t guess = 0; guess < 256; guess++) {
        aero_handle other = (guess / 16) << 16 | guess % 16;
        struct aero_message message = {.words = {PAY, 1000}};

        if (other != v && aero_message_send(other, 0, &message) == -AERO_ESRCH)
            report.words[4]++;
    }
    aero_message_call(v, AERO_FOREVER, &report); /* it does not return: A is killed meanwhile */
    return 1;
}

/* --- B: adds up what it is paid. --- */

static int run_b(void *argument)
{
    aero_handle inbox = (aero_handle)argument;
    struct aero_message message = {0};
    int64_t result = aero_message_receive(inbox, AERO_FOREVER, &message);
    uint64_t sum = 0;

    while (result == 0) {
        sum += message.words[0];
        message = (struct aero_message){.words = {ACCEPTED, SECRET}}; /* careless: but V does not pass it on */
        result = aero_message_reply_receive(inbox, AERO_FOREVER, &message);
    }
    return result == -AERO_EPIPE ? (int)sum : -1;
}

/* --- V --- */

struct handles {
    aero_handle requests, b, parent;
};

/* Pays, if it may be; returns the reply's first word, the only one. */
static uint64_t pay(const struct handles *to, uint64_t amount)
{
    struct aero_message message = {.words = {amount}};

    if (amount > LIMIT || aero_failed(aero_message_call(to->b, PATIENCE, &message)))
        return REFUSED;
    return message.words[0] == ACCEPTED ? ACCEPTED : REFUSED;
}

static int run_v(void *argument)
{
    const struct handles *to = argument;
    struct aero_message message = {0};

    if (aero_syscall(LINUX_GETPID, 0, 0, 0, 0, 0, 0) != -AERO_ENOSYS)
        return 1;
    while (aero_message_receive(to->requests, AERO_FOREVER, &message) == 0) {
        uint64_t from = message.badge, word = REFUSED;

        if (message.words[0] == PAY)
            word = pay(to, message.words[1]);
        else if (message.words[0] == DONE && from == FROM_A)
            aero_must(aero_message_call(to->parent, AERO_FOREVER, &message), "V: message_call to the parent");
        message = (struct aero_message){.words = {word}};
        if (aero_message_reply(&message) == -AERO_ESRCH)
            aero_print(from == FROM_A ? "V: A is gone, nobody waits for this reply\n" : "V: the parent is gone?\n");
    }
    return 0; /* nobody is left who could ask */
}

/* --- The parent: makes the three, connects them, and later kills A. --- */

static aero_handle give(const struct aero_child *child, aero_handle endpoint, uint64_t rights, uint64_t badge)
{
    aero_handle copy = (aero_handle)aero_must(aero_handle_copy(endpoint, rights | AERO_GRANT, badge), "handle_copy");
    aero_handle given = (aero_handle)aero_must(aero_handle_give(child->process, copy, rights), "handle_give");

    aero_must(aero_handle_close(copy), "handle_close");
    return given;
}

static aero_handle confine(struct aero_child *child)
{
    aero_handle container = (aero_handle)aero_must(aero_container_create(QUOTA, 0, 0, 0), "container_create");

    aero_must(aero_child_create_apart(child, container), "aero_child_create_apart");
    return container;
}

int main(void)
{
    aero_handle requests = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    aero_handle inbox = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    aero_handle reports = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    struct aero_child a, b, v;
    aero_handle container_of_a = confine(&a), to_v;
    struct aero_message message = {0};
    int64_t sum;

    confine(&b);
    confine(&v);
    /* The far end of a child's stack is a good place for what it is to know. */
    *(struct handles *)v.stack = (struct handles){
        give(&v, requests, AERO_RECEIVE, 0), give(&v, inbox, AERO_SEND, 0), give(&v, reports, AERO_SEND, 0)};
    aero_must(aero_child_start(&v, run_v, (void *)v.stack), "aero_child_start of V");
    aero_must(aero_child_start(&b, run_b, (void *)give(&b, inbox, AERO_RECEIVE, 0)), "aero_child_start of B");
    aero_must(aero_child_start(&a, run_a, (void *)give(&a, requests, AERO_SEND, FROM_A)), "aero_child_start of A");
    to_v = (aero_handle)aero_must(aero_handle_copy(requests, AERO_SEND, FROM_PARENT), "handle_copy");
    aero_must(aero_handle_close(requests), "handle_close"); /* or V and B would never see that nobody is left */
    aero_must(aero_handle_close(inbox), "handle_close");

    aero_must(aero_message_receive(reports, AERO_FOREVER, &message), "message_receive of the report");
    aero_print(message.words[1] ? "A: paid 40, and learnt nothing else\n" : "A: WRONG, 40\n");
    aero_print(message.words[2] ? "A: V refused 101\n" : "A: WRONG, 101\n");
    aero_print(message.words[3] ? "A: V takes no memory\n" : "A: WRONG, a page went through\n");
    aero_print_number((int64_t)message.words[4]);
    aero_print(" guessed handles named nothing\n");

    aero_must(aero_container_kill(container_of_a), "container_kill");
    aero_must(aero_message_reply(&message), "message_reply");
    message = (struct aero_message){.words = {PAY, 2}};
    aero_must(aero_message_call(to_v, AERO_FOREVER, &message), "message_call");
    aero_print(message.words[0] == ACCEPTED ? "A is killed; V and B go on\n" : "WRONG: V does not go on\n");
    aero_must(aero_handle_close(to_v), "handle_close");
    aero_must(aero_child_wait(&v), "aero_child_wait of V");
    sum = aero_must(aero_child_wait(&b), "aero_child_wait of B");
    aero_print("B was paid ");
    aero_print_number(sum);
    aero_print("\n");
    return sum != 42;
}
