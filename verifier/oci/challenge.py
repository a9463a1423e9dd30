"""WWW-Authenticate challenges. Source: RFC 9110 section 11.6.1; distribution docs/content/spec/auth/token.md."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

_WORD = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_SCHEME = re.compile(rf"\s*({_WORD})(?:\s+|(?=,)|$)")
# A scope holds commas, so quoted strings are read as such.
_PARAMETER = re.compile(rf'\s*,?\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_MAX_LENGTH = 8192


class Challenge(Struct, frozen=True):
    """One scheme (lower case) with its parameters (names in lower case)."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """All challenges of a header, in order; what cannot be read ends the list."""
    found: list[Challenge] = []
    position = 0
    text = header[:_MAX_LENGTH]
    while position < len(text):
        match = _SCHEME.match(text, position)
        if not match:
            break
        position = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(text, position):
            quoted = parameter[2]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else parameter[3]
            position = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
        comma = re.compile(r"\s*,").match(text, position)
        position = comma.end() if comma else position
    return tuple(found)


def choose(header: str) -> Challenge | None:
    """The Bearer challenge, else Basic, else none: Negotiate and others are not ours."""
    challenges = parse_challenges(header)
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme:
                return challenge
    return None
