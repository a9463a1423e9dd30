"""The policy with its trust as one snapshot, read again when one of its files changes; the last good one is kept.

Files are looked at twice a second, by what the file system says of them; a policy in a registry is fetched anew once a minute.
A change that does not load changes nothing: the
service goes on with what it had, and health and metrics say so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from verifier.model.errors import VerifierError
from verifier.operations.policies import LoadedPolicy
from verifier.operations.verification import wanted

PERIOD = 0.5  # seconds between two looks

_State = dict[Path, tuple[int, int, int] | None]


class Snapshot(Struct, frozen=True):
    """What decisions are made with; one of them is used from its beginning to its end. `problem`: why there is no newer one.

    `dry_run`: what comes of it is kept nowhere, and answers nobody else.
    """

    loaded: LoadedPolicy
    wanted: frozenset[str]
    problem: str | None = None
    dry_run: bool = False


class Snapshots:
    """The current snapshot; `refresh` is called by one thread at a time, `current` by any."""

    def __init__(self, load: Callable[[], LoadedPolicy], every: float | None = None) -> None:
        """`every`: a policy from a registry is fetched anew after so many seconds."""
        self._load = load
        self._every = every
        self._loaded_at = time.monotonic()
        loaded = load()
        self.current = Snapshot(loaded, wanted(loaded.trust))
        self._state: _State = _look(loaded.files)

    @property
    def problem(self) -> str | None:
        """Why the policy on disk, or in its registry, is not the current one; None if it is."""
        return self.current.problem

    def refresh(self) -> bool:
        """Read everything anew if a file changed; whether there is a new snapshot."""
        state = _look(self.current.loaded.files)
        due = self._every is not None and time.monotonic() - self._loaded_at >= self._every
        if state == self._state and not due:
            return False
        self._state, self._loaded_at = state, time.monotonic()
        try:
            loaded = self._load()
        except VerifierError as error:
            self.current = replace(self.current, problem=str(error))
            return False
        self.current = Snapshot(loaded, wanted(loaded.trust))
        # Of a file that changed while it was read, what was seen before counts: the next look sees the change.
        self._state = {path: state.get(path, seen) for path, seen in _look(loaded.files).items()}
        return True


def _look(files: tuple[Path, ...]) -> _State:
    """Of a directory each document counts, also one that is new or that did not load."""
    inside = (inner for path in files if path.is_dir() for inner in sorted((*path.glob("*.yaml"), *path.glob("*.json"))))
    return {path: _stat(path) for path in (*files, *inside)}


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
