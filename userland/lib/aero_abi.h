/* Generated from abi/calls/ by `python -m abi.header --write`: do not edit.
 *
 * The native system calls of aerostat: one inline stub a call.  A stub returns what the kernel returns: a value, or
 * -AERO_Exxx in [-4095, -1] (aero_failed() in aero.h tells).  No stub needs a C library, and none touches errno.
 */
#ifndef AERO_ABI_H
#define AERO_ABI_H

#include <stdint.h>

/* Pages, and the addresses a program can map. */
#define AERO_PAGE_SIZE               4096UL
#define AERO_BLOCK_SIZE              2097152UL
#define AERO_GIANT_SIZE              1073741824UL
#define AERO_USER_MIN                0x10000UL
#define AERO_USER_END                0x7f8000000000UL
#define AERO_SYSTEM_BASE             0x7f8000000000UL

/* Permissions of a mapping; WRITE and EXECUTE imply READ. */
#define AERO_NONE                    0UL
#define AERO_READ                    1UL
#define AERO_WRITE                   2UL
#define AERO_EXECUTE                 4UL

/* Errors: the values of Linux's errno.  A call returns them negated. */
#define AERO_EPERM                   1
#define AERO_ESRCH                   3
#define AERO_EINTR                   4
#define AERO_EIO                     5
#define AERO_ECHILD                  10
#define AERO_EAGAIN                  11
#define AERO_ENOMEM                  12
#define AERO_EFAULT                  14
#define AERO_EBUSY                   16
#define AERO_EEXIST                  17
#define AERO_EINVAL                  22
#define AERO_ENOSPC                  28
#define AERO_EPIPE                   32
#define AERO_EDEADLK                 35
#define AERO_ENOSYS                  38
#define AERO_EPROTO                  71
#define AERO_EMSGSIZE                90
#define AERO_ETIMEDOUT               110

/* Numbers.  Below AERO_NATIVE_FIRST: Linux's calls; from AERO_USER_FIRST: those the host's user defines. */
#define AERO_NATIVE_FIRST            0x1000UL
#define AERO_USER_FIRST              0x2000UL
#define AERO_USER_LAST               0x2fffUL
#define AERO_CALL_null               0x1000UL
#define AERO_CALL_debug_print        0x1001UL
#define AERO_CALL_thread_yield       0x1002UL
#define AERO_CALL_mmap               0x1003UL
#define AERO_CALL_munmap             0x1004UL
#define AERO_CALL_mprotect           0x1005UL
#define AERO_CALL_thread_create      0x1006UL
#define AERO_CALL_thread_exit        0x1007UL
#define AERO_CALL_thread_join        0x1008UL
#define AERO_CALL_process_create     0x1009UL
#define AERO_CALL_process_share      0x100aUL
#define AERO_CALL_process_start      0x100bUL
#define AERO_CALL_process_exit       0x100cUL
#define AERO_CALL_process_wait       0x100dUL
#define AERO_CALL_container_create   0x100eUL
#define AERO_CALL_container_kill     0x100fUL
#define AERO_CALL_process_create_in  0x1010UL
#define AERO_CALL_endpoint_create    0x1011UL
#define AERO_CALL_handle_copy        0x1012UL
#define AERO_CALL_handle_close       0x1013UL
#define AERO_CALL_handle_give        0x1014UL
#define AERO_CALL_message_accept     0x1015UL
#define AERO_CALL_message_send       0x1016UL
#define AERO_CALL_message_call       0x1017UL
#define AERO_CALL_message_receive    0x1018UL
#define AERO_CALL_message_reply      0x1019UL
#define AERO_CALL_message_reply_receive 0x101aUL
#define AERO_CALL_pager_set          0x101bUL
#define AERO_CALL_timer_set          0x101cUL
#define AERO_CALL_thread_kill        0x1020UL
#define AERO_CALL_process_kill       0x1021UL
#define AERO_CALL_thread_affinity    0x1022UL
#define AERO_CALL_container_query    0x1023UL
#define AERO_CALL_domain_create      0x1030UL
#define AERO_CALL_domain_close       0x1031UL
#define AERO_CALL_domain_map         0x1032UL
#define AERO_CALL_domain_unmap       0x1033UL
#define AERO_CALL_device_attach      0x1034UL
#define AERO_CALL_device_detach      0x1035UL
#define AERO_CALL_interrupt_bind     0x1036UL
#define AERO_CALL_device_map         0x1037UL
#define AERO_CALL_device_info        0x1038UL
#define AERO_CALL_device_reset       0x1039UL

/* What aero_container_query tells. */
#define AERO_QUERY_PAGES_LEFT        0UL /* 4 KiB pages it may still use (blocks that are left can become pages) */
#define AERO_QUERY_PAGES_USED        1UL /* 4 KiB pages it is charged for */
#define AERO_QUERY_BLOCKS_LEFT       2UL /* 2 MiB blocks it may still use */
#define AERO_QUERY_BLOCKS_USED       3UL /* 2 MiB blocks it is charged for */
#define AERO_QUERY_GIANTS_LEFT       4UL /* 1 GiB giants it may still use */
#define AERO_QUERY_GIANTS_USED       5UL /* 1 GiB giants it is charged for */
#define AERO_QUERY_CORES             6UL /* cores its threads can be placed on */
#define AERO_QUERY_CORES_OWNED       7UL /* cores it owns; without any it uses those of the nearest container above that does */
#define AERO_QUERY_DEPTH             8UL /* containers above it */
#define AERO_QUERY_PROCESSES         9UL /* processes in it */
#define AERO_QUERY_CONTAINERS        10UL /* containers directly below it */

/* What aero_device_info tells. */
#define AERO_DEVICE_IDENTITY         0x0UL /* PCI vendor id in bits 0 to 15, device id in bits 16 to 31 */
#define AERO_DEVICE_CLASS            0x1UL /* PCI class code, 24 bits: 0x010802 is NVMe, 0x020000 Ethernet */
#define AERO_DEVICE_REGIONS          0x2UL /* regions of registers (BARs), those of size 0 included */
#define AERO_DEVICE_VECTORS          0x3UL /* interrupt vectors */
#define AERO_DEVICE_REGION_SIZE      0x100000000UL /* plus the number of a region: its bytes, 0 where there is none */
#define AERO_DEVICE_INTERRUPTS       0x200000000UL /* plus the number of a vector: interrupts of it since the caller got the device */

/* Any call by number.  Registers: number rax; arguments rdi rsi rdx r10 r8 r9; result rax; rcx and r11 are lost. */
static inline int64_t aero_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                                   uint64_t f)
{
    int64_t result;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* Rights of a handle to an endpoint. */
#define AERO_SEND 1UL
#define AERO_RECEIVE 2UL
#define AERO_GRANT 4UL

/* What a message carries besides its words. */
#define AERO_SHARE(length, protection) (1UL | (uint64_t)(protection) << 4 | (uint64_t)(length))
#define AERO_MOVE(length, protection) (2UL | (uint64_t)(protection) << 4 | (uint64_t)(length))
#define AERO_HANDLE(rights) (3UL | (uint64_t)(rights) << 4)
#define AERO_ITEM_KIND(item) ((item) & 15UL) /* 1 pages shared, 2 pages moved, 3 a handle */
#define AERO_ITEM_LENGTH(item) ((item) & ~(AERO_PAGE_SIZE - 1))
#define AERO_FOREVER (~0UL)

/* A message.  To send: words, item, object.  Received: these, and the badge of the handle by which it was sent. */
struct aero_message {
    uint64_t words[6];
    uint64_t item;
    uint64_t object; /* the address of pages, or a handle */
    uint64_t badge;
};

/* A call with a message: arguments rdi rsi rdx r10; words r8 r9 r12 r13 r14 r15; received: badge rdi, item rdx, object
 * r10. */
static inline int64_t aero_message_syscall(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                                           struct aero_message *message, int receives)
{
    int64_t result = (int64_t)number;
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = message->words[0];
    register uint64_t r9 __asm__("r9") = message->words[1];
    register uint64_t r12 __asm__("r12") = message->words[2];
    register uint64_t r13 __asm__("r13") = message->words[3];
    register uint64_t r14 __asm__("r14") = message->words[4];
    register uint64_t r15 __asm__("r15") = message->words[5];

    __asm__ volatile("syscall"
                     : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9), "+r"(r12), "+r"(r13),
                       "+r"(r14), "+r"(r15)
                     :
                     : "rcx", "r11", "memory");
    if (receives && result == 0) {
        *message = (struct aero_message){{r8, r9, r12, r13, r14, r15}, c, r10, a};
    }
    return result;
}

/* Does nothing: the cost of entering the kernel.
 * Returns 0. */
static inline int64_t aero_null(void)
{
    return aero_syscall(AERO_CALL_null, 0, 0, 0, 0, 0, 0);
}

/* Prints bytes on the standard output that the host gave the program.
 *   text: bytes to print
 *   length: how many, at most 65536
 * Returns the number of bytes printed, or
 *   -AERO_EINVAL: length above 65536
 *   -AERO_EFAULT: text is not readable throughout */
static inline int64_t aero_debug_print(const void *text, uint64_t length)
{
    return aero_syscall(AERO_CALL_debug_print, (uint64_t)text, length, 0, 0, 0, 0);
}

/* Lets the next ready thread of this core run.
 * Returns 0. */
static inline int64_t aero_thread_yield(void)
{
    return aero_syscall(AERO_CALL_thread_yield, 0, 0, 0, 0, 0, 0);
}

/* Maps zeroed pages at exactly this range.  Whole aligned 1 GiB and 2 MiB stretches are mapped by pages of that
 * size while the quota has them.
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 *   protection: AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none
 * Returns 0, or
 *   -AERO_EINVAL: not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff
 *   -AERO_EINVAL: unknown bits in protection
 *   -AERO_EEXIST: a page of the range is mapped
 *   -AERO_ENOMEM: the container's quota does not cover the pages and their page tables, or no longer does before all are mapped: then none stay */
static inline int64_t aero_mmap(uint64_t address, uint64_t length, uint64_t protection)
{
    return aero_syscall(AERO_CALL_mmap, address, length, protection, 0, 0, 0);
}

/* Removes the mappings.  A page that nothing maps any more is zeroed and its charge refunded.  Other threads run
 * meanwhile; what they call on the same address space comes before or after the whole.
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 * Returns 0, or
 *   -AERO_EINVAL: not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff
 *   -AERO_EFAULT: a page of the range is not mapped
 *   -AERO_EINVAL: the range cuts a 2 MiB or 1 GiB page */
static inline int64_t aero_munmap(uint64_t address, uint64_t length)
{
    return aero_syscall(AERO_CALL_munmap, address, length, 0, 0, 0, 0);
}

/* Changes what the program may do with the pages.
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 *   protection: AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none
 * Returns 0, or
 *   -AERO_EINVAL: not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff
 *   -AERO_EINVAL: unknown bits in protection, or the range cuts a 2 MiB or 1 GiB page
 *   -AERO_EFAULT: a page of the range is not mapped */
static inline int64_t aero_mprotect(uint64_t address, uint64_t length, uint64_t protection)
{
    return aero_syscall(AERO_CALL_mprotect, address, length, protection, 0, 0, 0);
}

/* Creates a ready thread in the calling process.
 *   entry: where the thread starts
 *   stack: its first stack pointer
 *   argument: given to it in rdi
 * Returns a handle of the new thread, or
 *   -AERO_EINVAL: entry or stack outside the program's addresses
 *   -AERO_EBUSY: the calling process is ending
 *   -AERO_ENOSPC: no free handle
 *   -AERO_ENOMEM: no quota for the thread's page */
static inline int64_t aero_thread_create(const void *entry, const void *stack, uint64_t argument)
{
    return aero_syscall(AERO_CALL_thread_create, (uint64_t)entry, (uint64_t)stack, argument, 0, 0, 0);
}

/* Ends the calling thread; the last one of a process ends the process with this status.
 *   status: what thread_join returns; the low 32 bits */
static inline _Noreturn void aero_thread_exit(uint64_t status)
{
    aero_syscall(AERO_CALL_thread_exit, status, 0, 0, 0, 0, 0);
    __builtin_trap();
}

/* Waits until the thread has ended, and closes the handle.
 *   handle: a handle of the calling process
 * Returns the thread's exit status, or
 *   -AERO_ESRCH: no such handle, or not a thread's
 *   -AERO_EBUSY: another thread waits for it
 *   -AERO_EDEADLK: it is the calling thread */
static inline int64_t aero_thread_join(uint64_t handle)
{
    return aero_syscall(AERO_CALL_thread_join, handle, 0, 0, 0, 0, 0);
}

/* Creates a child process in the caller's container: an empty address space, no thread.  A process that was not
 * started ends with its parent.
 * Returns a handle of the new process, or
 *   -AERO_EBUSY: the calling process or its container is ending
 *   -AERO_ENOSPC: no free handle
 *   -AERO_ENOMEM: no quota for the process's page and its root table */
static inline int64_t aero_process_create(void)
{
    return aero_syscall(AERO_CALL_process_create, 0, 0, 0, 0, 0, 0);
}

/* Maps the caller's own pages in a child process as well: both see the same memory.
 *   handle: a handle of the calling process
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 *   destination: where the child sees them, a multiple of 4096
 *   protection: AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a process's
 *   -AERO_ECHILD: the process has ended
 *   -AERO_EINVAL: not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff
 *   -AERO_EINVAL: protection wider than the caller's own, or a 2 MiB or 1 GiB page cut or not aligned alike
 *   -AERO_EFAULT: a page of the source is not mapped
 *   -AERO_EEXIST: a page of the destination is mapped
 *   -AERO_ENOMEM: no quota for the child's page tables */
static inline int64_t aero_process_share(uint64_t handle, uint64_t address, uint64_t length, uint64_t destination, uint64_t protection)
{
    return aero_syscall(AERO_CALL_process_share, handle, address, length, destination, protection, 0);
}

/* Creates the first thread of a child process.
 *   handle: a handle of the calling process
 *   entry: where its first thread starts
 *   stack: its first stack pointer
 *   argument: given to it in rdi
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a process's
 *   -AERO_ECHILD: the process has ended
 *   -AERO_EBUSY: the process has a thread already
 *   -AERO_EINVAL: entry or stack outside the program's addresses
 *   -AERO_ENOMEM: no quota for the thread's page */
static inline int64_t aero_process_start(uint64_t handle, const void *entry, const void *stack, uint64_t argument)
{
    return aero_syscall(AERO_CALL_process_start, handle, (uint64_t)entry, (uint64_t)stack, argument, 0, 0);
}

/* Ends the calling process: all its threads, its address space, its charges, and the containers that it created.
 * Its children go on: they pass to its parent, and to nobody if it has none.
 *   status: what process_wait returns; the low 32 bits */
static inline _Noreturn void aero_process_exit(uint64_t status)
{
    aero_syscall(AERO_CALL_process_exit, status, 0, 0, 0, 0, 0);
    __builtin_trap();
}

/* Waits until the child process has ended, and closes the handle.
 *   handle: a handle of the calling process
 * Returns the process's exit status, or
 *   -AERO_ESRCH: no such handle, or not a process's
 *   -AERO_EBUSY: another thread waits for it
 *   -AERO_EINVAL: the process was never started */
static inline int64_t aero_process_wait(uint64_t handle)
{
    return aero_syscall(AERO_CALL_process_wait, handle, 0, 0, 0, 0, 0);
}

/* Creates a container below the caller's, with a quota and cores taken out of the caller's own; threads placed
 * on those cores move to others.  It is killed at the latest when the calling process ends.
 *   pages: 4 KiB pages it may use
 *   blocks: 2 MiB blocks it may use
 *   giants: 1 GiB giants it may use
 *   cores: cores it owns, of those that the caller's container does; 0: it uses the caller's
 * Returns a handle of the new container, or
 *   -AERO_EBUSY: the calling process or its container is ending
 *   -AERO_ENOSPC: no free handle, or the tree of containers would be deeper than 128
 *   -AERO_ENOMEM: the caller's container has not that much, and a page for the container itself
 *   -AERO_ENOMEM: it does not own that many cores, and one that it keeps */
static inline int64_t aero_container_create(uint64_t pages, uint64_t blocks, uint64_t giants, uint64_t cores)
{
    return aero_syscall(AERO_CALL_container_create, pages, blocks, giants, cores, 0, 0);
}

/* Ends a container with all below it: every process, every page.  It returns when all is gone and the quota is
 * back; if its thread is ended before, the rest goes on all the same.  Pages that others still map pass to the
 * caller's container.
 *   handle: a handle of the calling process
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a container's
 *   -AERO_EBUSY: it is ending already */
static inline int64_t aero_container_kill(uint64_t handle)
{
    return aero_syscall(AERO_CALL_container_kill, handle, 0, 0, 0, 0, 0);
}

/* Creates a process in a container below the caller's: an empty address space, no thread.  It has no parent
 * there: it ends when it exits, is killed by this handle, or its container is.
 *   handle: a handle of the calling process
 * Returns a handle of the new process, or
 *   -AERO_ESRCH: no such handle, or not a container's
 *   -AERO_EBUSY: the container, or the calling process, is ending
 *   -AERO_ENOSPC: no free handle
 *   -AERO_ENOMEM: the container has no quota for the process's page and its root table */
static inline int64_t aero_process_create_in(uint64_t handle)
{
    return aero_syscall(AERO_CALL_process_create_in, handle, 0, 0, 0, 0, 0);
}

/* Creates an endpoint: where threads that have handles to it meet to pass messages.
 * Returns a handle of the new endpoint, with all rights, or
 *   -AERO_EBUSY: the caller's container is ending
 *   -AERO_ENOSPC: no free handle
 *   -AERO_ENOMEM: no quota for the endpoint's page */
static inline int64_t aero_endpoint_create(void)
{
    return aero_syscall(AERO_CALL_endpoint_create, 0, 0, 0, 0, 0, 0);
}

/* Makes another handle of the calling process to an endpoint, with some of the rights.
 *   handle: a handle of an endpoint
 *   rights: any sum of AERO_SEND, AERO_RECEIVE, AERO_GRANT that the handle has; GRANT allows passing on
 *   badge: what receivers are told of messages sent by the copy; 0: as the handle's
 * Returns a handle of the same endpoint, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's
 *   -AERO_EPERM: no rights, more than the handle has, or a badge where the handle has one
 *   -AERO_EINVAL: a badge of 2^63 or more
 *   -AERO_ENOSPC: no free handle */
static inline int64_t aero_handle_copy(uint64_t handle, uint64_t rights, uint64_t badge)
{
    return aero_syscall(AERO_CALL_handle_copy, handle, rights, badge, 0, 0, 0);
}

/* Closes a handle to an endpoint.  With the last that can receive, those who wait to send get EPIPE, and the
 * other way round; with the last of all the endpoint is gone.
 *   handle: a handle of an endpoint
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's */
static inline int64_t aero_handle_close(uint64_t handle)
{
    return aero_syscall(AERO_CALL_handle_close, handle, 0, 0, 0, 0, 0);
}

/* Gives a child a handle to an endpoint; or a device or domain, which the caller then has no more.
 *   process: a handle of a child that has not started
 *   handle: a handle of an endpoint
 *   rights: any sum of AERO_SEND, AERO_RECEIVE, AERO_GRANT that the handle has; GRANT allows passing on
 * Returns the child's handle of the endpoint, for the parent to tell it, or
 *   -AERO_ESRCH: no such handle, or not a process's, or not an endpoint's, device's or domain's
 *   -AERO_EBUSY: the child has started, or the device or domain is in use
 *   -AERO_EPERM: an endpoint's handle lacks GRANT, or no rights, or more than it has; rights for another object
 *   -AERO_ENOSPC: the child has no free handle
 *   -AERO_ENOMEM: the child's container has no quota for the device's or domain's page */
static inline int64_t aero_handle_give(uint64_t process, uint64_t handle, uint64_t rights)
{
    return aero_syscall(AERO_CALL_handle_give, process, handle, rights, 0, 0, 0);
}

/* Says what the calling thread takes besides words, with messages and replies to come.  The address is good for
 * pages once.
 *   address: where pages that a message carries are mapped, a multiple of 4096
 *   length: how much at most, in bytes, a multiple of 4096; 0: no pages
 *   handles: 1 to take handles that messages carry, 0 not to
 * Returns 0, or
 *   -AERO_EINVAL: not page aligned, outside 0x10000 .. 0x7f7fffffffff, or handles above 1 */
static inline int64_t aero_message_accept(uint64_t address, uint64_t length, uint64_t handles)
{
    return aero_syscall(AERO_CALL_message_accept, address, length, handles, 0, 0, 0);
}

/* Sends a message and waits until a thread has received it.
 *   handle: a handle of an endpoint
 *   timeout: nanoseconds to wait at most; 0 not to wait; AERO_FOREVER
 *   item: what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)
 *   object: the address of the pages, or the handle
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's
 *   -AERO_EPIPE: nobody can receive
 *   -AERO_EAGAIN: nobody waits to receive, and the timeout is 0
 *   -AERO_ETIMEDOUT: nobody received it, or replied, in time
 *   -AERO_EINVAL: no such item, a range that is not valid or cuts a large page, or a large page that is aligned otherwise
 *   -AERO_EPROTO: the other side takes no such item, or no more handles
 *   -AERO_EMSGSIZE: more pages than the other side takes, or more than 64 pages, of whichever size
 *   -AERO_EPERM: more rights or permissions than the sender has, a handle without GRANT, or one that cannot send
 *   -AERO_EFAULT: a page that it carries is not mapped
 *   -AERO_EEXIST: the other side has something mapped there
 *   -AERO_EBUSY: a page to be moved is mapped elsewhere too, or charged to another container; a device or domain in use
 *   -AERO_ENOMEM: the other side's container has no quota for pages or page tables */
static inline int64_t aero_message_send(uint64_t handle, uint64_t timeout, struct aero_message *message)
{
    return aero_message_syscall(AERO_CALL_message_send, handle, timeout, message->item, message->object, message, 0);
}

/* Sends a message and waits for the reply of the thread that receives it; the core switches to that thread
 * directly where it waits on the same one.  EPIPE also means that it ended without a reply.
 *   handle: a handle of an endpoint
 *   timeout: nanoseconds to wait at most, for the receiver and its reply together; 0 not to wait for a receiver, but for the reply of one that is there without limit; AERO_FOREVER
 *   item: what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)
 *   object: the address of the pages, or the handle
 * Returns 0, with the reply's words, and what it carries, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's
 *   -AERO_EPIPE: nobody can receive
 *   -AERO_EAGAIN: nobody waits to receive, and the timeout is 0
 *   -AERO_ETIMEDOUT: nobody received it, or replied, in time
 *   -AERO_EINVAL: no such item, a range that is not valid or cuts a large page, or a large page that is aligned otherwise
 *   -AERO_EPROTO: the other side takes no such item, or no more handles
 *   -AERO_EMSGSIZE: more pages than the other side takes, or more than 64 pages, of whichever size
 *   -AERO_EPERM: more rights or permissions than the sender has, a handle without GRANT, or one that cannot send
 *   -AERO_EFAULT: a page that it carries is not mapped
 *   -AERO_EEXIST: the other side has something mapped there
 *   -AERO_EBUSY: a page to be moved is mapped elsewhere too, or charged to another container; a device or domain in use
 *   -AERO_ENOMEM: the other side's container has no quota for pages or page tables */
static inline int64_t aero_message_call(uint64_t handle, uint64_t timeout, struct aero_message *message)
{
    return aero_message_syscall(AERO_CALL_message_call, handle, timeout, message->item, message->object, message, 1);
}

/* Receives the next message of an endpoint, or waits for one.  First come, first served.
 *   handle: a handle of an endpoint
 *   timeout: nanoseconds to wait at most; 0 not to wait; AERO_FOREVER
 * Returns 0 with a message; a positive number of signals (expiries of a timer, interrupts) without one, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's
 *   -AERO_EPERM: the handle lacks RECEIVE
 *   -AERO_EBUSY: the calling thread owes a reply
 *   -AERO_EPIPE: nobody can send
 *   -AERO_EAGAIN: no message is there, and the timeout is 0
 *   -AERO_ETIMEDOUT: none came in time */
static inline int64_t aero_message_receive(uint64_t handle, uint64_t timeout, struct aero_message *message)
{
    return aero_message_syscall(AERO_CALL_message_receive, handle, timeout, 0, 0, message, 1);
}

/* Replies to the call that the calling thread received last.  With an error the caller waits on.
 *   item: what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)
 *   object: the address of the pages, or the handle
 * Returns 0, or
 *   -AERO_ESRCH: nobody waits for a reply of the calling thread
 *   -AERO_EINVAL: no such item, a range that is not valid or cuts a large page, or a large page that is aligned otherwise
 *   -AERO_EPROTO: the other side takes no such item, or no more handles
 *   -AERO_EMSGSIZE: more pages than the other side takes, or more than 64 pages, of whichever size
 *   -AERO_EPERM: more rights or permissions than the sender has, a handle without GRANT, or one that cannot send
 *   -AERO_EFAULT: a page that it carries is not mapped
 *   -AERO_EEXIST: the other side has something mapped there
 *   -AERO_EBUSY: a page to be moved is mapped elsewhere too, or charged to another container; a device or domain in use
 *   -AERO_ENOMEM: the other side's container has no quota for pages or page tables */
static inline int64_t aero_message_reply(struct aero_message *message)
{
    return aero_message_syscall(AERO_CALL_message_reply, message->item, message->object, 0, 0, message, 0);
}

/* Replies, and receives the next message: a server's one call for each request.
 *   handle: a handle of an endpoint
 *   timeout: nanoseconds to wait at most for a message, the reply waits for nobody; 0 not to wait; AERO_FOREVER
 *   item: what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)
 *   object: the address of the pages, or the handle
 * Returns as message_receive, or
 *   -AERO_ESRCH: nobody waits for a reply of the calling thread, no such handle, or not an endpoint's
 *   -AERO_EINVAL: no such item, a range that is not valid or cuts a large page, or a large page that is aligned otherwise
 *   -AERO_EPROTO: the other side takes no such item, or no more handles
 *   -AERO_EMSGSIZE: more pages than the other side takes, or more than 64 pages, of whichever size
 *   -AERO_EPERM: more rights or permissions than the sender has, a handle without GRANT, or one that cannot send
 *   -AERO_EFAULT: a page that it carries is not mapped
 *   -AERO_EEXIST: the other side has something mapped there
 *   -AERO_EBUSY: a page to be moved is mapped elsewhere too, or charged to another container; a device or domain in use
 *   -AERO_ENOMEM: the other side's container has no quota for pages or page tables
 *   -AERO_EAGAIN: the reply is sent, there is no message, and the timeout is 0
 *   -AERO_ETIMEDOUT: the reply is sent, and no message came in time
 *   -AERO_EPIPE: the reply is sent, and nobody can send to the endpoint */
static inline int64_t aero_message_reply_receive(uint64_t handle, uint64_t timeout, struct aero_message *message)
{
    return aero_message_syscall(AERO_CALL_message_reply_receive, handle, timeout, message->item, message->object, message, 1);
}

/* Has page faults of a process become messages: words 0 to 2 are the address, 1 for reading, 2 for writing or 4
 * for executing, and the program counter.  The reply's word 0 is 0 for the thread to try again, and the page it
 * carries, if any, is mapped at the fault; any other word 0 is the end of the process.
 *   process: a handle of a child process; 0 for the calling process
 *   handle: a handle of an endpoint that can send; 0 for no pager
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a process's or not an endpoint's
 *   -AERO_EPERM: the handle lacks SEND
 *   -AERO_EBUSY: the process has a pager already, or is ending */
static inline int64_t aero_pager_set(uint64_t process, uint64_t handle)
{
    return aero_syscall(AERO_CALL_pager_set, process, handle, 0, 0, 0, 0);
}

/* Binds a timer to an endpoint, in place of the one it had: message_receive returns when it expires.
 *   handle: a handle of an endpoint that can receive
 *   first: nanoseconds until it expires; 0 for no timer any more
 *   period: nanoseconds between further expiries, at least 1,000,000; 0 for none
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not an endpoint's
 *   -AERO_EPERM: the handle lacks RECEIVE */
static inline int64_t aero_timer_set(uint64_t handle, uint64_t first, uint64_t period)
{
    return aero_syscall(AERO_CALL_timer_set, handle, first, period, 0, 0, 0);
}

/* Ends another thread of the calling process, whatever it does, with status 137.  The handle stays open until
 * thread_join.
 *   handle: a handle of the calling process
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a thread's
 *   -AERO_EINVAL: it is the calling thread
 *   -AERO_ECHILD: it has ended */
static inline int64_t aero_thread_kill(uint64_t handle)
{
    return aero_syscall(AERO_CALL_thread_kill, handle, 0, 0, 0, 0, 0);
}

/* Ends a process with all its descendants, and the containers that they created, whatever they do; its status is
 * 137.  It returns when all is gone.  The handle stays open until process_wait.
 *   handle: a handle of the calling process
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a process's
 *   -AERO_ECHILD: it has ended */
static inline int64_t aero_process_kill(uint64_t handle)
{
    return aero_syscall(AERO_CALL_process_kill, handle, 0, 0, 0, 0, 0);
}

/* Moves a thread to another core, where it stays until it is moved again or the core is given to a container.
 *   handle: a handle of a thread of the calling process; 0: the calling thread
 *   core: which core: 0 for the first of those that the container uses
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a thread's
 *   -AERO_ECHILD: the thread has ended
 *   -AERO_EINVAL: the container does not use that many cores */
static inline int64_t aero_thread_affinity(uint64_t handle, uint64_t core)
{
    return aero_syscall(AERO_CALL_thread_affinity, handle, core, 0, 0, 0, 0);
}

/* Tells one number about a container: what it may still use, what it uses, its cores, its place in the tree.
 *   handle: a handle of a container; 0: the caller's own
 *   what: one of AERO_QUERY_...
 * Returns the number asked for, or
 *   -AERO_ESRCH: no such handle, or not a container's
 *   -AERO_EINVAL: no such question */
static inline int64_t aero_container_query(uint64_t handle, uint64_t what)
{
    return aero_syscall(AERO_CALL_container_query, handle, what, 0, 0, 0, 0);
}

/* Creates an IOMMU domain: the memory that devices attached to it can reach; none at first.
 * Returns a handle of the new domain, or
 *   -AERO_EBUSY: the caller's container is ending
 *   -AERO_ENOSPC: no free handle
 *   -AERO_ENOMEM: no quota for the domain's page */
static inline int64_t aero_domain_create(void)
{
    return aero_syscall(AERO_CALL_domain_create, 0, 0, 0, 0, 0, 0);
}

/* Ends an empty IOMMU domain.
 *   handle: a handle of an IOMMU domain
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a domain's
 *   -AERO_EBUSY: it maps something, or a device is attached to it */
static inline int64_t aero_domain_close(uint64_t handle)
{
    return aero_syscall(AERO_CALL_domain_close, handle, 0, 0, 0, 0, 0);
}

/* Lets the devices of a domain reach memory of the caller.  What is unmapped here stays until it is unmapped
 * there too.
 *   handle: a handle of an IOMMU domain
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 *   iova: where devices find it, a multiple of 4096 below 2^48
 *   protection: AERO_READ, or AERO_READ | AERO_WRITE
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a domain's
 *   -AERO_EINVAL: a range or iova that is not valid, a 2 MiB page cut or aligned otherwise, another protection
 *   -AERO_EFAULT: a page of the range is not mapped, is a 1 GiB page, or registers
 *   -AERO_EPERM: devices would be allowed more than the caller is
 *   -AERO_EEXIST: something is mapped at iova
 *   -AERO_ENOSPC: more than 64 pages and blocks, more than 65535 in the domain, or than the hardware takes
 *   -AERO_EIO: the hardware of an attached device cannot map there */
static inline int64_t aero_domain_map(uint64_t handle, uint64_t address, uint64_t length, uint64_t iova, uint64_t protection)
{
    return aero_syscall(AERO_CALL_domain_map, handle, address, length, iova, protection, 0);
}

/* Takes memory from the devices of a domain.
 *   handle: a handle of an IOMMU domain
 *   iova: a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a domain's
 *   -AERO_EINVAL: not page aligned, empty, or the range cuts a 2 MiB page
 *   -AERO_EFAULT: a page of the range is not mapped
 *   -AERO_ENOSPC: more than 64 pages and blocks */
static inline int64_t aero_domain_unmap(uint64_t handle, uint64_t iova, uint64_t length)
{
    return aero_syscall(AERO_CALL_domain_unmap, handle, iova, length, 0, 0, 0);
}

/* Lets a device reach the memory of a domain.
 *   handle: a handle of a device
 *   domain: a handle of a domain
 * Returns 0, or
 *   -AERO_ESRCH: no such handles, or not a device's and a domain's
 *   -AERO_EBUSY: the device is attached
 *   -AERO_ENOSPC: the domain maps more than the hardware's IOMMU takes
 *   -AERO_EIO: the hardware cannot map something where the domain does */
static inline int64_t aero_device_attach(uint64_t handle, uint64_t domain)
{
    return aero_syscall(AERO_CALL_device_attach, handle, domain, 0, 0, 0, 0);
}

/* Has a device reach no memory any more.
 *   handle: a handle of a device
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a device's
 *   -AERO_EINVAL: the device is not attached */
static inline int64_t aero_device_detach(uint64_t handle)
{
    return aero_syscall(AERO_CALL_device_detach, handle, 0, 0, 0, 0, 0);
}

/* Has the interrupts of a device signalled at an endpoint, where message_receive returns their number.
 *   handle: a handle of a device
 *   endpoint: a handle of an endpoint that can receive; 0 for none any more
 * Returns 0, or
 *   -AERO_ESRCH: no such handles, or not a device's and an endpoint's
 *   -AERO_EPERM: the endpoint's handle lacks RECEIVE
 *   -AERO_EBUSY: the device's interrupts are bound */
static inline int64_t aero_interrupt_bind(uint64_t handle, uint64_t endpoint)
{
    return aero_syscall(AERO_CALL_interrupt_bind, handle, endpoint, 0, 0, 0, 0);
}

/* Maps registers of a device.  They are charged, shared, protected and unmapped as memory is, but are never
 * executable, and are accessed 1, 2, 4 or 8 bytes at a time.  When the device passes on, is removed or its
 * holder ends, loads give all ones and stores vanish.
 *   handle: a handle of a device
 *   region: the number of a region of registers (a BAR)
 *   offset: in it, a multiple of 4096
 *   address: first address, a multiple of 4096
 *   length: bytes, a positive multiple of 4096
 *   protection: AERO_READ, or AERO_READ | AERO_WRITE
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a device's
 *   -AERO_EINVAL: a range that is not valid, beyond the region, another protection
 *   -AERO_EEXIST: something is mapped in the range
 *   -AERO_ENOMEM: no quota for the pages, or for page tables
 *   -AERO_ENOSPC: more than 64 pages, or 64 such mappings of the device */
static inline int64_t aero_device_map(uint64_t handle, uint64_t region, uint64_t offset, uint64_t address, uint64_t length, uint64_t protection)
{
    return aero_syscall(AERO_CALL_device_map, handle, region, offset, address, length, protection);
}

/* Tells of a device: what it is, its regions of registers, its interrupts.
 *   handle: a handle of a device
 *   what: one of AERO_DEVICE_*
 * Returns the number, or
 *   -AERO_ESRCH: no such handle, or not a device's
 *   -AERO_EINVAL: what is none of these, or a region or vector that there is not */
static inline int64_t aero_device_info(uint64_t handle, uint64_t what)
{
    return aero_syscall(AERO_CALL_device_info, handle, what, 0, 0, 0, 0);
}

/* Resets a device: its registers are as at power-on, nothing is in progress.  What it is attached to stays.
 *   handle: a handle of a device
 * Returns 0, or
 *   -AERO_ESRCH: no such handle, or not a device's
 *   -AERO_EBUSY: it is being reset
 *   -AERO_EIO: the hardware cannot be reset */
static inline int64_t aero_device_reset(uint64_t handle)
{
    return aero_syscall(AERO_CALL_device_reset, handle, 0, 0, 0, 0, 0);
}

#endif
