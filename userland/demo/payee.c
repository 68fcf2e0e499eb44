/* B of brokered.toml: adds up what it is paid; ends when nobody can pay any more, or, told a limit, when it has that
 * many payments. */
#include <aero.h>

int main(int argc, char **argv)
{
    int64_t payments = aero_endpoint("payments");
    int64_t sum = 0, left = argc == 2 ? argv[1][0] - '0' : 0;
    struct aero_message message = {0};
    int64_t result;

    if (aero_failed(payments)) {
        aero_print("no endpoint called payments: run this by brokered.toml\n");
        return 2;
    }
    result = aero_message_receive((aero_handle)payments, AERO_FOREVER, &message);
    while (result == 0) {
        sum += (int64_t)message.words[0];
        message = (struct aero_message){.words = {0}};
        if (left > 0 && --left == 0) {
            aero_message_reply(&message);
            break;
        }
        result = aero_message_reply_receive((aero_handle)payments, AERO_FOREVER, &message);
    }
    aero_print("was paid ");
    aero_print_number(sum);
    aero_print("\n");
    return 0;
}
