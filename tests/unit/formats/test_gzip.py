"""One gzip member, within its bound, and nothing after it."""

from __future__ import annotations

import gzip

import pytest

from verifier.formats.gzip import GzipError, Problem, inflate

DATA = gzip.compress(b"x" * 1000, mtime=0)


def test_within_the_bound_and_at_it() -> None:
    assert inflate(DATA, 1000) == inflate(DATA, 5000) == b"x" * 1000
    assert inflate(gzip.compress(b""), 0) == b""


@pytest.mark.parametrize(
    ("data", "most", "problem"),
    [
        (DATA, 999, Problem.LARGE),
        (DATA, 0, Problem.LARGE),  # nothing left of a budget: zlib takes a limit of 0 for none
        (DATA[:-1], 1000, Problem.CUT),
        (DATA[:20], 1000, Problem.CUT),
        (b"", 1000, Problem.CUT),
        (DATA + b"x", 1000, Problem.TRAILING),
        (DATA + DATA, 1000, Problem.TRAILING),
        (b"no gzip at all", 1000, Problem.INVALID),
    ],
)
def test_what_is_refused(data: bytes, most: int, problem: Problem) -> None:
    with pytest.raises(GzipError) as refused:
        inflate(data, most)
    assert refused.value.problem is problem
