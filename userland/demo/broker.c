/* The mediator of brokered.toml, V: hears requests of A, checks them, and asks B; neither can reach the other.
 *
 * It gives and takes words alone, and holds two handles.  When one side is gone it gives up what it held for it before
 * it does anything else.  kernel/prove/isolation/mediator.py says which calls it may make when; that such calls keep A
 * and B apart is proved, and a test runs this program under that automaton. */
#include <aero.h>

#define LIMIT 100 /* no larger amount is passed on */
#define PATIENCE 60000000000UL /* nanoseconds: B must not be able to hold V up for ever */

enum { ACCEPTED, REFUSED }; /* replies, in word 0 */

/* Passes on an amount, if it may be.  Returns false if B is gone. */
static bool pay(aero_handle payments, uint64_t amount, uint64_t *reply)
{
    struct aero_message message = {.words = {amount}};
    int64_t result;

    *reply = REFUSED;
    if (amount > LIMIT)
        return true;
    result = aero_message_call(payments, PATIENCE, &message);
    if (result == 0 && message.words[0] == ACCEPTED)
        *reply = ACCEPTED;
    return result != -AERO_EPIPE;
}

int main(void)
{
    int64_t requests = aero_endpoint("requests"), payments = aero_endpoint("payments");
    struct aero_message message = {0};
    bool open = true; /* the way to B */

    if (aero_failed(requests) || aero_failed(payments)) {
        aero_print("no endpoints called requests and payments: run this by brokered.toml\n");
        return 2;
    }
    while (aero_message_receive((aero_handle)requests, AERO_FOREVER, &message) == 0) {
        uint64_t reply = REFUSED;
        bool left = open && !pay((aero_handle)payments, message.words[0], &reply);

        message = (struct aero_message){.words = {reply}};
        aero_message_reply(&message); /* who asked may be gone */
        if (left) {
            aero_handle_close((aero_handle)payments);
            open = false;
        }
    }
    aero_handle_close((aero_handle)requests);
    if (open)
        aero_handle_close((aero_handle)payments);
    return 0;
}
