"""How a command gets at a key: the environment, and a passphrase or PIN from a file, the environment, or a prompt."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifier.operations.resolve import read_local
from verifier.settings import key_password

if TYPE_CHECKING:
    from verifier.signers.remote import Access

_PASSPHRASE_BYTES = 4096


def key_access(keyref: str, passphrase_file: str | None = None) -> Access:
    """What opening the key may need; the passphrase is read or asked for only when it is needed."""
    from verifier.signers.remote import Access

    return Access(environment=os.environ, passphrase=lambda: read_passphrase(passphrase_file, keyref, ask=True))


def read_passphrase(path: str | None, keyref: str, *, ask: bool) -> bytes | None:
    """The first line of the file at `path`, else VERIFIER_PASSWORD or COSIGN_PASSWORD, else what is typed where there is a terminal."""
    if path is not None:
        return (read_local(Path(path), _PASSPHRASE_BYTES).splitlines() or [b""])[0]
    given = key_password(os.environ)
    if given is None and ask and sys.stdin.isatty():
        answer: str = click.prompt(f"Passphrase for {keyref.partition('?')[0]}", hide_input=True, default="", show_default=False, err=True)
        return answer.encode()
    return given
