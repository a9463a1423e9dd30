"""One gzip member, bounded, with nothing after it: what hostile archives and records have in common."""

from __future__ import annotations

import zlib
from enum import StrEnum

_WITH_HEADER = 31


class Problem(StrEnum):
    """What is wrong with it; the value is for people."""

    INVALID = "not gzip"
    LARGE = "too large unpacked"
    CUT = "the gzip stream is cut off"
    TRAILING = "data after the end of the gzip stream"


class GzipError(Exception):
    """`problem`, and for INVALID what zlib says."""

    def __init__(self, problem: Problem, detail: str = "") -> None:
        super().__init__(f"{problem}: {detail}" if detail else str(problem))
        self.problem = problem


def inflate(data: bytes, most: int) -> bytes:
    """The member's content, of at most `most` bytes (which may be 0: zlib itself would take that for no limit); raises GzipError."""
    inflater = zlib.decompressobj(_WITH_HEADER)
    try:
        raw = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise GzipError(Problem.INVALID, str(error)) from error
    if len(raw) > most:
        raise GzipError(Problem.LARGE)
    if not inflater.eof:
        raise GzipError(Problem.CUT)
    if inflater.unused_data:
        raise GzipError(Problem.TRAILING)
    return raw
