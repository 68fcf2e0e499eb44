/* Hostile values in every argument of every native call: each must be refused with the error the table names, and the
 * program must still run afterwards.  Exits 0 when all is as it should be. */
#include "check.h"

#define AREA 0x500000000UL
#define UNMAPPED 0x123456789000UL

/* Not the address of anything a program has. */
static const uint64_t outside[] = {
    0,                      /* null */
    1,
    0xfff,                  /* null with an offset */
    0x1000,
    AERO_USER_MIN - 0x1000,
    AERO_USER_END,          /* the machine's own pages */
    AERO_SYSTEM_BASE + 0x1000,
    AERO_SYSTEM_BASE + 0x200000,
    0x7ffffffff000UL,       /* the last page of the lower half */
    0x7fffffffffffUL,
    0x800000000000UL,       /* not canonical */
    0x0123456789abcdefUL,
    0x8000000000000000UL,
    0xffff7fffffffffffUL,
    0xffff800000000000UL,   /* the upper half: a kernel's, elsewhere */
    0xffffffff80000000UL,
    0xfffffffffffff000UL,   /* wraps with any length */
    0xffffffffffffffffUL,
};

static const uint64_t bad_lengths[] = {
    0, 1, 4095, 4097, 0x7fffffffffffffffUL, 0x8000000000000000UL, 0xfffffffffffff000UL, 0xffffffffffffffffUL,
    AERO_USER_END, 0x800000000000UL,
};

static const uint64_t bad_protections[] = {8, 0x10, 0xffffffffUL, 1UL << 32, 1UL << 63, ~0UL};

/* Added to a good handle: another slot, another generation, bits beyond both. */
static const uint64_t off_handle[] = {
    1, 500, 0x7fff, 0x10000, 0x20000, 1UL << 32, 1UL << 47, 1UL << 63, 0xffff000000000000UL, ~0UL,
};

#define EACH(value, table) \
    for (size_t each_ = 0; each_ < sizeof table / sizeof table[0] && ((value) = table[each_], true); each_++)

static void debug_print_refuses(void)
{
    static const char text[] = "x";
    uint64_t bad;

    EACH(bad, outside) {
        expect("debug_print of a byte outside", aero_debug_print((void *)bad, 1), -AERO_EFAULT);
        expect("debug_print of 64 KiB outside", aero_debug_print((void *)bad, 65536), -AERO_EFAULT);
        expect("debug_print longer than it may be", aero_debug_print((void *)bad, 65537), -AERO_EINVAL);
    }
    expect("debug_print of an unmapped byte", aero_debug_print((void *)UNMAPPED, 1), -AERO_EFAULT);
    expect("debug_print of too much", aero_debug_print(text, 65537), -AERO_EINVAL);
    expect("debug_print of 2^63 bytes", aero_debug_print(text, 1UL << 63), -AERO_EINVAL);
    expect("debug_print of 2^64 - 1 bytes", aero_debug_print(text, ~0UL), -AERO_EINVAL);
    expect("debug_print of nothing", aero_debug_print(text, 0), 0);
    expect("debug_print that runs into an unmapped page",
           aero_debug_print((void *)(AREA + AERO_PAGE_SIZE - 1), 2), -AERO_EFAULT);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_NONE));
    expect("debug_print of an unreadable page", aero_debug_print((void *)AREA, 1), -AERO_EFAULT);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
}

static void memory_calls_refuse(void)
{
    const uint64_t both = AERO_READ | AERO_WRITE;
    uint64_t bad;

    EACH(bad, outside) {
        expect("mmap outside", aero_mmap(bad, AERO_PAGE_SIZE, both), -AERO_EINVAL);
        expect("munmap outside", aero_munmap(bad, AERO_PAGE_SIZE), -AERO_EINVAL);
        expect("mprotect outside", aero_mprotect(bad, AERO_PAGE_SIZE, both), -AERO_EINVAL);
    }
    EACH(bad, bad_lengths) {
        expect("mmap of a bad length", aero_mmap(AREA, bad, both), -AERO_EINVAL);
        expect("munmap of a bad length", aero_munmap(AREA, bad), -AERO_EINVAL);
        expect("mprotect of a bad length", aero_mprotect(AREA, bad, both), -AERO_EINVAL);
    }
    EACH(bad, bad_protections) {
        expect("mmap with unknown protection", aero_mmap(UNMAPPED, AERO_PAGE_SIZE, bad), -AERO_EINVAL);
        expect("mprotect with unknown protection", aero_mprotect(AREA, AERO_PAGE_SIZE, bad), -AERO_EINVAL);
    }
    expect("mmap inside a page", aero_mmap(UNMAPPED + 8, AERO_PAGE_SIZE, both), -AERO_EINVAL);
    expect("mmap of the last page and one more", aero_mmap(AERO_USER_END - AERO_PAGE_SIZE, 8192, both), -AERO_EINVAL);
    expect("mmap of a mapped page", aero_mmap(AREA, AERO_PAGE_SIZE, both), -AERO_EEXIST);
    expect("mmap of an unmapped and a mapped page", aero_mmap(AREA - AERO_PAGE_SIZE, 8192, both), -AERO_EEXIST);
    expect("munmap of an unmapped page", aero_munmap(UNMAPPED, AERO_PAGE_SIZE), -AERO_EFAULT);
    expect("munmap of a mapped and an unmapped page", aero_munmap(AREA, 8192), -AERO_EFAULT);
    expect("mprotect of an unmapped page", aero_mprotect(UNMAPPED, AERO_PAGE_SIZE, both), -AERO_EFAULT);
    expect("mprotect of a mapped and an unmapped page", aero_mprotect(AREA, 8192, AERO_READ), -AERO_EFAULT);
    /* 64 TiB that are free: more than any machine has.  2^46 + 64 TiB is still below the stack. */
    expect("mmap of more than there is", aero_mmap(1UL << 45, 1UL << 45, both), -AERO_ENOMEM);
    /* None of the refused calls may have changed anything: the page is still there and can be written. */
    *(volatile uint64_t *)AREA = 7;
    expect("the page afterwards", (int64_t) * (volatile uint64_t *)AREA, 7);
}

static int idle(void *argument)
{
    (void)argument;
    return 7;
}

static void thread_calls_refuse(aero_handle process)
{
    struct aero_thread thread;
    uint64_t stack = AREA + AERO_PAGE_SIZE;
    uint64_t bad;

    EACH(bad, outside) {
        expect("thread_create with an entry outside", aero_thread_create((void *)bad, (void *)stack, 0), -AERO_EINVAL);
        if (bad != AERO_USER_END) /* an empty stack may begin where the address space ends */
            expect("thread_create with a stack outside", aero_thread_create((void *)idle, (void *)bad, 0),
                   -AERO_EINVAL);
    }
    EACH(bad, off_handle) {
        expect("thread_join of a bad handle", aero_thread_join(process + bad), -AERO_ESRCH);
        expect("thread_kill of a bad handle", aero_thread_kill(process + bad), -AERO_ESRCH);
        expect("thread_affinity of a bad handle", aero_thread_affinity(process + bad, 0), -AERO_ESRCH);
        expect("thread_affinity to a bad core", aero_thread_affinity(0, 63 + bad), -AERO_EINVAL);
    }
    expect("thread_join of a process", aero_thread_join(process), -AERO_ESRCH);
    expect("thread_kill of a process", aero_thread_kill(process), -AERO_ESRCH);
    expect("thread_affinity of a process", aero_thread_affinity(process, 0), -AERO_ESRCH);

    must("aero_thread_spawn", aero_thread_spawn(&thread, idle, NULL));
    expect("process_wait of a thread", aero_process_wait(thread.handle), -AERO_ESRCH);
    expect("process_kill of a thread", aero_process_kill(thread.handle), -AERO_ESRCH);
    expect("process_share to a thread", aero_process_share(thread.handle, AREA, AERO_PAGE_SIZE, AREA, AERO_READ),
           -AERO_ESRCH);
    expect("process_start of a thread", aero_process_start(thread.handle, (void *)idle, (void *)stack, 0),
           -AERO_ESRCH);
    expect("the thread's status", aero_thread_wait(&thread), 7);
    expect("thread_join of a closed handle", aero_thread_join(thread.handle), -AERO_ESRCH);
    expect("thread_kill of a closed handle", aero_thread_kill(thread.handle), -AERO_ESRCH);
}

static void process_calls_refuse(aero_handle process)
{
    const uint64_t stack = AREA + AERO_PAGE_SIZE;
    uint64_t bad;

    EACH(bad, off_handle) {
        bad += process;
        expect("process_share to a bad handle", aero_process_share(bad, AREA, AERO_PAGE_SIZE, AREA, AERO_READ),
               -AERO_ESRCH);
        expect("process_start of a bad handle", aero_process_start(bad, (void *)idle, (void *)stack, 0), -AERO_ESRCH);
        expect("process_wait of a bad handle", aero_process_wait(bad), -AERO_ESRCH);
        expect("process_kill of a bad handle", aero_process_kill(bad), -AERO_ESRCH);
    }
    EACH(bad, outside) {
        expect("process_share from outside", aero_process_share(process, bad, AERO_PAGE_SIZE, AREA, AERO_READ),
               -AERO_EINVAL);
        expect("process_share to outside", aero_process_share(process, AREA, AERO_PAGE_SIZE, bad, AERO_READ),
               -AERO_EINVAL);
        expect("process_start with an entry outside", aero_process_start(process, (void *)bad, (void *)stack, 0),
               -AERO_EINVAL);
        if (bad != AERO_USER_END)
            expect("process_start with a stack outside",
                   aero_process_start(process, (void *)idle, (void *)bad, 0), -AERO_EINVAL);
    }
    EACH(bad, bad_lengths)
        expect("process_share of a bad length", aero_process_share(process, AREA, bad, AREA, AERO_READ),
               -AERO_EINVAL);
    EACH(bad, bad_protections)
        expect("process_share with unknown protection",
               aero_process_share(process, AREA, AERO_PAGE_SIZE, AREA, bad), -AERO_EINVAL);
    expect("process_share of an unmapped page",
           aero_process_share(process, UNMAPPED, AERO_PAGE_SIZE, AREA, AERO_READ), -AERO_EFAULT);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ));
    expect("process_share with more rights than one has",
           aero_process_share(process, AREA, AERO_PAGE_SIZE, AREA, AERO_READ | AERO_WRITE), -AERO_EINVAL);
    must("mprotect", aero_mprotect(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    must("process_share", aero_process_share(process, AREA, AERO_PAGE_SIZE, AREA, AERO_READ));
    expect("process_share over a shared page",
           aero_process_share(process, AREA, AERO_PAGE_SIZE, AREA, AERO_READ), -AERO_EEXIST);
    expect("process_wait before process_start", aero_process_wait(process), -AERO_EINVAL);
}

static void container_calls_refuse(aero_handle process)
{
    static const uint64_t quotas[] = {1UL << 30, 1UL << 32, 0x7fffffffffffffffUL, 1UL << 63, ~0UL};
    aero_handle container = (aero_handle)must("container_create", aero_container_create(4, 0, 0, 0));
    uint64_t bad;

    EACH(bad, quotas) {
        expect("container_create with too many pages", aero_container_create(bad, 0, 0, 0), -AERO_ENOMEM);
        expect("container_create with too many blocks", aero_container_create(0, bad, 0, 0), -AERO_ENOMEM);
        expect("container_create with too many giants", aero_container_create(0, 0, bad, 0), -AERO_ENOMEM);
        expect("container_create with too many cores", aero_container_create(0, 0, 0, bad), -AERO_ENOMEM);
        expect("container_create with too much of all", aero_container_create(bad, bad, bad, bad), -AERO_ENOMEM);
    }
    EACH(bad, off_handle) {
        expect("container_kill of a bad handle", aero_container_kill(container + bad), -AERO_ESRCH);
        expect("process_create_in a bad handle", aero_process_create_in(container + bad), -AERO_ESRCH);
        expect("container_query of a bad handle", aero_container_query(container + bad, AERO_QUERY_CORES), -AERO_ESRCH);
    }
    expect("container_kill of a process", aero_container_kill(process), -AERO_ESRCH);
    expect("container_query of a process", aero_container_query(process, AERO_QUERY_CORES), -AERO_ESRCH);
    EACH(bad, off_handle) {
        bad |= 16; /* above all that can be asked */
        expect("container_query of nothing", aero_container_query(0, bad), -AERO_EINVAL);
        expect("container_query of a child about nothing", aero_container_query(container, bad), -AERO_EINVAL);
    }
    expect("process_create_in a process", aero_process_create_in(process), -AERO_ESRCH);
    expect("process_wait of a container", aero_process_wait(container), -AERO_ESRCH);
    expect("thread_join of a container", aero_thread_join(container), -AERO_ESRCH);
    must("container_kill", aero_container_kill(container));
    expect("container_kill of a closed handle", aero_container_kill(container), -AERO_ESRCH);
    expect("process_create_in a closed handle", aero_process_create_in(container), -AERO_ESRCH);
}

/* Each call that takes an endpoint's handle, given something else. */
static void expect_no_endpoint(uint64_t handle, aero_handle process)
{
    struct aero_message message = {0};

    expect("handle_copy of no endpoint", aero_handle_copy(handle, AERO_SEND, 0), -AERO_ESRCH);
    expect("handle_give of no endpoint", aero_handle_give(process, handle, AERO_SEND), -AERO_ESRCH);
    expect("message_send to none", aero_message_send(handle, 0, &message), -AERO_ESRCH);
    expect("message_send to none, waiting", aero_message_send(handle, AERO_FOREVER, &message), -AERO_ESRCH);
    expect("message_call to none", aero_message_call(handle, AERO_FOREVER, &message), -AERO_ESRCH);
    expect("message_receive from none", aero_message_receive(handle, AERO_FOREVER, &message), -AERO_ESRCH);
    expect("message_reply_receive from none", aero_message_reply_receive(handle, 1, &message), -AERO_ESRCH);
    expect("timer_set of none", aero_timer_set(handle, 1000000, 0), -AERO_ESRCH);
    if (handle != 0)
        expect("pager_set to none", aero_pager_set(process, handle), -AERO_ESRCH);
}

/* Handles, rights, badges and times. */
static void endpoint_calls_refuse(aero_handle process)
{
    aero_handle endpoint = (aero_handle)must("endpoint_create", aero_endpoint_create()), closed;
    aero_handle plain = (aero_handle)must("handle_copy", aero_handle_copy(endpoint, AERO_SEND, 5));
    uint64_t bad;

    EACH(bad, off_handle) {
        expect_no_endpoint(endpoint + bad, process);
        expect("handle_close of a bad handle", aero_handle_close(endpoint + bad), -AERO_ESRCH);
        expect("handle_give to a bad handle", aero_handle_give(process + bad, endpoint, AERO_SEND), -AERO_ESRCH);
        expect("pager_set of a bad handle", aero_pager_set(process + bad, endpoint), -AERO_ESRCH);
    }
    EACH(bad, outside)
        expect_no_endpoint(bad, process);
    expect_no_endpoint(process, process);
    expect("handle_close of a process", aero_handle_close(process), -AERO_ESRCH);
    expect("handle_give to an endpoint", aero_handle_give(endpoint, endpoint, AERO_SEND), -AERO_ESRCH);
    expect("pager_set of an endpoint", aero_pager_set(endpoint, endpoint), -AERO_ESRCH);
    EACH(bad, bad_protections) { /* no rights either */
        expect("handle_copy with unknown rights", aero_handle_copy(endpoint, bad, 0), -AERO_EPERM);
        expect("handle_give with unknown rights", aero_handle_give(process, endpoint, bad), -AERO_EPERM);
    }
    expect("handle_copy without rights", aero_handle_copy(endpoint, 0, 0), -AERO_EPERM);
    expect("handle_copy with more rights", aero_handle_copy(plain, AERO_SEND | AERO_RECEIVE, 0), -AERO_EPERM);
    expect("handle_copy with another badge", aero_handle_copy(plain, AERO_SEND, 6), -AERO_EPERM);
    expect("handle_copy with a badge of 2^63", aero_handle_copy(endpoint, AERO_SEND, 1UL << 63), -AERO_EINVAL);
    expect("handle_copy with a badge of 2^64 - 1", aero_handle_copy(endpoint, AERO_SEND, ~0UL), -AERO_EINVAL);
    expect("handle_give without GRANT", aero_handle_give(process, plain, AERO_SEND), -AERO_EPERM);
    expect("timer_set without RECEIVE", aero_timer_set(plain, 1, 1), -AERO_EPERM);
    closed = (aero_handle)must("handle_copy", aero_handle_copy(endpoint, AERO_RECEIVE, 0));
    expect("pager_set without SEND", aero_pager_set(process, closed), -AERO_EPERM);
    must("handle_close", aero_handle_close(closed));
    expect_no_endpoint(closed, process);
    expect("handle_close of a closed handle", aero_handle_close(closed), -AERO_ESRCH);
    must("handle_close", aero_handle_close(plain));
    must("handle_close", aero_handle_close(endpoint));
    expect_no_endpoint(endpoint, process);
}

/* What messages carry: the check of it comes before anybody waits or is waited for. */
static void messages_refuse(void)
{
    static const uint64_t unknown[] = {
        4, 7, 15, 1UL << 7, 1UL << 11, 1 | 1UL << 7, 3 | 1UL << 11, 3 | AERO_PAGE_SIZE, ~0UL, 1UL << 63, 0x10,
    };
    const uint64_t one_page = AERO_SHARE(AERO_PAGE_SIZE, AERO_READ);
    aero_handle endpoint = (aero_handle)must("endpoint_create", aero_endpoint_create());
    uint64_t bad;

    EACH(bad, unknown) {
        struct aero_message message = {.item = bad, .object = AREA};

        expect("message_send of an unknown item", aero_message_send(endpoint, AERO_FOREVER, &message), -AERO_EINVAL);
        expect("message_call of an unknown item", aero_message_call(endpoint, AERO_FOREVER, &message), -AERO_EINVAL);
        expect("message_reply of an unknown item", aero_message_reply(&message), -AERO_EINVAL);
        expect_true("message_reply_receive of an unknown item",
                    aero_failed(aero_message_reply_receive(endpoint, AERO_FOREVER, &message)));
    }
    EACH(bad, outside) {
        struct aero_message pages = {.item = one_page, .object = bad};
        struct aero_message handle = {.item = AERO_HANDLE(AERO_SEND), .object = bad};

        expect("message_send of pages outside", aero_message_send(endpoint, AERO_FOREVER, &pages), -AERO_EINVAL);
        expect("message_call of pages outside", aero_message_call(endpoint, AERO_FOREVER, &pages), -AERO_EINVAL);
        expect("message_reply of pages outside", aero_message_reply(&pages), -AERO_EINVAL);
        expect_true("message_send of no handle", aero_failed(aero_message_send(endpoint, 0, &handle)));
        expect("message_accept outside", aero_message_accept(bad, AERO_PAGE_SIZE, 0), -AERO_EINVAL);
    }
    EACH(bad, bad_lengths) {
        if (bad != 0)
            expect("message_accept of a bad length", aero_message_accept(AREA, bad, 0), -AERO_EINVAL);
        if (bad >= AERO_USER_END && bad % AERO_PAGE_SIZE == 0) {
            struct aero_message pages = {.item = AERO_MOVE(bad, AERO_READ), .object = AREA};

            expect("message_send of too much", aero_message_send(endpoint, AERO_FOREVER, &pages), -AERO_EINVAL);
        }
    }
    for (int i = 0; i < 2; i++) {
        struct aero_message pages = {.item = i ? one_page : AERO_MOVE(0, AERO_READ), .object = AREA + (i ? 8 : 0)};

        expect("message_send of nothing, and of a part of a page", aero_message_send(endpoint, AERO_FOREVER, &pages),
               -AERO_EINVAL);
    }
    EACH(bad, bad_protections)
        expect("message_accept with unknown handles", aero_message_accept(0, 0, bad), -AERO_EINVAL);
    expect("message_accept of no pages, anywhere", aero_message_accept(~0UL, 0, 1), 0);
    must("handle_close", aero_handle_close(endpoint));
}

/* None of these is a device or a domain; the calls say so whatever else they are given. */
static void device_calls_refuse(aero_handle process)
{
    uint64_t bad;

    EACH(bad, outside) {
        expect("domain_close of none", aero_domain_close(bad), -AERO_ESRCH);
        expect("domain_map of none", aero_domain_map(bad, bad, bad, bad, bad), -AERO_ESRCH);
        expect("domain_unmap of none", aero_domain_unmap(bad, bad, bad), -AERO_ESRCH);
        expect("device_attach of none", aero_device_attach(bad, bad), -AERO_ESRCH);
        expect("device_detach of none", aero_device_detach(bad), -AERO_ESRCH);
        expect("interrupt_bind of none", aero_interrupt_bind(bad, bad), -AERO_ESRCH);
        expect("device_map of none", aero_device_map(bad, bad, bad, bad, bad, bad), -AERO_ESRCH);
        expect("device_info of none", aero_device_info(bad, bad), -AERO_ESRCH);
        expect("device_reset of none", aero_device_reset(bad), -AERO_ESRCH);
    }
    expect("device_map of a process", aero_device_map(process, 0, 0, 1UL << 20, AERO_PAGE_SIZE, AERO_READ),
           -AERO_ESRCH);
    expect("device_info of a process", aero_device_info(process, 0), -AERO_ESRCH);
    expect("device_reset of a process", aero_device_reset(process), -AERO_ESRCH);
    expect("domain_close of a process", aero_domain_close(process), -AERO_ESRCH);
    expect("device_attach of a process", aero_device_attach(process, process), -AERO_ESRCH);
    expect("device_detach of a process", aero_device_detach(process), -AERO_ESRCH);
    expect("interrupt_bind of a process", aero_interrupt_bind(process, 0), -AERO_ESRCH);
}

static void unknown_calls_are_refused(void)
{
    static const uint64_t numbers[] = {
        0x1ffe, 0x1fff, AERO_USER_LAST, 0x3000, 0xffff, 0x7fffffff, 0x80000000UL, 0xffffffffUL,
        (1UL << 32) | AERO_CALL_null, (1UL << 63) | AERO_CALL_null, 1UL << 63, ~0UL, ~0UL - 4094, 0xfff,
    };
    uint64_t bad;

    EACH(bad, numbers) {
        expect("an unknown call", aero_syscall(bad, 0, 0, 0, 0, 0, 0), -AERO_ENOSYS);
        expect("an unknown call", aero_syscall(bad, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL, ~0UL), -AERO_ENOSYS);
    }
}

int main(void)
{
    aero_handle process;

    must("mmap", aero_mmap(AREA, AERO_PAGE_SIZE, AERO_READ | AERO_WRITE));
    process = (aero_handle)must("process_create", aero_process_create());
    debug_print_refuses();
    memory_calls_refuse();
    thread_calls_refuse(process);
    process_calls_refuse(process);
    container_calls_refuse(process);
    endpoint_calls_refuse(process);
    messages_refuse();
    device_calls_refuse(process);
    unknown_calls_are_refused();
    expect("null at the end", aero_null(), 0);
    return verdict("arguments");
}
