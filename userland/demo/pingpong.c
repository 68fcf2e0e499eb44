/* Two processes on one core that call each other: a server that replies to what it gets, a client that asks.
 *
 * `call` hands the client's words and its core to the waiting server at once; `reply_receive` hands both back.  The
 * server tells clients apart by the badge of the handle they send by. */
#include <aero.h>

#define ROUNDS 1000

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
    aero_handle endpoint, client, given;
    struct aero_child server;
    uint64_t sum = 0;

    endpoint = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    aero_must(aero_child_create(&server, 0), "aero_child_create");
    given = (aero_handle)aero_must(aero_handle_give(server.process, endpoint, AERO_RECEIVE), "handle_give");
    aero_must(aero_child_start(&server, serve, (void *)given), "aero_child_start");

    /* The client keeps only a handle that can send: when it is closed, the server learns that nobody is left. */
    client = (aero_handle)aero_must(aero_handle_copy(endpoint, AERO_SEND, 42), "handle_copy");
    aero_must(aero_handle_close(endpoint), "handle_close");
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct aero_message message = {.words = {i, sum}};

        aero_must(aero_message_call(client, AERO_FOREVER, &message), "message_call");
        if (message.words[0] != i + sum || message.words[1] != 42)
            return 1;
        sum = message.words[0];
    }
    aero_must(aero_handle_close(client), "handle_close of the client's");
    aero_print_number(ROUNDS);
    aero_print(" calls, the last reply is ");
    aero_print_number((int64_t)sum);
    aero_print("; the server ends with ");
    aero_print_number(aero_must(aero_child_wait(&server), "aero_child_wait"));
    aero_print("\n");
    return 0;
}
