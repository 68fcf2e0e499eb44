/* A pager: the parent serves its child's page faults, so that the child has a book of which no page exists before it is
 * read.
 *
 * A fault arrives as a message (address, access, program counter).  The parent writes the page and replies with it: the
 * page moves to where the fault was, and the child's instruction is tried again.  The child does not notice.  Where it
 * goes beyond the book the parent refuses, and the child ends as it would without a pager. */
#include <aero.h>

#define BOOK 0x300000000UL
#define PAGES 1000UL
#define DESK 0x400000000UL /* where the parent writes a page */
#define WORDS (AERO_PAGE_SIZE / sizeof(uint64_t))
#define SEGV 139 /* 128 + SIGSEGV: how a process ends by a page fault */

/* Reads 10 words of the book, one of them twice, and writes in its margin; then reads behind its end. */
static int read_book(void *argument)
{
    const uint64_t *book = (const uint64_t *)BOOK;
    uint64_t *margin = (uint64_t *)(BOOK + 5 * AERO_PAGE_SIZE + 8);
    uint64_t sum = 0;

    (void)argument;
    for (uint64_t page = 0; page < PAGES; page += 111)
        sum += book[page * WORDS];
    sum += book[999 * WORDS];
    *margin = 7;
    sum += *margin;
    aero_print("child: the sum is ");
    aero_print_number((int64_t)sum);
    aero_print("\n");
    return (int)*(volatile uint64_t *)(BOOK + PAGES * AERO_PAGE_SIZE);
}

/* The reply to one fault: the page, or no. */
static struct aero_message serve(uint64_t address, uint64_t *served)
{
    const uint64_t both = AERO_READ | AERO_WRITE;
    uint64_t number = (address - BOOK) / AERO_PAGE_SIZE;

    if (number >= PAGES) {
        aero_print("parent: refuses ");
        aero_print_hex(address);
        aero_print("\n");
        return (struct aero_message){.words = {1}};
    }
    /* A page that moved away leaves its place empty for the next. */
    aero_must(aero_mmap(DESK, AERO_PAGE_SIZE, both), "mmap");
    *(uint64_t *)DESK = number;
    ++*served;
    return (struct aero_message){.item = AERO_MOVE(AERO_PAGE_SIZE, both), .object = DESK};
}

int main(void)
{
    aero_handle faults = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create");
    aero_handle receiver = (aero_handle)aero_must(aero_handle_copy(faults, AERO_RECEIVE, 0), "handle_copy");
    struct aero_message message = {0};
    struct aero_child child;
    uint64_t served = 0;
    int64_t result;

    aero_must(aero_child_create(&child, 0), "aero_child_create");
    aero_must(aero_pager_set(child.process, faults), "pager_set");
    /* Now the child's pager is the only sender, and receiving fails when there is no child any more. */
    aero_must(aero_handle_close(faults), "handle_close");
    aero_must(aero_child_start(&child, read_book, NULL), "aero_child_start");

    result = aero_message_receive(receiver, AERO_FOREVER, &message);
    while (result == 0) {
        message = serve(message.words[0], &served);
        result = aero_message_reply_receive(receiver, AERO_FOREVER, &message);
    }
    aero_print("parent: served ");
    aero_print_number((int64_t)served);
    aero_print(" pages of ");
    aero_print_number(PAGES);
    aero_print(", then ");
    aero_print(aero_error_name(result));
    result = aero_must(aero_child_wait(&child), "aero_child_wait");
    aero_print("; the child ended with ");
    aero_print_number(result);
    aero_print("\n");
    return !(served == 11 && result == SEGV);
}
