"""What proofs take for granted, each with the reason why that can be: the trusted base."""

from __future__ import annotations

from typing import Final

from kernel.prove.hardware.obligation import Assumption

ASSUMPTIONS: Final = (
    Assumption("z3", "what z3 finds unsatisfiable is", "a pinned release, used by many; `make soak`: 10 seeds"),
    Assumption(
        "evaluator", "kernel/prove means by the kernel's Python what CPython does: source.py finds what a name stands "
        "for, evaluator.py and state.py run it, terms.py simplifies what comes of it",
        "constructs that are not known to be meant alike are refused (tests/kernel/prove/test_evaluator.py); all of it "
        "is tested against runs of the kernel on random states",
    ),
    Assumption(
        "kept results", "what was proved before holds still, where nothing has changed that it was proved from",
        "digests of the functions and constants that were evaluated, of the engine, the invariants and z3; `make "
        "verify`, and --no-cache, prove everything anew",
    ),
    Assumption(
        "instances", "nothing: invariants are given to z3 only of some objects",
        "fewer can only make a proof fail; none is given that is not an invariant, a lemma or a counting fact",
    ),
    Assumption(
        "sums", "a ledger is the finite sum of what all items contribute to it",
        "proved: blank items contribute nothing, and each write changes the ledger by what its item contributes; the "
        "step from there to sums over any number of items is not put to z3. The audit recounts",
    ),
    Assumption(
        "induction", "what holds at the start and is kept by each transition holds always; so for lemmas, along a "
        "measure that is not below 0, and for what the check after a transition sees",
        "the premises are proved; the conclusion is mathematics",
    ),
    Assumption(
        "hidden fields", "callers of the allocator see nothing of its own fields but its invariants",
        "for them these fields are anything at all after each call; that the functions keep their contracts, and are "
        "called where these allow it, is proved",
    ),
    Assumption(
        "boot's loop", "a loop over all cores does for each what its body does for one",
        "checked on what the body writes: it reads nothing, and each core writes its own",
    ),
    Assumption(
        "touched rules", "kernel/prove/touching.py says of kernel.touched what kernel/evaluation.py makes of it",
        "both go by the same tables and the same functions for which fields a clause reads; tests compare the two on "
        "real writes, plant bugs in transitions and take rules away",
    ),
    Assumption(
        "storage", "tables and rows are total: what was never written reads as 0 or blank, each object is itself alone",
        "kernel/storage.py and its compiled form, by tests; ids are keys of dictionaries",
    ),
    Assumption(
        "execution", "CPython, and the kernel as mypyc compiles it, run it as it is written; what runs is the source "
        "of the transitions with a record before each store",
        "tests compare plain, journaled and compiled kernels; transitions have no loops, and their integers no bounds",
    ),
    Assumption(
        "big lock", "transitions run one at a time",
        "hv/lock.py: held whenever no guest runs; one process, tests with many cores",
    ),
    Assumption(
        "effects", "what transitions decide is done to the guest: bytes, translations, vCPUs",
        "hv/effects.py follows the journal; page-table bytes are proved, the rest is tested and audited",
    ),
    Assumption(
        "kvm", "KVM, the processor and the host's Linux do as documented",
        "outside this project; `aerostat doctor` tries what is relied on",
    ),
    Assumption(
        "set-up", "the host and the ancestors of A and B connect neither with the other, nor with anybody that gives "
        "or takes more than words, once they are isolated",
        "they set the machine up, and who does can undo it; of their steps only those on one side are in the proof",
    ),
    Assumption(
        "callers", "kernel/calls makes transitions for A with the arguments that kernel/prove/isolation/actors.py "
        "supposes: its own process, container or device, one it has a handle to, or that of a thread it meets",
        "by reading; whom a thread of A can meet is proved",
    ),
    Assumption(
        "answers", "what kernel/calls tells a program besides the result of a transition is of the program's own "
        "objects, or of a message given to it; the numbers that the host is given (names.HOSTED) it tells none",
        "by reading: badges, handles, addresses of its own, and errors found before the first step; tests give calls "
        "arguments of any size",
    ),
    Assumption(
        "renaming", "two states that look alike to A but for page numbers may be given the same ones",
        "each transition is checked to use them as names alone; results are proved without this",
    ),
)  # fmt: skip
"""Of the proofs in kernel/prove."""

NOT_PROVED: Final = (
    "noninterference of quota_merge and giant_merge: whether a quota's pages become a block again depends on whether "
    "a block is whole in the machine, which a container learns by container_query",
    "noninterference of schedule and preempt but for local respect: which thread a shared core runs next is time",
    "time: how long anything takes, and what can be learnt from that",
    "that what is waited for comes: fairness of locks and queues, the end of long calls (bounded steps, by tests)",
    "kernel/calls: arguments become transitions there, and results answers; each transition is proved for all "
    "arguments; their order, and what is looked at between them, is not",
    "the Linux personality, programs, drivers",
)
"""What is not claimed."""

__all__ = ["ASSUMPTIONS", "NOT_PROVED"]
