/* A clock: one endpoint at which both the ticks of a timer and messages arrive.
 *
 * A thread that waits for "a tick or a message, whichever comes first" is what most servers are.  Receiving returns 0
 * with a message, and otherwise how often the timer has expired since it was last asked: a slow reader misses none. */
#include <aero.h>

#define MILLISECOND 1000000UL /* times are in nanoseconds */
#define TICKS 5

static int send_word(void *argument)
{
    struct aero_message message = {.words = {42}};

    return (int)aero_message_send((aero_handle)argument, AERO_FOREVER, &message);
}

int main(void)
{
    aero_handle endpoint = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    struct aero_message message = {0};
    struct aero_thread sender;
    int64_t ticks = 0, messages = 0, result;

    aero_must(aero_timer_set(endpoint, 10 * MILLISECOND, 10 * MILLISECOND), "timer_set");
    aero_must(aero_thread_spawn(&sender, send_word, (void *)endpoint), "aero_thread_spawn");
    while (ticks < TICKS || messages == 0) {
        result = aero_must(aero_message_receive(endpoint, AERO_FOREVER, &message), "message_receive");
        if (result == 0) {
            messages++;
            aero_print("a message: ");
            aero_print_number((int64_t)message.words[0]);
            aero_print("\n");
        }
        for (; result > 0; result--)
            if (ticks++ < TICKS)
                aero_print("tick\n");
    }
    aero_must(aero_thread_wait(&sender), "aero_thread_wait");

    /* 0 ends the timer; expiries that nobody has asked for yet are still there.  Then nothing comes any more: a time to
     * wait at most is for that. */
    aero_must(aero_timer_set(endpoint, 0, 0), "timer_set");
    do
        result = aero_message_receive(endpoint, 20 * MILLISECOND, &message);
    while (result > 0);
    aero_print("then: ");
    aero_print(aero_error_name(result));
    aero_print("\n");
    return result != -AERO_ETIMEDOUT;
}
