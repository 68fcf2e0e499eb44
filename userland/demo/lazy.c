/* Memory that another program makes, page by page, when it is first touched: the programs of lazy.toml.
 *
 * The file makes an endpoint the pager of `lazy use`.  That reads a table as if it were there; each of its page faults
 * is a message to `lazy serve`, which writes the page and replies with it.  `lazy tick` counts the expiries of a timer
 * that the file gives an endpoint. */
#include <aero.h>

#define TABLE 0x300000000UL
#define PAGES 8UL
#define DESK 0x400000000UL /* where the server writes a page */
#define WORDS (AERO_PAGE_SIZE / sizeof(uint64_t))
#define TICKS 3

/* The sum is of the first words of the pages that were read: docs/examples/lazy_invariants.py watches both. */
uint64_t pages_read, sum;

static int use(void)
{
    const volatile uint64_t *table = (const volatile uint64_t *)TABLE;

    for (uint64_t page = 0; page < PAGES; page++) {
        uint64_t word = table[page * WORDS];

        sum += word;
        pages_read++;
    }
    aero_print("the sum is ");
    aero_print_number((int64_t)sum);
    aero_print("\n");
    return 0;
}

static int serve(void)
{
    const uint64_t both = AERO_READ | AERO_WRITE;
    aero_handle faults = (aero_handle)aero_must(aero_endpoint("faults"), "no endpoint: see lazy.toml");
    struct aero_message message = {0};
    int64_t result = aero_message_receive(faults, AERO_FOREVER, &message);
    uint64_t served = 0, badge = 0;

    while (result == 0) {
        badge = message.badge; /* whose fault it is: the file says pager_badge */
        uint64_t number = (message.words[0] - TABLE) / AERO_PAGE_SIZE;

        if (message.words[0] < TABLE || number >= PAGES) { /* the program ends as it would without a pager */
            message = (struct aero_message){.words = {1}};
        } else {
            aero_must(aero_mmap(DESK, AERO_PAGE_SIZE, both), "mmap");
            *(uint64_t *)DESK = number * number;
            message = (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, both), .object = DESK};
            served++;
        }
        result = aero_message_reply_receive(faults, AERO_FOREVER, &message);
    }
    aero_print("made ");
    aero_print_number((int64_t)served);
    aero_print(" pages for program ");
    aero_print_number((int64_t)badge);
    aero_print(", then ");
    aero_print(aero_error_name(result)); /* nobody is left whose pager it is */
    aero_print("\n");
    return result != -AERO_EPIPE;
}

static int tick(void)
{
    aero_handle ticks = (aero_handle)aero_must(aero_endpoint("ticks"), "no endpoint: see lazy.toml");
    struct aero_message message = {0};
    int64_t seen = 0;

    while (seen < TICKS)
        seen += aero_must(aero_message_receive(ticks, AERO_FOREVER, &message), "message_receive");
    aero_print("ticked\n");
    return 0;
}

int main(int argc, char **argv)
{
    switch (argc == 2 ? argv[1][0] : 0) {
    case 'u':
        return use();
    case 's':
        return serve();
    case 't':
        return tick();
    }
    aero_print("run it with: aerostat up --prefix userland/demo/lazy.toml\n");
    return 2;
}
