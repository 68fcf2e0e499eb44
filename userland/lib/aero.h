/* The C interface of aerostat for native programs.
 *
 * aero_abi.h has one inline stub a system call (aero_null, aero_mmap, aero_thread_create ...), with what each takes
 * and returns.  This header adds the little that nearly every program wants on top.  Link with libaero.a; nothing in
 * it needs a C library or makes a Linux call.
 *
 * A program without any C library, as it runs in a container without the Linux personality:
 *     gcc -ffreestanding -fno-stack-protector -nostdlib -static -no-pie -Ilib prog.c start.o -laero -laeromem
 * A program on musl, which makes Linux calls of its own:
 *     musl-gcc -static -Ilib prog.c -laero
 */
#ifndef AERO_H
#define AERO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aero_abi.h"

/* Names an object (a thread, a process) to the kernel.  Valid in the process that got it, until it is closed. */
typedef uint64_t aero_handle;

/* Whether a call's result is an error, that is -AERO_Exxx. */
static inline bool aero_failed(int64_t result)
{
    return result < 0 && result >= -4095;
}

/* Ends the process with status 1 when a call failed, after a line that says which and why: "what: ENOMEM".  Returns the
 * result otherwise.  For programs that cannot go on without it. */
int64_t aero_must(int64_t result, const char *what);

/* "ENOMEM" for -AERO_ENOMEM (or AERO_ENOMEM); "no error" for 0 and above the errors; "unknown error" otherwise. */
const char *aero_error_name(int64_t result);

/* --- Printing --- */

/* Prints a string on the program's standard output.  Returns 0 or an error of aero_debug_print. */
int64_t aero_print(const char *text);

/* Prints a number in decimal, or in hexadecimal with 0x before it. */
int64_t aero_print_number(int64_t number);
int64_t aero_print_hex(uint64_t number);

/* --- Memory --- */

/* A multiple of the page size that is at least `bytes`. */
static inline uint64_t aero_round_to_pages(uint64_t bytes)
{
    return (bytes + AERO_PAGE_SIZE - 1) & ~(AERO_PAGE_SIZE - 1);
}

/* --- Threads --- */

#define AERO_STACK_SIZE (256UL << 10)

/* A thread made by aero_thread_spawn. */
struct aero_thread {
    aero_handle handle;
    uint64_t stack; /* lowest address of its stack */
};

/* Starts a thread that calls function(argument) on a stack of its own (AERO_STACK_SIZE, unmapped pages below it) and
 * ends with what the function returns.  The thread has no thread-local storage: it must not call functions of a C
 * library that use errno, locks or buffers.
 * Returns 0, or an error of aero_mmap or aero_thread_create. */
int64_t aero_thread_spawn(struct aero_thread *thread, int (*function)(void *), void *argument);

/* Waits until the thread has ended and unmaps its stack.  Returns its status, 0 to 0xffffffff, or an error. */
int64_t aero_thread_wait(struct aero_thread *thread);

/* --- Processes --- */

/* Maps the calling program's own segments in a child process at the same addresses and with the same permissions:
 * its code runs there, and both see the same global variables.  For programs without a C library: one that has made
 * part of its data read-only gets -AERO_EINVAL. */
int64_t aero_process_share_program(aero_handle process);

/* As aero_process_share_program, but without what can be written: the child has no global variables, only its stack.
 * For children that are not to see each other's memory, nor the parent's. */
int64_t aero_process_share_code(aero_handle process);

/* Starts function(argument) as a child's first thread, on the stack whose last byte is at stack_top - 1, a multiple of
 * 16, and mapped in both processes.  The child ends with what the function returns.  Returns 0, or an error. */
int64_t aero_process_run(aero_handle process, int (*function)(void *), void *argument, uint64_t stack_top);

#define AERO_CHILD_STACK_SIZE (16UL << 10)

/* A child process made by aero_child_create, or one of the two below it. */
struct aero_child {
    aero_handle process;
    uint64_t stack; /* lowest address of its stack */
};

/* Creates a child that shares the program, and its global variables, with the caller, and has a stack of its own
 * (AERO_CHILD_STACK_SIZE, at the same address in both); it does not run yet, so that it can be given memory, handles
 * and a pager first.  `container` is where it is created: a handle, or 0 for the caller's own.
 * Returns 0, or an error of the calls it makes. */
int64_t aero_child_create(struct aero_child *child, aero_handle container);

/* As aero_child_create, but the child gets code and constants only (aero_process_share_code). */
int64_t aero_child_create_apart(struct aero_child *child, aero_handle container);

/* Starts function(argument) in it; the child ends with what the function returns.  Returns 0, or an error. */
int64_t aero_child_start(struct aero_child *child, int (*function)(void *), void *argument);

/* Waits until it has ended and unmaps its stack.  Returns its status, 0 to 0xffffffff, or an error. */
int64_t aero_child_wait(struct aero_child *child);

/* --- Endpoints --- */

/* The handle to the endpoint that the machine's description calls `name` (docs/machine-files.md), as the environment
 * variable AERO_ENDPOINT_NAME has it.  Returns the handle, or -AERO_ESRCH if this program was given none. */
int64_t aero_endpoint(const char *name);

/* --- Devices --- */

/* The handle to the device that the machine's description, or `aerostat run --device`, calls `name`, as the environment
 * variable AERO_DEVICE_NAME has it.  Returns the handle, or -AERO_ESRCH if this program was given none. */
int64_t aero_device(const char *name);

/* --- Locks --- */

/* A spin lock, also between processes that share the page it lies in.  Zero is unlocked. */
struct aero_lock {
    uint32_t held;
};

/* Takes the lock: spins a little, then yields the core between tries, since its holder may wait for that core. */
void aero_lock_take(struct aero_lock *lock);
void aero_lock_release(struct aero_lock *lock);

#endif
