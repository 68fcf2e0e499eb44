/* A container: a part of what the parent may use, given to a child that cannot use more, and taken back.
 *
 * The child maps page after page until its container's quota is used up.  Then the parent ends the container, with the
 * child in it, and maps as many pages itself. */
#include <aero.h>

#define CHANNEL 0x300000000UL
#define PAGES 0x400000000UL
#define QUOTA 64

struct channel {
    volatile int64_t mapped; /* pages that the child got */
    volatile int64_t error;  /* and why no more */
};

static int64_t map_until_refused(struct channel *channel, int64_t most)
{
    while (channel->mapped < most && channel->error == 0) {
        uint64_t next = PAGES + (uint64_t)channel->mapped * AERO_PAGE_SIZE;
        int64_t result = aero_mmap(next, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);

        if (aero_failed(result))
            channel->error = result;
        else
            channel->mapped++;
    }
    return channel->mapped;
}

static int child(void *argument)
{
    map_until_refused(argument, 10 * QUOTA);
    return 0;
}

int main(void)
{
    struct channel *channel = (struct channel *)CHANNEL;
    struct channel own = {0, 0};
    const uint64_t both = AERO_READ | AERO_WRITE;
    aero_handle container;
    struct aero_child made;

    aero_must(aero_mmap(CHANNEL, AERO_PAGE_SIZE, both), "mmap of the channel");
    container = (aero_handle)aero_must(aero_container_create(QUOTA, 0, 0, 0), "container_create");
    aero_must(aero_child_create(&made, container), "aero_child_create");
    aero_must(aero_process_share(made.process, CHANNEL, AERO_PAGE_SIZE, CHANNEL, both), "process_share of the channel");
    aero_must(aero_child_start(&made, child, channel), "aero_child_start");
    aero_must(aero_child_wait(&made), "aero_child_wait");

    aero_print("child: stopped by ");
    aero_print(aero_error_name(channel->error));
    aero_print(channel->mapped > 0 && channel->mapped < QUOTA ? " within its quota\n" : " elsewhere\n");

    aero_must(aero_container_kill(container), "container_kill");
    map_until_refused(&own, QUOTA);
    aero_print("parent: mapped ");
    aero_print_number(own.mapped);
    aero_print(" pages that came back\n");
    return !(channel->error == -AERO_ENOMEM && channel->mapped < QUOTA && own.mapped == QUOTA);
}
