"""The C header and the reference page, generated from the table of native calls.

    python -m abi.header --write     rewrites userland/lib/aero_abi.h and docs/syscalls.md
    python -m abi.header             says whether they are current (exit status 1 when not)
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Final

from abi import device_queries, errors, layout, queries
from abi.calls import CALLS, MESSAGE_WORDS, Argument, Call

ROOT: Final = Path(__file__).resolve().parent.parent
HEADER: Final = ROOT / "userland" / "lib" / "aero_abi.h"
REFERENCE: Final = ROOT / "docs" / "syscalls.md"

_CARRIED: Final = {"item": "message->item", "object": "message->object"}
"""Arguments that in C are in the message."""
_REGISTERS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")

_HEADER_TOP: Final = """\
/* Generated from abi/calls/ by `python -m abi.header --write`: do not edit.
 *
 * The native system calls of aerostat: one inline stub a call.  A stub returns what the kernel returns: a value, or
 * -AERO_Exxx in [-4095, -1] (aero_failed() in aero.h tells).  No stub needs a C library, and none touches errno.
 */
#ifndef AERO_ABI_H
#define AERO_ABI_H

#include <stdint.h>
"""

_SYSCALL_STUB: Final = """\
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
"""


_MESSAGE_STUB: Final = """\
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
"""


def c_header() -> str:
    """The text of aero_abi.h."""
    parts = [_HEADER_TOP]
    parts.append(
        "/* Pages, and the addresses a program can map. */\n"
        + _define("AERO_PAGE_SIZE", f"{layout.PAGE_SIZE}UL")
        + _define("AERO_BLOCK_SIZE", f"{layout.BLOCK_SIZE}UL")
        + _define("AERO_GIANT_SIZE", f"{layout.GIANT_SIZE}UL")
        + _define("AERO_USER_MIN", f"{layout.USER_MIN:#x}UL")
        + _define("AERO_USER_END", f"{layout.USER_END:#x}UL")
        + _define("AERO_SYSTEM_BASE", f"{layout.SYSTEM_BASE:#x}UL")
    )
    parts.append(
        "/* Permissions of a mapping; WRITE and EXECUTE imply READ. */\n"
        + _define("AERO_NONE", "0UL")
        + _define("AERO_READ", f"{layout.READ}UL")
        + _define("AERO_WRITE", f"{layout.WRITE}UL")
        + _define("AERO_EXECUTE", f"{layout.EXECUTE}UL")
    )
    parts.append(
        "/* Errors: the values of Linux's errno.  A call returns them negated. */\n"
        + "".join(_define(f"AERO_{errors.NAMES[value]}", str(value)) for value in _used_errors())
    )
    parts.append(
        "/* Numbers.  Below AERO_NATIVE_FIRST: Linux's calls; from AERO_USER_FIRST: those the host's user defines. */\n"
        + _define("AERO_NATIVE_FIRST", f"{layout.NATIVE_FIRST:#x}UL")
        + _define("AERO_USER_FIRST", f"{layout.USER_FIRST:#x}UL")
        + _define("AERO_USER_LAST", f"{layout.USER_LAST:#x}UL")
        + "".join(_define(f"AERO_CALL_{call.name}", f"{call.number:#x}UL") for call in CALLS)
    )
    parts.append(
        "/* What aero_container_query tells. */\n"
        + "".join(
            f"{_define(f'AERO_QUERY_{name}', f'{number}UL')[:-1]} /* {meaning} */\n"
            for name, (number, meaning) in queries.MEANINGS.items()
        )
    )
    parts.append(
        "/* What aero_device_info tells. */\n"
        + "".join(
            f"{_define(f'AERO_DEVICE_{name}', f'{number:#x}UL')[:-1]} /* {meaning} */\n"
            for name, (number, meaning) in device_queries.MEANINGS.items()
        )
    )
    parts.append(_SYSCALL_STUB)
    parts.append(_MESSAGE_STUB)
    parts += [_stub(call) for call in CALLS]
    parts.append("#endif\n")
    return "\n".join(parts)


def _used_errors() -> list[int]:
    used = {value for call in CALLS for value, _ in call.errors}
    return sorted(used | {errors.ENOSYS, errors.EINTR, errors.EAGAIN, errors.EPERM})


def _define(name: str, value: str) -> str:
    return f"#define {name:<28} {value}\n"


def _message_stub(call: Call, comment: str) -> str:
    """A call with a message: ``item`` and ``object`` are the message's."""
    own = [argument for argument in call.arguments if argument.name not in _CARRIED]
    parameters = ", ".join([*(_parameter(argument) for argument in own), "struct aero_message *message"])
    values = [_CARRIED.get(argument.name, argument.name) for argument in call.arguments]
    values += ["0"] * (4 - len(values))
    receives = int(call.words in ("out", "both"))
    return (
        f"{comment}\nstatic inline int64_t aero_{call.name}({parameters})\n{{\n    return aero_message_syscall("
        f"AERO_CALL_{call.name}, {', '.join(values)}, message, {receives});\n}}\n"
    )


def _stub(call: Call) -> str:
    lines = textwrap.wrap(call.summary, 110)
    lines += [f"  {argument.name}: {argument.meaning}" for argument in call.arguments]
    if call.returns:
        lines.append(f"Returns {call.result}, or")
        lines += [f"  -AERO_{errors.NAMES[value]}: {reason}" for value, reason in call.errors]
        if not call.errors:
            lines[-1] = f"Returns {call.result}."
    comment = "/* " + "\n * ".join(lines) + " */"
    if call.words: return _message_stub(call, comment)
    parameters = ", ".join(_parameter(argument) for argument in call.arguments) or "void"
    values = [
        f"(uint64_t){argument.name}" if "*" in argument.c_type else argument.name for argument in call.arguments
    ]
    values += ["0"] * (len(_REGISTERS) - len(values))
    invocation = f"aero_syscall(AERO_CALL_{call.name}, {', '.join(values)});"
    if call.returns:
        return f"{comment}\nstatic inline int64_t aero_{call.name}({parameters})\n{{\n    return {invocation}\n}}\n"
    # Elsewhere (on plain Linux, say) the number is unknown and the call comes back: trap rather than run on.
    return (
        f"{comment}\nstatic inline _Noreturn void aero_{call.name}({parameters})\n"
        f"{{\n    {invocation}\n    __builtin_trap();\n}}\n"
    )


def _parameter(argument: Argument) -> str:
    space = "" if argument.c_type.endswith("*") else " "
    return f"{argument.c_type}{space}{argument.name}"


def reference_page() -> str:
    """The text of docs/syscalls.md."""
    lines = [
        "# Native system calls",
        "",
        "Generated from `abi/calls/` by `python -m abi.header --write`: do not edit.",
        "",
        "Instruction `syscall`; number in `rax`; arguments in `rdi rsi rdx r10 r8 r9`; result in `rax`, an error as",
        "`-errno` in [-4095, -1]; `rcx` and `r11` are lost. In C: `#include <aero.h>`, a function `aero_NAME` each.",
        f"Numbers below {layout.NATIVE_FIRST:#x} are Linux's (where the container has that personality);",
        f"{layout.USER_FIRST:#x} to {layout.USER_LAST:#x} are free for calls defined in Python by the user of the API.",
        "An unknown number returns ENOSYS.",
        "",
        f"The words of a message are in `{' '.join(MESSAGE_WORDS)}`. A message that is received also leaves in `rdi`",
        "the badge of the handle by which it was sent, in `rdx` and `r10` its item and object; in C all of it is in",
        "`struct aero_message`.",
        "",
        f"Addresses a program can map: `{layout.USER_MIN:#x}` to `{layout.USER_END - 1:#x}`. "
        f"Page size {layout.PAGE_SIZE}.",
        f"Permissions: `AERO_READ` {layout.READ}, `AERO_WRITE` {layout.WRITE}, `AERO_EXECUTE` {layout.EXECUTE}.",
        "",
        "| number | call | does |",
        "|---|---|---|",
    ]
    lines += [f"| {call.number:#x} | [{call.name}](#{call.name}) | {call.summary.split('.')[0]} |" for call in CALLS]
    for call in CALLS:
        lines += ["", f"## {call.name}", "", f"`{_prototype(call)}`", "", call.summary, ""]
        if call.arguments:
            lines += ["| argument | register | meaning |", "|---|---|---|"]
            lines += [
                f"| {argument.name} | {register} | {_cell(argument.meaning)} |"
                for argument, register in zip(call.arguments, _REGISTERS, strict=False)
            ]
            lines.append("")
        lines.append(f"Result: {call.result}.")
        if call.errors:
            lines += ["", "| error | when |", "|---|---|"]
            lines += [f"| {errors.NAMES[value]} | {_cell(reason)} |" for value, reason in call.errors]
    return "\n".join(lines) + "\n"


def _prototype(call: Call) -> str:
    result = "int64_t" if call.returns else "_Noreturn void"
    own = [_parameter(argument) for argument in call.arguments if not (call.words and argument.name in _CARRIED)]
    parameters = ", ".join([*own, *["struct aero_message *message"] * bool(call.words)]) or "void"
    return f"{result} aero_{call.name}({parameters})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Writes the files or compares them; returns the exit status."""
    stale = []
    for path, text in ((HEADER, c_header()), (REFERENCE, reference_page())):
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if "--write" in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'written' if '--write' in arguments else 'not current'}")
    return 1 if stale and "--write" not in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

__all__ = ["HEADER", "REFERENCE", "c_header", "main", "reference_page"]
