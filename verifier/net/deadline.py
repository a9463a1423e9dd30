"""Deadlines: one absolute end for everything that a decision waits for."""

from __future__ import annotations

import time

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import InconclusiveError


class Deadline(Struct, frozen=True):
    """`at` is on the monotonic clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline this many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining(self) -> float:
        """Seconds left; zero or less when it has passed."""
        return self.at - time.monotonic()

    def check(self, where: str) -> float:
        """The seconds left; raises InconclusiveError `timeout` when there are none."""
        left = self.remaining
        if left <= 0:
            raise InconclusiveError(codes.TIMEOUT, "no time was left to ask", where=where)
        return left
