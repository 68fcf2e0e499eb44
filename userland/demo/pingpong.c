/* Two processes on one core that call each other: a server that replies to what it gets, a client that asks.
 *
 * `call` hands the client's words and its core to the waiting server at once; `reply_receive` hands both back.  The
 * server tells clients apart by the badge of the handle they send by. */
#include <aero.h>

#define STACK 0x200000000UL
#define ROUNDS 1000

/* Ends the program when a call failed, saying which. */
static int64_t must(int64_t result, const char *call)
{
    if (aero_failed(result)) {
        aero_print(call);
        aero_print(": ");
        aero_print(aero_error_name(result));
        aero_print("\n");
        aero_process_exit(1);
    }
    return result;
}

/* Replies to each call with the sum of its first two words, until nobody is left who could call. */
static int serve(void *argument)
{
    aero_handle endpoint = (aero_handle)argument;
    struct aero_message message = {0};
    int64_t result = aero_message_receive(endpoint, AERO_FOREVER, &message);

    while (result == 0) {
        message = (struct aero_message){.words = {message.words[0] + message.words[1], message.badge}};
        result = aero_message_reply_receive(endpoint, AERO_FOREVER, &message);
    }
    return result == -AERO_EPIPE ? 0 : 1;
}

int main(void)
{
    const uint64_t both = AERO_READ | AERO_WRITE;
    aero_handle endpoint, client, process, given;
    uint64_t sum = 0;

    must(aero_mmap(STACK, 4 * AERO_PAGE_SIZE, both), "mmap of the stack");
    endpoint = (aero_handle)must(aero_endpoint_create(), "endpoint_create");
    process = (aero_handle)must(aero_process_create(), "process_create");
    given = (aero_handle)must(aero_handle_give(process, endpoint, AERO_RECEIVE), "handle_give");
    must(aero_process_share_program(process), "process_share of the program");
    must(aero_process_share(process, STACK, 4 * AERO_PAGE_SIZE, STACK, both), "process_share of the stack");
    must(aero_process_run(process, serve, (void *)given, STACK + 4 * AERO_PAGE_SIZE), "process_start");

    /* The client keeps only a handle that can send: when it is closed, the server learns that nobody is left. */
    client = (aero_handle)must(aero_handle_copy(endpoint, AERO_SEND, 42), "handle_copy");
    must(aero_handle_close(endpoint), "handle_close");
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct aero_message message = {.words = {i, sum}};

        must(aero_message_call(client, AERO_FOREVER, &message), "message_call");
        if (message.words[0] != i + sum || message.words[1] != 42)
            return 1;
        sum = message.words[0];
    }
    must(aero_handle_close(client), "handle_close of the client's");
    aero_print_number(ROUNDS);
    aero_print(" calls, the last reply is ");
    aero_print_number((int64_t)sum);
    aero_print("; the server ends with ");
    aero_print_number(must(aero_process_wait(process), "process_wait"));
    aero_print("\n");
    return 0;
}
