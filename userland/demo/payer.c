/* A of brokered.toml: asks the broker to pay as many times as it is told, then once too much, and ends. */
#include <aero.h>

static uint64_t ask(aero_handle broker, uint64_t amount)
{
    struct aero_message message = {.words = {amount}};

    aero_must(aero_message_call(broker, AERO_FOREVER, &message), "message_call");
    return message.words[0];
}

int main(int argc, char **argv)
{
    int64_t broker = aero_endpoint("requests");
    int64_t accepted = 0;

    if (argc != 2 || aero_failed(broker)) {
        aero_print("usage: payer TIMES, with an endpoint called requests: run this by brokered.toml\n");
        return 2;
    }
    for (int i = 0; i < argv[1][0] - '0'; i++)
        accepted += ask((aero_handle)broker, 20) == 0;
    accepted += ask((aero_handle)broker, 1000) == 0;
    aero_print("payments accepted: ");
    aero_print_number(accepted);
    aero_print("\n");
    return 0;
}
