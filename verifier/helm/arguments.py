"""Helm's command line, read with Helm's own list of flags and written so that Helm cannot read it otherwise.

    helm template web oci://host/acme/web -f a.yaml --wait     ->     template --values=a.yaml --wait -- web CHART.tgz

Which flags take a value is read from `helm COMMAND --help`, so it is true of the Helm that will run. What we write needs no such
knowledge: a flag carries its value after "=", and names stand behind "--". Were we wrong about a flag, Helm would refuse the value,
and could still take nothing but the verified file for the chart. Source: spf13/pflag flag.go, `parseArgs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError

_HELP_LINE = re.compile(r" +(?:-(?P<short>[A-Za-z]), )?--(?P<name>[a-z0-9][a-z0-9-]*)(?: (?P<kind>\S+))?(?:  .*)?")
_SECTION = ("Flags:", "Global Flags:")


class Flag(Struct, frozen=True):
    """A flag of a command; `takes_value` when the next word is its value."""

    name: str
    takes_value: bool


class Given(Struct, frozen=True):
    """A flag as it was written, under its long name."""

    name: str
    value: str | None


class Arguments(Struct, frozen=True, kw_only=True):
    """What was written: flags in their order, and the words that belong to none."""

    flags: tuple[Given, ...]
    words: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """The last value of a flag; a flag without one has the value "true"."""
        return next((given.value or "true" for given in reversed(self.flags) if given.name == name), None)

    def is_on(self, name: str) -> bool:
        """Whether a switch is set; what is not clearly off is on."""
        return self.value(name) not in (None, "false", "0", "f", "F", "FALSE", "False")


def read_flags(help_text: str, own: Sequence[Flag] = ()) -> dict[str, Flag]:
    """The flags that a command's help lists, by `--name` and `-n`, with `own` on top; raises MisuseError `tool-missing` if it lists none."""
    found: dict[str, Flag] = {}
    inside = False
    for line in help_text.splitlines():
        inside = line in _SECTION or (inside and (not line or line.startswith(" ")))
        match = _HELP_LINE.fullmatch(line) if inside else None
        if match is not None:
            flag = Flag(match["name"], bool(match["kind"]) and "[=" not in match["kind"])
            found |= {f"--{flag.name}": flag} | ({f"-{match['short']}": flag} if match["short"] else {})
    if not found:
        raise MisuseError(codes.TOOL_MISSING, "its help lists no flags that could be read")
    return found | {f"--{flag.name}": flag for flag in own}


def read_arguments(words: Sequence[str], flags: Mapping[str, Flag]) -> Arguments:
    """Read words as Helm does; raises MisuseError `usage` for a flag that it does not know, or one without its value."""
    given: list[Given] = []
    plain: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            plain += rest
        elif word.startswith("--"):
            given.append(_long(word, rest, flags))
        elif word.startswith("-") and word != "-":
            given += _short(word, rest, flags)
        else:
            plain.append(word)
    return Arguments(flags=tuple(given), words=tuple(plain))


def write_arguments(arguments: Arguments) -> list[str]:
    """Words that Helm can read in one way only."""
    flags = [f"--{given.name}" if given.value is None else f"--{given.name}={given.value}" for given in arguments.flags]
    return [*flags, "--", *arguments.words]


def _long(word: str, rest: Iterator[str], flags: Mapping[str, Flag]) -> Given:
    name, equals, value = word.partition("=")
    flag = _known(name, flags)
    if equals:
        return Given(flag.name, value)
    return Given(flag.name, _next(name, rest) if flag.takes_value else None)


def _short(word: str, rest: Iterator[str], flags: Mapping[str, Flag]) -> Iterator[Given]:
    """`-f FILE`, `-fFILE`, `-f=FILE`, and several in one: `-gf FILE`."""
    letters = word[1:]
    while letters:
        letter, letters = f"-{letters[0]}", letters[1:]
        flag = _known(letter, flags)
        if letters.startswith("="):
            yield Given(flag.name, letters[1:])
            return
        if flag.takes_value:
            yield Given(flag.name, letters or _next(letter, rest))
            return
        yield Given(flag.name, None)


def _known(name: str, flags: Mapping[str, Flag]) -> Flag:
    flag = flags.get(name)
    if flag is None:
        raise MisuseError(codes.USAGE, f"this Helm knows no flag {name[:60]!r} here")
    return flag


def _next(name: str, rest: Iterator[str]) -> str:
    for word in rest:
        return word
    raise MisuseError(codes.USAGE, f"the flag {name!r} needs a value")
