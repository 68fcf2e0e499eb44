/* A server that counts votes, for the machine that voting.toml describes.
 *
 * It finds its endpoint by name, and knows who calls by the badge that the description gave each voter's handle: a
 * voter cannot choose it, and so cannot vote in another's name.  When nobody is left who could call, it says what it
 * counted and ends. */
#include <aero.h>

#define VOTERS 8
#define CHOICES 4

static uint64_t counted[CHOICES];
static bool voted[VOTERS];

/* The reply to a voter: how many chose the same so far, or an error. */
static uint64_t count(uint64_t voter, uint64_t choice)
{
    if (voter == 0 || voter >= VOTERS || choice >= CHOICES || voted[voter])
        return (uint64_t)-AERO_EINVAL;
    voted[voter] = true;
    return ++counted[choice];
}

int main(void)
{
    int64_t endpoint = aero_endpoint("ballots");
    struct aero_message message = {0};
    int64_t result;

    if (aero_failed(endpoint)) {
        aero_print("no endpoint called ballots: run this by voting.toml\n");
        return 2;
    }
    result = aero_message_receive((aero_handle)endpoint, AERO_FOREVER, &message);
    while (result == 0) {
        message = (struct aero_message){.words = {count(message.badge, message.words[0])}};
        result = aero_message_reply_receive((aero_handle)endpoint, AERO_FOREVER, &message);
    }
    for (int choice = 0; choice < CHOICES; choice++) {
        if (counted[choice] == 0)
            continue;
        aero_print_number((int64_t)counted[choice]);
        aero_print(" for ");
        aero_print_number(choice);
        aero_print("\n");
    }
    return result == -AERO_EPIPE ? 0 : 1;
}
