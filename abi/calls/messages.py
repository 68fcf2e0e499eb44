"""Calls on endpoints and messages, pagers and timers."""

from __future__ import annotations

from typing import Final

from abi.calls.call import Call, u64
from abi.errors import (
    EAGAIN,
    EBUSY,
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

_ENDPOINT = u64("handle", "a handle of an endpoint")
_RIGHTS = u64("rights", "any sum of AERO_SEND, AERO_RECEIVE, AERO_GRANT that the handle has; GRANT allows passing on")
_TIMEOUT = u64("timeout", "nanoseconds to wait at most; 0 not to wait; AERO_FOREVER")
_REPLY_TIMEOUT = u64(
    "timeout", "nanoseconds to wait at most for a message, the reply waits for nobody; 0 not to wait; AERO_FOREVER"
)
_CALL_TIMEOUT = u64(
    "timeout",
    "nanoseconds to wait at most, for the receiver and its reply together; 0 not to wait for a receiver, but for the "
    "reply of one that is there without limit; AERO_FOREVER",
)
_ITEM = u64("item", "what it carries: 0, AERO_SHARE(length, protection), AERO_MOVE(the same), AERO_HANDLE(rights)")
_OBJECT = u64("object", "the address of the pages, or the handle")
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

MESSAGES: Final[tuple[Call, ...]] = (
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
        (_ENDPOINT, _RIGHTS, u64("badge", "what receivers are told of messages sent by the copy; 0: as the handle's")),
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
        (u64("process", "a handle of a child that has not started"), _ENDPOINT, _RIGHTS),
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
            u64("address", "where pages that a message carries are mapped, a multiple of 4096"),
            u64("length", "how much at most, in bytes, a multiple of 4096; 0: no pages"),
            u64("handles", "1 to take handles that messages carry, 0 not to"),
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
            u64("process", "a handle of a child process; 0 for the calling process"),
            u64("handle", "a handle of an endpoint that can send; 0 for no pager"),
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
            u64("handle", "a handle of an endpoint that can receive"),
            u64("first", "nanoseconds until it expires; 0 for no timer any more"),
            u64("period", "nanoseconds between further expiries, at least 1,000,000; 0 for none"),
        ),
        "0",
        ((ESRCH, "no such handle, or not an endpoint's"), (EPERM, "the handle lacks RECEIVE")),
        "Binds a timer to an endpoint, in place of the one it had: message_receive returns when it expires.",
    ),
)

__all__ = ["MESSAGES"]
