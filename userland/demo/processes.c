/* A child process: an address space made from nothing, page by page, by its parent.
 *
 * The parent shares its own program with the child, one page for its stack and one to talk over.  Then each does its
 * half of a sum in that page.  Nothing else of the parent is visible to the child. */
#include <aero.h>

#define STACK 0x200000000UL
#define CHANNEL 0x300000000UL
#define CHANNEL_IN_CHILD 0x400000000UL /* the same page may lie elsewhere there */
#define NUMBERS 100

struct channel {
    uint64_t numbers[NUMBERS]; /* written by the parent */
    uint64_t sum;              /* by the child */
};

static int child(void *argument)
{
    struct channel *channel = argument;

    for (int i = 0; i < NUMBERS; i++)
        channel->sum += channel->numbers[i];
    aero_print("child: the numbers are added\n");
    return 42;
}

int main(void)
{
    struct channel *channel = (struct channel *)CHANNEL;
    const uint64_t both = AERO_READ | AERO_WRITE;
    aero_handle process;
    int64_t status;

    aero_must(aero_mmap(STACK, 4 * AERO_PAGE_SIZE, both), "mmap of the stack");
    aero_must(aero_mmap(CHANNEL, AERO_PAGE_SIZE, both), "mmap of the channel");
    for (int i = 0; i < NUMBERS; i++)
        channel->numbers[i] = (uint64_t)(i + 1);

    process = (aero_handle)aero_must(aero_process_create(), "process_create");
    aero_must(aero_process_share_program(process), "process_share of the program");
    aero_must(aero_process_share(process, STACK, 4 * AERO_PAGE_SIZE, STACK, both), "process_share of the stack");
    aero_must(aero_process_share(process, CHANNEL, AERO_PAGE_SIZE, CHANNEL_IN_CHILD, both),
              "process_share of the channel");
    aero_must(aero_process_run(process, child, (void *)CHANNEL_IN_CHILD, STACK + 4 * AERO_PAGE_SIZE), "process_start");
    status = aero_must(aero_process_wait(process), "process_wait");

    aero_print("parent: the child ended with ");
    aero_print_number(status);
    aero_print(" and left the sum ");
    aero_print_number((int64_t)channel->sum);
    aero_print("\n");
    return !(status == 42 && channel->sum == NUMBERS * (NUMBERS + 1) / 2);
}
