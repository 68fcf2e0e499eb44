"""Atmosphere's tables of proof effort and of verification time, with this kernel's beside them."""

from __future__ import annotations

from typing import Final

from kernel.prove import lines

RATIOS: Final = (
    ("seL4", 20.0), ("CertiKOS", 14.9), ("NrOS", 10.0), ("SeKVM", 6.9), ("Ironclad", 4.8), ("Atmosphere", 3.2),
    ("VeriSMo", 2.0),
)  # fmt: skip
"""Lines of proof for each line of code.  Source: Atmosphere (SOSP'25), table 1."""

TIMES: Final = (
    ("NrOS page table", "1m52", "51s", 5329, 400), ("Atmosphere page table", "33s", "", 2168, 496),
    ("Mimalloc", "8m12", "1m40", 13703, 3178), ("VeriSMo", "61m24", "12m11", 16101, 7915),
    ("Atmosphere", "3m29", "1m07", 15701, 4937),
)  # fmt: skip
"""With 1 thread, with 8 threads on two Xeon Silver 4114; lines of proof, of code.  Source: the same, table 2."""


def tables(seconds: float, cpu: float, jobs: int, page_table_cpu: float, cached: int) -> str:
    """Both tables as text: of a whole run's seconds on the wall, and processor seconds, of all and of page tables."""
    kernel, page_table = lines.of_kernel(), lines.of_page_tables()
    text = ["Table 1: lines of proof for each line of code"]
    text += [f"  {name:34}{ratio:6.1f}" for name, ratio in RATIOS]
    text += [f"  {'aerostat':34}{kernel.value:6.1f}", ""]
    text.append(f"Table 2: {'verification time':25}{'1 thread':>10}{'threads':>14}{'proof':>8}{'code':>7}{'ratio':>7}")
    for name, one, eight, proof, code in TIMES:
        text.append(f"  {name:32}{one:>10}{f'{eight} (8)' if eight else '':>14}{proof:8}{code:7}{proof / code:7.2f}")
    many = f"{_time(seconds)} ({jobs})" if not cached else "cached"
    for name, one, several, ratio in (
        ("aerostat page table", _time(page_table_cpu), "", page_table), ("aerostat", _time(cpu), many, kernel),
    ):  # fmt: skip
        text.append(f"  {name:32}{one:>10}{several:>14}{ratio.proof:8}{ratio.executable:7}{ratio.value:7.2f}")
    text += ["", "Lines of aerostat's kernel; " + lines.RULE + ":"]
    counted = lines.counted()
    text += [f"  {part:58}{count:6}" for part, count in counted.items()]
    text.append("Proof: specifications, invariants, hints, noninterference. Code: transitions, objects, boot.")
    with_calls = counted["calls (arguments to transitions; not counted as proved)"]
    text.append(f"(With the calls as code, the ratio is {kernel.proof / (kernel.executable + with_calls):.2f}.)")
    return "\n".join(text)


def _time(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else f"{int(seconds // 60)}m{round(seconds % 60):02}"


__all__ = ["tables"]
