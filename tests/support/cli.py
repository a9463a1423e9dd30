"""The command line as a user calls it, in process, with its outputs searched for secrets."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

from verifier.cli.main import execute

CANARY = "canary-b7f3-secret"


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str
    data: bytes = b""  # what was written to stdout, as it is

    @property
    def text(self) -> str:
        return self.out + self.err


def run(*arguments: str) -> Ran:
    """Run `verifier ARGUMENTS`; no output may hold the canary or a traceback."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", newline="", write_through=True)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = execute([str(item) for item in arguments])
    ran = Ran(status, raw.getvalue().decode("utf-8", "replace"), err.getvalue(), raw.getvalue())
    assert CANARY not in ran.text, "a secret was printed"
    assert "Traceback" not in ran.text
    assert "internal error" not in ran.text, ran.err
    return ran
