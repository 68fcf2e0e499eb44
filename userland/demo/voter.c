/* A client of tally.c: votes for the number it is given, and once more, which the server refuses. */
#include <aero.h>

int main(int argc, char **argv)
{
    int64_t endpoint = aero_endpoint("ballots");

    if (argc != 2 || aero_failed(endpoint)) {
        aero_print("usage: voter CHOICE, with an endpoint called ballots: run this by voting.toml\n");
        return 2;
    }
    for (int attempt = 1; attempt <= 2; attempt++) {
        struct aero_message message = {.words = {(uint64_t)(argv[1][0] - '0')}};
        int64_t result = aero_message_call((aero_handle)endpoint, AERO_FOREVER, &message);

        if (result == 0)
            result = (int64_t)message.words[0];
        if (aero_failed(result) != (attempt == 2)) {
            aero_print(aero_error_name(result));
            aero_print("\n");
            return 1;
        }
    }
    aero_print("voted for ");
    aero_print(argv[1]);
    aero_print(", the second vote was refused\n");
    return 0;
}
