/* The small things of aero.h.  No C library, no Linux calls. */
#include "aero.h"

#include <elf.h>

#define PRINT_MOST 65536UL /* what one debug_print takes */

/* Stacks of spawned threads: one slot each, its lower part left unmapped so that an overflow faults. */
#define STACK_AREA 0x600000000000UL
#define STACK_SLOT (1UL << 20)

const char *aero_error_name(int64_t result)
{
    switch (result < 0 ? -result : result) {
    case 0: return "no error";
    case AERO_EPERM: return "EPERM";
    case AERO_ESRCH: return "ESRCH";
    case AERO_EINTR: return "EINTR";
    case AERO_ECHILD: return "ECHILD";
    case AERO_EAGAIN: return "EAGAIN";
    case AERO_ENOMEM: return "ENOMEM";
    case AERO_EFAULT: return "EFAULT";
    case AERO_EBUSY: return "EBUSY";
    case AERO_EEXIST: return "EEXIST";
    case AERO_EINVAL: return "EINVAL";
    case AERO_ENOSPC: return "ENOSPC";
    case AERO_EPIPE: return "EPIPE";
    case AERO_EDEADLK: return "EDEADLK";
    case AERO_ENOSYS: return "ENOSYS";
    case AERO_EPROTO: return "EPROTO";
    case AERO_EMSGSIZE: return "EMSGSIZE";
    case AERO_ETIMEDOUT: return "ETIMEDOUT";
    default: return result >= 0 ? "no error" : "unknown error";
    }
}

/* --- Printing --- */

static int64_t print_bytes(const char *text, uint64_t length)
{
    while (length > 0) {
        int64_t printed = aero_debug_print(text, length < PRINT_MOST ? length : PRINT_MOST);

        if (aero_failed(printed))
            return printed;
        text += printed;
        length -= (uint64_t)printed;
    }
    return 0;
}

int64_t aero_print(const char *text)
{
    uint64_t length = 0;

    while (text[length])
        length++;
    return print_bytes(text, length);
}

static int64_t print_digits(uint64_t number, uint64_t base, const char *prefix)
{
    char text[24];
    char *first = text + sizeof text;

    do {
        *--first = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    /* The prefix is short and goes in front, so that one call prints all. */
    for (size_t i = prefix[0] ? (prefix[1] ? 2 : 1) : 0; i > 0; i--)
        *--first = prefix[i - 1];
    return print_bytes(first, (uint64_t)(text + sizeof text - first));
}

int64_t aero_print_number(int64_t number)
{
    return number < 0 ? print_digits(-(uint64_t)number, 10, "-") : print_digits((uint64_t)number, 10, "");
}

int64_t aero_print_hex(uint64_t number)
{
    return print_digits(number, 16, "0x");
}

int64_t aero_must(int64_t result, const char *what)
{
    if (aero_failed(result)) {
        aero_print(what);
        aero_print(": ");
        aero_print(aero_error_name(result));
        aero_print("\n");
        aero_process_exit(1);
    }
    return result;
}

/* --- Threads and processes --- */

/* A new thread starts here with rdi = argument and the function on top of its stack: the kernel passes one argument
 * only.  The function's result is the exit status, by the call whose number lies above the function. */
void aero_trampoline(void);

__asm__(".text\n"
        ".globl aero_trampoline\n"
        ".hidden aero_trampoline\n"
        ".type aero_trampoline, @function\n"
        "aero_trampoline:\n"
        "    xor %ebp, %ebp\n" /* the outermost frame */
        "    pop %rax\n"
        "    call *%rax\n"
        "    mov %eax, %edi\n"
        "    pop %rax\n"
        "    syscall\n"
        "    ud2\n"
        ".size aero_trampoline, . - aero_trampoline\n");

/* Puts the function and the exit call on a stack; returns the stack pointer to start with.  After the trampoline's
 * pop the stack is a multiple of 16, as a call instruction needs it. */
static void *prepare_stack(uint64_t top, int (*function)(void *), uint64_t exit_call)
{
    uint64_t *stack = (uint64_t *)top;

    *--stack = 0;
    *--stack = exit_call;
    *--stack = (uint64_t)function;
    return stack;
}

/* The top of a slot that no other stack has, in this process or in those that share its global variables. */
static uint64_t next_stack_top(void)
{
    static uint64_t slots;

    return STACK_AREA + (__atomic_fetch_add(&slots, 1, __ATOMIC_RELAXED) + 1) * STACK_SLOT;
}

int64_t aero_thread_spawn(struct aero_thread *thread, int (*function)(void *), void *argument)
{
    uint64_t top = next_stack_top();
    int64_t result;

    thread->stack = top - AERO_STACK_SIZE;
    result = aero_mmap(thread->stack, AERO_STACK_SIZE, AERO_READ | AERO_WRITE);
    if (aero_failed(result))
        return result;
    result = aero_thread_create((const void *)aero_trampoline,
                                prepare_stack(top, function, AERO_CALL_thread_exit), (uint64_t)argument);
    if (aero_failed(result)) {
        aero_munmap(thread->stack, AERO_STACK_SIZE);
        return result;
    }
    thread->handle = (aero_handle)result;
    return 0;
}

int64_t aero_thread_wait(struct aero_thread *thread)
{
    int64_t status = aero_thread_join(thread->handle);

    if (!aero_failed(status))
        aero_munmap(thread->stack, AERO_STACK_SIZE);
    return status;
}

/* By the linker: the program's ELF header. */
extern const Elf64_Ehdr __ehdr_start __attribute__((visibility("hidden")));

/* Shares the segments of the program; with `only_code` those that cannot be written. */
static int64_t share_segments(aero_handle process, bool only_code)
{
    const Elf64_Phdr *headers = (const Elf64_Phdr *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    uint64_t bias = 0;

    if (__ehdr_start.e_type == ET_DYN)
        bias = (uint64_t)&__ehdr_start;
    for (int i = 0; i < __ehdr_start.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers[i];
        uint64_t first = (bias + segment->p_vaddr) & ~(AERO_PAGE_SIZE - 1);
        uint64_t end = aero_round_to_pages(bias + segment->p_vaddr + segment->p_memsz);
        uint64_t protection = AERO_READ;
        int64_t result;

        if (segment->p_type != PT_LOAD || segment->p_memsz == 0 || (only_code && (segment->p_flags & PF_W)))
            continue;
        if (segment->p_flags & PF_W)
            protection |= AERO_WRITE;
        if (segment->p_flags & PF_X)
            protection |= AERO_EXECUTE;
        result = aero_process_share(process, first, end - first, first, protection);
        if (aero_failed(result))
            return result;
    }
    return 0;
}

int64_t aero_process_share_program(aero_handle process)
{
    return share_segments(process, false);
}

int64_t aero_process_share_code(aero_handle process)
{
    return share_segments(process, true);
}

int64_t aero_process_run(aero_handle process, int (*function)(void *), void *argument, uint64_t stack_top)
{
    return aero_process_start(process, (const void *)aero_trampoline,
                              prepare_stack(stack_top, function, AERO_CALL_process_exit), (uint64_t)argument);
}

/* Maps the program and a stack in a child that was just created. */
static int64_t furnish(struct aero_child *child, bool only_code)
{
    const uint64_t both = AERO_READ | AERO_WRITE;
    int64_t result = share_segments(child->process, only_code);

    if (aero_failed(result))
        return result;
    child->stack = next_stack_top() - AERO_CHILD_STACK_SIZE;
    result = aero_mmap(child->stack, AERO_CHILD_STACK_SIZE, both);
    if (aero_failed(result))
        return result;
    result = aero_process_share(child->process, child->stack, AERO_CHILD_STACK_SIZE, child->stack, both);
    if (aero_failed(result))
        aero_munmap(child->stack, AERO_CHILD_STACK_SIZE);
    return result;
}

static int64_t create_child(struct aero_child *child, aero_handle container, bool only_code)
{
    int64_t result = container ? aero_process_create_in(container) : aero_process_create();

    if (aero_failed(result))
        return result;
    child->process = (aero_handle)result;
    result = furnish(child, only_code);
    if (aero_failed(result)) {
        aero_process_kill(child->process);
        aero_process_wait(child->process);
        return result;
    }
    return 0;
}

int64_t aero_child_create(struct aero_child *child, aero_handle container)
{
    return create_child(child, container, false);
}

int64_t aero_child_create_apart(struct aero_child *child, aero_handle container)
{
    return create_child(child, container, true);
}

int64_t aero_child_start(struct aero_child *child, int (*function)(void *), void *argument)
{
    return aero_process_run(child->process, function, argument, child->stack + AERO_CHILD_STACK_SIZE);
}

int64_t aero_child_wait(struct aero_child *child)
{
    int64_t status = aero_process_wait(child->process);

    if (!aero_failed(status))
        aero_munmap(child->stack, AERO_CHILD_STACK_SIZE);
    return status;
}

/* --- Locks --- */

void aero_lock_take(struct aero_lock *lock)
{
    for (unsigned tries = 0; __atomic_exchange_n(&lock->held, 1, __ATOMIC_ACQUIRE); tries++) {
        /* Read until it looks free: a failed exchange takes the cache line from the holder each time. */
        while (__atomic_load_n(&lock->held, __ATOMIC_RELAXED)) {
            if (++tries % 128 == 0)
                aero_thread_yield();
            else
                __builtin_ia32_pause();
        }
    }
}

void aero_lock_release(struct aero_lock *lock)
{
    __atomic_store_n(&lock->held, 0, __ATOMIC_RELEASE);
}
