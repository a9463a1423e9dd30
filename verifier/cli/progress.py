"""Progress: one line on stderr that says what a slow command is waiting for. On a terminal only, and gone when it ends."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from verifier.report.text import safe

_PATIENCE = 1.0  # seconds before the first line: quick commands show nothing
_PERIOD = 0.2
_WIPE = "\r\x1b[K"


class Progress:
    """What happens, drawn by a thread of its own, since the command is busy waiting."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._last = ""
        self._answers = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)

    def note(self, line: str) -> None:
        """A request was answered; `line` says which."""
        self._answers += 1
        self._last = line

    def _draw(self) -> None:
        drawn = False
        wait = _PATIENCE
        while not self._ended.wait(wait):
            drawn, wait = True, _PERIOD
            self._stream.write(_WIPE + self._line())
            self._stream.flush()
        if drawn:
            self._stream.write(_WIPE)
            self._stream.flush()

    def _line(self) -> str:
        seconds = time.monotonic() - self._started
        text = f"verifier: {seconds:.0f} s, {self._answers} answer{'s' if self._answers != 1 else ''}" + (f", last {safe(self._last)}" if self._last else "")
        return text[: shutil.get_terminal_size().columns - 1]

    def start(self) -> None:
        """Begin to wait, and to draw when that takes long."""
        self._thread.start()

    def end(self) -> None:
        """Wipe the line; nothing is drawn afterwards."""
        self._ended.set()
        self._thread.join()


def wanted() -> bool:
    """Whether somebody looks at stderr who can see a line being redrawn."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


@contextmanager
def shown() -> Iterator[Progress]:
    """Progress on stderr for the length of the block."""
    progress = Progress(sys.stderr)
    progress.start()
    try:
        yield progress
    finally:
        progress.end()
