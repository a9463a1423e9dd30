"""The one error tree of the product.

    VerifierError             code, reason, where, retry_after
    |-- MisuseError           the caller asked for something that makes no sense: exit 2, HTTP 422
    |-- FailedError           what we were shown is bad: denied, exit 1, HTTP 403
    `-- InconclusiveError     we could not tell: exit 3, HTTP 503; never treated as "unsigned"

An error names what was checked, what was expected and found (`reason`), where it came from (`where`) and, through its
code, what to do. Foreign exceptions are translated at the seam of their library and never travel further.
"""

from __future__ import annotations

from verifier.model.codes import Code, Family


class VerifierError(Exception):
    """Base of every error that we raise on purpose; the subclass is decided by the code's family."""

    family: Family

    def __init__(self, code: Code, reason: str, *, where: str = "", retry_after: float | None = None) -> None:
        if code.family is not self.family:
            raise AssertionError(f"{code.name} is of family {code.family}, raised as {self.family}")
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.where = where
        self.retry_after = retry_after

    def __str__(self) -> str:
        """One line: where it was, what was wrong, and the stable code."""
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.reason} [{self.code.name}]"


class MisuseError(VerifierError):
    """The request itself is wrong; nothing was judged."""

    family = Family.MISUSE


class FailedError(VerifierError):
    """What we were shown is wrong; a decision that meets it is denied."""

    family = Family.FAILED


class InconclusiveError(VerifierError):
    """It could not be told; a decision that meets it is inconclusive."""

    family = Family.INCONCLUSIVE


def error(code: Code, reason: str, *, where: str = "", retry_after: float | None = None) -> VerifierError:
    """Make the error of `code`'s own family; for places that pass codes on."""
    match code.family:
        case Family.MISUSE:
            return MisuseError(code, reason, where=where, retry_after=retry_after)
        case Family.FAILED:
            return FailedError(code, reason, where=where, retry_after=retry_after)
        case Family.INCONCLUSIVE:
            return InconclusiveError(code, reason, where=where, retry_after=retry_after)


def first_line(error: Exception) -> str:
    """A library's message without what it appends to it, a backtrace for example."""
    return str(error).strip().split("\n", 1)[0][:200] or type(error).__name__
