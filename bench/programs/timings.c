/* Times system calls by the CPU's own clock, one by one, in the order that the host asks for.
 *
 * Each time it makes call 0x2000, with the address of the last samples and the clock; the host answers what to time, and
 * in rdi how often, or 0 to end.  A sample is what the time-stamp counter says after the call, less what it said before;
 * what has to be undone after a call is not in it.
 *
 * Pages are unmapped 32 at a time: after an munmap the vCPU refills translations for some microseconds, which are not
 * those of the next call that is timed.  The last kind is the same with an munmap after each call, to show that. */
#include <aero.h>

enum { END, NOTHING, MAP, THREAD, PROCESS, CALL, CALL_WITH_PAGE, CALL_WITH_PAGE_UNMAPPED };

#define MOST 4096
#define UNDONE 32               /* so many pages are unmapped at a time */
#define PAGES 0x300000000000UL  /* mapped and unmapped; their table stays, by the page that follows */
#define WINDOW 0x310000000000UL /* where replies' pages come */
#define SHARED 0x320000000000UL /* the page that the server shares */

static uint64_t samples[MOST];
static uint8_t stack[4096] __attribute__((aligned(16)));
static aero_handle plain, paging;

static inline uint64_t clock(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtscp" : "=a"(low), "=d"(high) : : "rcx", "memory");
    return (uint64_t)high << 32 | low;
}

/* A thread that ends at once. */
static void nothing(void)
{
    aero_thread_exit(0);
}

/* Replies to whatever comes, with a page if it is asked on `paging`. */
static int serve(void *argument)
{
    aero_handle endpoint = (aero_handle)((uint64_t)argument >> 1);
    uint64_t item = 0;
    struct aero_message message = {0};

    if ((uint64_t)argument & 1) {
        if (aero_mmap(SHARED, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE))
            return 1;
        item = AERO_SHARE(AERO_PAGE_SIZE, AERO_READ);
    }
    if (aero_message_receive(endpoint, AERO_FOREVER, &message))
        return 2;
    for (;;) {
        message.item = item;
        message.object = SHARED;
        if (aero_message_reply_receive(endpoint, AERO_FOREVER, &message))
            return 3;
    }
}

static aero_handle server(int with_page)
{
    aero_handle endpoint = (aero_handle)aero_must(aero_endpoint_create(), "endpoint_create"), given;
    struct aero_child child;

    aero_must(aero_child_create(&child, 0), "aero_child_create");
    given = (aero_handle)aero_must(aero_handle_give(child.process, endpoint, AERO_RECEIVE), "handle_give");
    aero_must(aero_child_start(&child, serve, (void *)(given << 1 | (uint64_t)with_page)), "aero_child_start");
    return endpoint;
}

static void sample(uint64_t what, uint64_t count)
{
    uint64_t undone = what == CALL_WITH_PAGE_UNMAPPED ? 1 : UNDONE, mapped = 0, start;
    struct aero_message message = {0};
    int64_t made = 0;

    for (uint64_t i = 0; i < count; i++) {
        if (what >= CALL_WITH_PAGE)
            aero_must(aero_message_accept(WINDOW + mapped * AERO_PAGE_SIZE, AERO_PAGE_SIZE, 0), "message_accept");
        message.item = 0;
        start = clock();
        switch (what) {
        case NOTHING:
            aero_syscall(AERO_CALL_null, 0, 0, 0, 0, 0, 0);
            break;
        case MAP:
            made = aero_mmap(PAGES + mapped * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE);
            break;
        case THREAD:
            made = aero_thread_create((void *)nothing, stack + sizeof stack - 8, 0);
            break;
        case PROCESS:
            made = aero_process_create();
            break;
        case CALL:
            made = aero_message_call(plain, AERO_FOREVER, &message);
            break;
        default:
            made = aero_message_call(paging, AERO_FOREVER, &message);
            break;
        }
        samples[i] = clock() - start;
        aero_must(made, "what is timed");
        if (what == THREAD)
            aero_must(aero_thread_join((uint64_t)made), "thread_join");
        if (what == PROCESS) {
            aero_must(aero_process_kill((uint64_t)made), "process_kill");
            aero_must(aero_process_wait((uint64_t)made), "process_wait");
        }
        if ((what == MAP || what >= CALL_WITH_PAGE) && (++mapped == undone || i + 1 == count)) {
            aero_must(aero_munmap(what == MAP ? PAGES : WINDOW, mapped * AERO_PAGE_SIZE), "munmap");
            mapped = 0;
        }
    }
}

int main(void)
{
    aero_must(aero_mmap(PAGES + UNDONE * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ), "mmap");
    aero_must(aero_mmap(WINDOW + UNDONE * AERO_PAGE_SIZE, AERO_PAGE_SIZE, AERO_READ), "mmap");
    plain = server(0);
    paging = server(1);
    for (;;) {
        uint64_t what = AERO_USER_FIRST, count = (uint64_t)samples, now = clock();

        __asm__ volatile("syscall" : "+a"(what), "+D"(count) : "S"(now) : "rcx", "r11", "memory");
        if (what == END)
            return 0;
        sample(what, count > MOST ? MOST : count);
    }
}
