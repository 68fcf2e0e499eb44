"""Reading the description of a machine from a TOML file: types and names of keys; what they mean is checked later."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from aerostat.description.machine import (
    ContainerDescription,
    DeviceDescription,
    EndpointDescription,
    HandleDescription,
    MachineDescription,
    ProgramDescription,
)
from aerostat.description.problems import DescriptionError, Problem, Source, suggestion
from aerostat.description.toml_lines import Path, line_numbers

T = TypeVar("T")

_TYPES: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "text": ("a string", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "count": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "seconds": ("a number of seconds", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "size": ('a size such as "64M"', lambda value: isinstance(value, int | str) and not isinstance(value, bool)),
    "texts": ('an array of strings such as ["a", "b"]', lambda value: isinstance(value, list)),
    "table of texts": ('a table such as { NAME = "value" }', lambda value: isinstance(value, dict)),
    "handles": ('a table such as { NAME = "send" }', lambda value: isinstance(value, dict)),
    "table": ("a table", lambda value: isinstance(value, dict)),
}


def _told(value: object) -> str:
    """A value's type in TOML's words."""
    names: dict[type, str] = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array",
                              dict: "a table"}  # fmt: skip
    return names.get(type(value), "a date or time")


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def fits(self, value: object, kind: str, where: Path) -> bool:
        wanted, right = _TYPES[kind]
        if not right(value): self.problems.append(Problem(where, f"this is {_told(value)}; write {wanted}"))
        return right(value)

    def unknown(self, key: str, known: list[str], where: Path) -> None:
        self.problems.append(Problem((*where, key), f"unknown key; {suggestion(key, known, 'the keys')}"))

    def read(self, of: type[T], table: object, where: Path) -> T | None:
        """An object of this class, from a table whose keys are its fields.  None with a problem noted."""
        if not self.fits(table, "table", where) or not isinstance(table, dict): return None
        kinds = {f.name: f.metadata["kind"] for f in dataclasses.fields(of) if "kind" in f.metadata}  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for key, value in table.items():
            if key not in kinds:
                self.unknown(key, list(kinds), where)
            elif self.fits(value, kinds[key], (*where, key)):
                values[key] = self.convert(value, kinds[key], (*where, key))
        return of(**values)

    def convert(self, value: Any, kind: str, where: Path) -> Any:
        if kind == "texts":
            return tuple(item for i, item in enumerate(value) if self.fits(item, "text", (*where, i)))
        if kind == "table of texts":
            return {key: item for key, item in value.items() if self.fits(item, "text", (*where, key))}
        if kind == "handles":
            read = {name: self.handle(item, (*where, name)) for name, item in value.items()}
            return {name: handle for name, handle in read.items() if handle is not None}
        return value

    def handle(self, value: object, where: Path) -> HandleDescription | None:
        """A right, several, or a table with rights and a badge."""
        if isinstance(value, str): return HandleDescription((value,))
        if isinstance(value, list): return HandleDescription(self.convert(value, "texts", where))
        if isinstance(value, dict) and isinstance(value.get("rights"), str):
            value = value | {"rights": [value["rights"]]}
        return self.read(HandleDescription, value, where)

    def named(self, of: type[T], document: Mapping[str, Any], key: str) -> dict[str, T]:
        """The tables ``[key.NAME]`` of a document."""
        found: dict[str, T] = {}
        tables = document.get(key, {})
        if isinstance(tables, list):
            self.problems.append(Problem((key,), f"write [{key}.NAME], with a name of your choice, not [[{key}]]"))
            return found
        if not self.fits(tables, "table", (key,)): return found
        for name, table in tables.items():
            made = self.read(of, table, (key, name))
            if made is not None: found[name] = made
        return found


_TABLES: Final = ("machine", "container", "endpoint", "program", "device")
_AT: Final = re.compile(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


def _syntax(error: tomllib.TOMLDecodeError, path: str, text: str) -> DescriptionError:
    """What tomllib found, at its line."""
    found = _AT.fullmatch(str(error))
    told, line = (found[1], found[2]) if found else (str(error), None)
    if told.startswith(("Cannot declare", "Cannot overwrite")): told += ": a name can be used once"
    return DescriptionError([Problem((), told)], Source(path, {(): int(line or text.count("\n") + 1)}))


def parse_description(text: str, path: str = "machine.toml", directory: str | None = None) -> MachineDescription:
    """The description that a TOML text is.  ``path`` is what errors call it; relative paths in it begin at
    ``directory``, by default that of ``path``.  Raises DescriptionError for what is no TOML, unknown keys and wrong
    types; what the values mean is checked when a machine is made (or by ``check``)."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(error, path, text) from None
    source = Source(path, line_numbers(text.replace("\r\n", "\n")))
    reader = _Reader()
    for key in document:
        if key not in _TABLES: reader.unknown(key, list(_TABLES), ())
    machine = reader.read(MachineDescription, document.get("machine", {}), ("machine",))
    containers = reader.named(ContainerDescription, document, "container")
    endpoints = reader.named(EndpointDescription, document, "endpoint")
    devices = reader.named(DeviceDescription, document, "device")
    programs = reader.named(ProgramDescription, document, "program")
    if reader.problems or machine is None: raise DescriptionError(reader.problems, source)
    return dataclasses.replace(
        machine, containers=containers, endpoints=endpoints, devices=devices, programs=programs, source=source,
        directory=directory if directory is not None else os.path.dirname(path) or ".",
    )  # fmt: skip


def read_description(path: str | os.PathLike[str]) -> MachineDescription:
    """The description that a file has, as ``parse_description``.  OSError if it cannot be read."""
    name = os.fspath(path)
    with open(name, "rb") as file:
        data = file.read()
    try:
        return parse_description(data.decode(), name)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DescriptionError([Problem((), "this is not UTF-8")], Source(name, {(): line})) from None


__all__ = ["parse_description", "read_description"]
