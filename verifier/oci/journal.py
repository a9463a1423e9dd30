"""What was attached where there is only the fallback tag: a line of JSON for each attachment, written before the list is.

Such a list keeps what its last writer knew. An entry that another writer drops is still in the registry, under a digest that nobody lists;
`verifier registry repair` finds it here. The file is an aid: one that cannot be written keeps nobody from signing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from verifier.formats.json import parse_object
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, VerifierError
from verifier.oci.manifest import descriptor_value, read_descriptor

_MOST_BYTES = 8 * 1024 * 1024  # then the older half is dropped


class Journal(Protocol):
    """Keeps what was attached."""

    def note(self, where: str, subject: Digest, attached: Sequence[Descriptor]) -> None:
        """Before the list of `subject` in the repository `where` is written."""

    def known(self, where: str, subject: Digest) -> tuple[Descriptor, ...]:
        """What was ever noted for it, each once."""


class FileJournal:
    """In one file, for all repositories of this user; several processes may write at once."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def note(self, where: str, subject: Digest, attached: Sequence[Descriptor]) -> None:
        """Appended whole; see the module for what happens when it cannot be."""
        from verifier.oci.layout import locked_file  # only writers pay for it

        value = {"time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "repository": where, "subject": str(subject)}
        line = json.dumps({**value, "attached": [descriptor_value(item) for item in attached]}) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with locked_file(self._path.with_suffix(".lock")):
                self._shorten(len(line))
                with self._path.open("ab") as file:
                    file.write(line.encode())
                    file.flush()
                    os.fsync(file.fileno())
        except OSError:
            return

    def known(self, where: str, subject: Digest) -> tuple[Descriptor, ...]:
        """A line that cannot be read, after a crash for example, is left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return ()
        found: dict[Digest, Descriptor] = {}
        for line in lines:
            if str(subject).encode() in line and (value := _read(line)) is not None and value.get("repository") == where:
                found.update({item.digest: item for item in _attached(value, subject)})
        return tuple(found.values())

    def _shorten(self, more: int) -> None:
        if not self._path.is_file() or self._path.stat().st_size + more <= _MOST_BYTES:
            return
        from verifier.oci.layout import replace_file

        data = self._path.read_bytes()
        replace_file(self._path, data[data.index(b"\n", len(data) // 2) + 1 :], 0o600)


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        return parse_object(line, where="journal")
    except FailedError:
        return None


def _attached(value: dict[str, Any], subject: Digest) -> list[Descriptor]:
    items = value.get("attached")
    if value.get("subject") != str(subject) or not isinstance(items, list):
        return []
    try:
        return [read_descriptor(item, where="journal") for item in items]
    except VerifierError:
        return []
