"""The native system calls: one table that yields the dispatch, the C header and the reference page.

Registers as in the Linux x86-64 convention: number in ``rax``; arguments in ``rdi rsi rdx r10 r8 r9``; the result in
``rax``, an error as ``-errno`` in [-4095, -1]; ``rcx`` and ``r11`` are lost.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from abi.errors import (
    EAGAIN,
    EBUSY,
    ECHILD,
    EDEADLK,
    EEXIST,
    EFAULT,
    EINVAL,
    EMSGSIZE,
    ENOMEM,
    ENOSPC,
    EPERM,
    EPIPE,
    EPROTO,
    ESRCH,
    ETIMEDOUT,
)


class Argument(NamedTuple):
    """One argument: its name, its C type, and what it means with unit and range."""

    name: str
    c_type: str
    meaning: str


class Call(NamedTuple):
    """One native system call.  ``name`` is the name of the transition, of the spec and of ``aero_<name>`` in C."""

    number: int
    name: str
    arguments: tuple[Argument, ...]
    result: str
    errors: tuple[tuple[int, str], ...]
    summary: str
    returns: bool = True
    words: str = ""
    """A message's words go "in", come "out", or "both"; registers as ``MESSAGE_WORDS`` says."""


MESSAGE_WORDS: Final = ("r8", "r9", "r12", "r13", "r14", "r15")
"""The registers of a message's words.  A message that is received also leaves in rdi the badge of the handle by which
it was sent, and in rdx and r10 what it carries (``item`` and ``object``)."""


def _u64(name: str, meaning: str) -> Argument:
    return Argument(name, "uint64_t", meaning)


def _pointer(name: str, meaning: str) -> Argument:
    return Argument(name, "const void *", meaning)


_ADDRESS = _u64("address", "first address, a multiple of 4096")
_LENGTH = _u64("length", "bytes, a positive multiple of 4096")
_PROTECTION = _u64("protection", "AERO_READ | AERO_WRITE | AERO_EXECUTE; WRITE and EXECUTE imply READ; 0 for none")
_HANDLE = _u64("handle", "a handle of the calling process")
_RANGE_ERROR = (EINVAL, "not page aligned, empty, or outside 0x10000 .. 0x7f7fffffffff")

_ENDPOINT = _u64("handle", "a handle of an endpoint")
_DOMAIN = _u64("handle", "a handle of an IOMMU domain")
_DEVICE = _u64("handle", "a handle of a device")
_RIGHTS = _u64("rights", "any sum of AERO_SEND, AERO_RECEIVE, AERO_GRANT that the handle has; GRANT allows passing on")
_TIMEOUT = _u64("timeout", "nanoseconds to wait at most; 0 not to wait; AERO_FOREVER")
_REPLY_TIMEOUT = _u64(
    "timeout", "nanoseconds to wait at most for a message, the reply waits for nobody; 0 not to wait; AERO_FOREVER"
)
_CALL_TIMEOUT = _u64(
    "timeout",
    "nanoseconds to wait at most, for the receiver and its reply together; 0 not to wait for a receiver, but for the "
    "reply of one that is there without limit; AERO_FOREVER",
)
_ITEM = _u64("item", "what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)")
_OBJECT = _u64("object", "the address of the pages, or the handle")
_CARRY_ERRORS = (
    (EINVAL, "no such item, a range that is not valid or cuts a large page, or a large page that is aligned otherwise"),
    (EPROTO, "the other side takes no such item, or no more handles"),
    (EMSGSIZE, "more pages than the other side takes, or more than 64 pages, of whichever size"),
    (EPERM, "more rights or permissions than the sender has, a handle without GRANT, or one that cannot send"),
    (EFAULT, "a page that it carries is not mapped"),
    (EEXIST, "the other side has something mapped there"),
    (EBUSY, "a page to be moved is mapped elsewhere too, or charged to another container; a device or domain in use"),
    (ENOMEM, "the other side's container has no quota for pages or page tables"),
)
_SEND_ERRORS = (
    (ESRCH, "no such handle, or not an endpoint's"),
    (EPIPE, "nobody can receive"),
    (EAGAIN, "nobody waits to receive, and the timeout is 0"),
    (ETIMEDOUT, "nobody received it, or replied, in time"),
    *_CARRY_ERRORS,
)
_RECEIVE_ERRORS = (
    (ESRCH, "no such handle, or not an endpoint's"),
    (EPERM, "the handle lacks RECEIVE"),
    (EBUSY, "the calling thread owes a reply"),
    (EPIPE, "nobody can send"),
    (EAGAIN, "no message is there, and the timeout is 0"),
    (ETIMEDOUT, "none came in time"),
)

CALLS: Final[tuple[Call, ...]] = (
    Call(0x1000, "null", (), "0", (), "Does nothing: the cost of entering the kernel."),
    Call(
        0x1001,
        "debug_print",
        (_pointer("text", "bytes to print"), _u64("length", "how many, at most 65536")),
        "the number of bytes printed",
        ((EINVAL, "length above 65536"), (EFAULT, "text is not readable throughout")),
        "Prints bytes on the standard output that the host gave the program.",
    ),
    Call(0x1002, "thread_yield", (), "0", (), "Lets the next ready thread of this core run."),
    Call(
        0x1003,
        "mmap",
        (_ADDRESS, _LENGTH, _PROTECTION),
        "0",
        (
            _RANGE_ERROR,
            (EINVAL, "unknown bits in protection"),
            (EEXIST, "a page of the range is mapped"),
            (ENOMEM, "the container's quota does not cover the pages and their page tables, or no longer does before "
             "all are mapped: then none stay"),
        ),
        "Maps zeroed pages at exactly this range.  Whole aligned 1 GiB and 2 MiB stretches are mapped by pages of that "
        "size while the quota has them.",
    ),
    Call(
        0x1004,
        "munmap",
        (_ADDRESS, _LENGTH),
        "0",
        (
            _RANGE_ERROR,
            (EFAULT, "a page of the range is not mapped"),
            (EINVAL, "the range cuts a 2 MiB or 1 GiB page"),
        ),
        "Removes the mappings.  A page that nothing maps any more is zeroed and its charge refunded.  Other threads "
        "run meanwhile; what they call on the same address space comes before or after the whole.",
    ),
    Call(
        0x1005,
        "mprotect",
        (_ADDRESS, _LENGTH, _PROTECTION),
        "0",
        (
            _RANGE_ERROR,
            (EINVAL, "unknown bits in protection, or the range cuts a 2 MiB or 1 GiB page"),
            (EFAULT, "a page of the range is not mapped"),
        ),
        "Changes what the program may do with the pages.",
    ),
    Call(
        0x1006,
        "thread_create",
        (
            _pointer("entry", "where the thread starts"),
            _pointer("stack", "its first stack pointer"),
            _u64("argument", "given to it in rdi"),
        ),
        "a handle of the new thread",
        (
            (EINVAL, "entry or stack outside the program's addresses"),
            (EBUSY, "the calling process is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the thread's page"),
        ),
        "Creates a ready thread in the calling process.",
    ),
    Call(
        0x1007,
        "thread_exit",
        (_u64("status", "what thread_join returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling thread; the last one of a process ends the process with this status.",
        returns=False,
    ),
    Call(
        0x1008,
        "thread_join",
        (_HANDLE,),
        "the thread's exit status",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EBUSY, "another thread waits for it"),
            (EDEADLK, "it is the calling thread"),
        ),
        "Waits until the thread has ended, and closes the handle.",
    ),
    Call(
        0x1009,
        "process_create",
        (),
        "a handle of the new process",
        (
            (EBUSY, "the calling process or its container is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the process's page and its root table"),
        ),
        "Creates a child process in the caller's container: an empty address space, no thread.  A process that was not "
        "started ends with its parent.",
    ),
    Call(
        0x100A,
        "process_share",
        (
            _HANDLE,
            _ADDRESS,
            _LENGTH,
            _u64("destination", "where the child sees them, a multiple of 4096"),
            _PROTECTION,
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "the process has ended"),
            _RANGE_ERROR,
            (EINVAL, "protection wider than the caller's own, or a 2 MiB or 1 GiB page cut or not aligned alike"),
            (EFAULT, "a page of the source is not mapped"),
            (EEXIST, "a page of the destination is mapped"),
            (ENOMEM, "no quota for the child's page tables"),
        ),
        "Maps the caller's own pages in a child process as well: both see the same memory.",
    ),
    Call(
        0x100B,
        "process_start",
        (
            _HANDLE,
            _pointer("entry", "where its first thread starts"),
            _pointer("stack", "its first stack pointer"),
            _u64("argument", "given to it in rdi"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "the process has ended"),
            (EBUSY, "the process has a thread already"),
            (EINVAL, "entry or stack outside the program's addresses"),
            (ENOMEM, "no quota for the thread's page"),
        ),
        "Creates the first thread of a child process.",
    ),
    Call(
        0x100C,
        "process_exit",
        (_u64("status", "what process_wait returns; the low 32 bits"),),
        "does not return",
        (),
        "Ends the calling process: all its threads, its address space, its charges, and the containers that it "
        "created.  Its children go on: they pass to its parent, and to nobody if it has none.",
        returns=False,
    ),
    Call(
        0x100D,
        "process_wait",
        (_HANDLE,),
        "the process's exit status",
        (
            (ESRCH, "no such handle, or not a process's"),
            (EBUSY, "another thread waits for it"),
            (EINVAL, "the process was never started"),
        ),
        "Waits until the child process has ended, and closes the handle.",
    ),
    Call(
        0x100E,
        "container_create",
        (
            _u64("pages", "4 KiB pages it may use"),
            _u64("blocks", "2 MiB blocks it may use"),
            _u64("giants", "1 GiB giants it may use"),
            _u64("cores", "cores it owns, of those that the caller's container does; 0: it uses the caller's"),
        ),
        "a handle of the new container",
        (
            (EBUSY, "the calling process or its container is ending"),
            (ENOSPC, "no free handle, or the tree of containers would be deeper than 128"),
            (ENOMEM, "the caller's container has not that much, and a page for the container itself"),
            (ENOMEM, "it does not own that many cores, and one that it keeps"),
        ),
        "Creates a container below the caller's, with a quota and cores taken out of the caller's own; threads placed "
        "on those cores move to others.  It is killed at the latest when the calling process ends.",
    ),
    Call(
        0x100F,
        "container_kill",
        (_HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "it is ending already"),
        ),
        "Ends a container with all below it: every process, every page.  It returns when all is gone and the quota is "
        "back; if its thread is ended before, the rest goes on all the same.  Pages that others still map pass to the "
        "caller's container.",
    ),
    Call(
        0x1010,
        "process_create_in",
        (_HANDLE,),
        "a handle of the new process",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EBUSY, "the container, or the calling process, is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "the container has no quota for the process's page and its root table"),
        ),
        "Creates a process in a container below the caller's: an empty address space, no thread.  It has no parent "
        "there: it ends when it exits, is killed by this handle, or its container is.",
    ),
    Call(
        0x1011,
        "endpoint_create",
        (),
        "a handle of the new endpoint, with all rights",
        (
            (EBUSY, "the caller's container is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the endpoint's page"),
        ),
        "Creates an endpoint: where threads that have handles to it meet to pass messages.",
    ),
    Call(
        0x1012,
        "handle_copy",
        (_ENDPOINT, _RIGHTS, _u64("badge", "what receivers are told of messages sent by the copy; 0: as the handle's")),
        "a handle of the same endpoint",
        (
            (ESRCH, "no such handle, or not an endpoint's"),
            (EPERM, "no rights, more than the handle has, or a badge where the handle has one"),
            (EINVAL, "a badge of 2^63 or more"),
            (ENOSPC, "no free handle"),
        ),
        "Makes another handle of the calling process to an endpoint, with some of the rights.",
    ),
    Call(
        0x1013,
        "handle_close",
        (_ENDPOINT,),
        "0",
        ((ESRCH, "no such handle, or not an endpoint's"),),
        "Closes a handle to an endpoint.  With the last that can receive, those who wait to send get EPIPE, and the "
        "other way round; with the last of all the endpoint is gone.",
    ),
    Call(
        0x1014,
        "handle_give",
        (_u64("process", "a handle of a child that has not started"), _ENDPOINT, _RIGHTS),
        "the child's handle of the endpoint, for the parent to tell it",
        (
            (ESRCH, "no such handle, or not a process's, or not an endpoint's, device's or domain's"),
            (EBUSY, "the child has started, or the device or domain is in use"),
            (EPERM, "an endpoint's handle lacks GRANT, or no rights, or more than it has; rights for another object"),
            (ENOSPC, "the child has no free handle"),
            (ENOMEM, "the child's container has no quota for the device's or domain's page"),
        ),
        "Gives a child a handle to an endpoint; or a device or domain, which the caller then has no more.",
    ),
    Call(
        0x1015,
        "message_accept",
        (
            _u64("address", "where pages that a message carries are mapped, a multiple of 4096"),
            _u64("length", "how much at most, in bytes, a multiple of 4096; 0: no pages"),
            _u64("handles", "1 to take handles that messages carry, 0 not to"),
        ),
        "0",
        ((EINVAL, "not page aligned, outside 0x10000 .. 0x7f7fffffffff, or handles above 1"),),
        "Says what the calling thread takes besides words, with messages and replies to come.  The address is good "
        "for pages once.",
    ),
    Call(
        0x1016,
        "message_send",
        (_ENDPOINT, _TIMEOUT, _ITEM, _OBJECT),
        "0",
        (*_SEND_ERRORS,),
        "Sends a message and waits until a thread has received it.",
        words="in",
    ),
    Call(
        0x1017,
        "message_call",
        (_ENDPOINT, _CALL_TIMEOUT, _ITEM, _OBJECT),
        "0, with the reply's words, and what it carries",
        (*_SEND_ERRORS,),
        "Sends a message and waits for the reply of the thread that receives it; the core switches to that thread "
        "directly where it waits on the same one.  EPIPE also means that it ended without a reply.",
        words="both",
    ),
    Call(
        0x1018,
        "message_receive",
        (_ENDPOINT, _TIMEOUT),
        "0 with a message; a positive number of signals (expiries of a timer, interrupts) without one",
        (*_RECEIVE_ERRORS,),
        "Receives the next message of an endpoint, or waits for one.  First come, first served.",
        words="out",
    ),
    Call(
        0x1019,
        "message_reply",
        (_ITEM, _OBJECT),
        "0",
        ((ESRCH, "nobody waits for a reply of the calling thread"), *_CARRY_ERRORS),
        "Replies to the call that the calling thread received last.  With an error the caller waits on.",
        words="in",
    ),
    Call(
        0x101A,
        "message_reply_receive",
        (_ENDPOINT, _REPLY_TIMEOUT, _ITEM, _OBJECT),
        "as message_receive",
        (
            (ESRCH, "nobody waits for a reply of the calling thread, no such handle, or not an endpoint's"),
            *_CARRY_ERRORS,
            (EAGAIN, "the reply is sent, there is no message, and the timeout is 0"),
            (ETIMEDOUT, "the reply is sent, and no message came in time"),
            (EPIPE, "the reply is sent, and nobody can send to the endpoint"),
        ),
        "Replies, and receives the next message: a server's one call for each request.",
        words="both",
    ),
    Call(
        0x101B,
        "pager_set",
        (
            _u64("process", "a handle of a child process; 0 for the calling process"),
            _u64("handle", "a handle of an endpoint that can send; 0 for no pager"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a process's or not an endpoint's"),
            (EPERM, "the handle lacks SEND"),
            (EBUSY, "the process has a pager already, or is ending"),
        ),
        "Has page faults of a process become messages: words 0 to 2 are the address, 1 for reading, 2 for writing or 4 "
        "for executing, and the program counter.  The reply's word 0 is 0 for the thread to try again, and the page it "
        "carries, if any, is mapped at the fault; any other word 0 is the end of the process.",
    ),
    Call(
        0x101C,
        "timer_set",
        (
            _u64("handle", "a handle of an endpoint that can receive"),
            _u64("first", "nanoseconds until it expires; 0 for no timer any more"),
            _u64("period", "nanoseconds between further expiries, at least 1,000,000; 0 for none"),
        ),
        "0",
        ((ESRCH, "no such handle, or not an endpoint's"), (EPERM, "the handle lacks RECEIVE")),
        "Binds a timer to an endpoint, in place of the one it had: message_receive returns when it expires.",
    ),
    Call(
        0x1020,
        "thread_kill",
        (_HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (EINVAL, "it is the calling thread"),
            (ECHILD, "it has ended"),
        ),
        "Ends another thread of the calling process, whatever it does, with status 137.  The handle stays open until "
        "thread_join.",
    ),
    Call(
        0x1021,
        "process_kill",
        (_HANDLE,),
        "0",
        (
            (ESRCH, "no such handle, or not a process's"),
            (ECHILD, "it has ended"),
        ),
        "Ends a process with all its descendants, and the containers that they created, whatever they do; its status "
        "is 137.  It returns when all is gone.  The handle stays open until process_wait.",
    ),
    Call(
        0x1022,
        "thread_affinity",
        (
            _u64("handle", "a handle of a thread of the calling process; 0: the calling thread"),
            _u64("core", "which core: 0 for the first of those that the container uses"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a thread's"),
            (ECHILD, "the thread has ended"),
            (EINVAL, "the container does not use that many cores"),
        ),
        "Moves a thread to another core, where it stays until it is moved again or the core is given to a container.",
    ),
    Call(
        0x1023,
        "container_query",
        (
            _u64("handle", "a handle of a container; 0: the caller's own"),
            _u64("what", "one of AERO_QUERY_..."),
        ),
        "the number asked for",
        (
            (ESRCH, "no such handle, or not a container's"),
            (EINVAL, "no such question"),
        ),
        "Tells one number about a container: what it may still use, what it uses, its cores, its place in the tree.",
    ),
    Call(
        0x1030,
        "domain_create",
        (),
        "a handle of the new domain",
        (
            (EBUSY, "the caller's container is ending"),
            (ENOSPC, "no free handle"),
            (ENOMEM, "no quota for the domain's page"),
        ),
        "Creates an IOMMU domain: the memory that devices attached to it can reach; none at first.",
    ),
    Call(
        0x1031,
        "domain_close",
        (_DOMAIN,),
        "0",
        ((ESRCH, "no such handle, or not a domain's"), (EBUSY, "it maps something, or a device is attached to it")),
        "Ends an empty IOMMU domain.",
    ),
    Call(
        0x1032,
        "domain_map",
        (
            _DOMAIN,
            _ADDRESS,
            _LENGTH,
            _u64("iova", "where devices find it, a multiple of 4096 below 2^48"),
            _u64("protection", "AERO_READ, or AERO_READ | AERO_WRITE"),
        ),
        "0",
        (
            (ESRCH, "no such handle, or not a domain's"),
            (EINVAL, "a range or iova that is not valid, a 2 MiB page cut or aligned otherwise, another protection"),
            (EFAULT, "a page of the range is not mapped, or is a 1 GiB page"),
            (EPERM, "devices would be allowed more than the caller is"),
            (EEXIST, "something is mapped at iova"),
            (ENOSPC, "more than 64 pages and blocks, or more than 65535 in the domain"),
        ),
        "Lets the devices of a domain reach memory of the caller.  What is unmapped here stays until it is unmapped "
        "there too.",
    ),
    Call(
        0x1033,
        "domain_unmap",
        (_DOMAIN, _u64("iova", "a multiple of 4096"), _LENGTH),
        "0",
        (
            (ESRCH, "no such handle, or not a domain's"),
            (EINVAL, "not page aligned, empty, or the range cuts a 2 MiB page"),
            (EFAULT, "a page of the range is not mapped"),
            (ENOSPC, "more than 64 pages and blocks"),
        ),
        "Takes memory from the devices of a domain.",
    ),
    Call(
        0x1034,
        "device_attach",
        (_DEVICE, _u64("domain", "a handle of a domain")),
        "0",
        ((ESRCH, "no such handles, or not a device's and a domain's"), (EBUSY, "the device is attached")),
        "Lets a device reach the memory of a domain.",
    ),
    Call(
        0x1035,
        "device_detach",
        (_DEVICE,),
        "0",
        ((ESRCH, "no such handle, or not a device's"), (EINVAL, "the device is not attached")),
        "Has a device reach no memory any more.",
    ),
    Call(
        0x1036,
        "interrupt_bind",
        (_DEVICE, _u64("endpoint", "a handle of an endpoint that can receive; 0 for none any more")),
        "0",
        (
            (ESRCH, "no such handles, or not a device's and an endpoint's"),
            (EPERM, "the endpoint's handle lacks RECEIVE"),
            (EBUSY, "the device's interrupts are bound"),
        ),
        "Has the interrupts of a device signalled at an endpoint, where message_receive returns their number.",
    ),
)

BY_NUMBER: Final[dict[int, Call]] = {call.number: call for call in CALLS}
BY_NAME: Final[dict[str, Call]] = {call.name: call for call in CALLS}
