"""GnuPG through python-gnupg: signing with the agent, and exporting keyrings that only GnuPG can read.

Rules: never the exit status alone, never `.valid`; a private, short-lived home for keys that come as files; the agent that
such a home started is stopped with it. Secrets go through the loopback pinentry, never through arguments.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verifier.model import codes
from verifier.model.errors import MisuseError
from verifier.net.process import run_program

_SECONDS = 30.0
_MEMORY = "/dev/shm"  # noqa: S108  # mkdtemp makes the home private


def available() -> bool:
    """Whether a `gpg` program is on the PATH."""
    return shutil.which("gpg") is not None


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A private GnuPG home that vanishes with its agent; short, since the agent's socket path is limited to 108 bytes."""
    home = Path(tempfile.mkdtemp(prefix="vgpg-", dir=_short_directory()))
    try:
        yield home
    finally:
        if shutil.which("gpgconf"):
            environment = {"PATH": os.environ.get("PATH", ""), "GNUPGHOME": str(home)}
            run_program(["gpgconf", "--kill", "all"], stdin=b"", seconds=_SECONDS, environment=environment)
        shutil.rmtree(home, ignore_errors=True)


def export_public(home: Path | None, fingerprints: tuple[str, ...] = ()) -> bytes:
    """Public keys of a GnuPG home as a binary keyring; raises MisuseError `trust-invalid` when it holds none of them."""
    exported: bytes = _gpg(home).export_keys(list(fingerprints), armor=False)  # an empty list means every key
    if not exported:
        wanted = ", ".join(fingerprints) or "any key"
        raise MisuseError(codes.TRUST_INVALID, f"the GnuPG home does not hold {wanted}", where=str(home or "default home"))
    return exported


def export_keybox(data: bytes) -> bytes:
    """A `.kbx` file's keys as a binary keyring."""
    with temporary_home() as home:
        (home / "pubring.kbx").write_bytes(data)
        return export_public(home)


def clearsign(text: bytes, *, key: str, passphrase: str | None, home: Path | None = None) -> bytes:
    """Clear-sign with SHA-512 by a key of a GnuPG home (fingerprint or user id).

    Raises MisuseError `passphrase-wrong` or `signing-failed`. python-gnupg returns text without a signature on a wrong
    passphrase, so the status and the fingerprint are what counts.
    """
    gpg = _gpg(home)
    meant = _secret_key(gpg, key)
    # An empty passphrase must not be given: python-gnupg then announces one and sends the text's first line in its place.
    result = gpg.sign(text, keyid=meant[0], clearsign=True, passphrase=passphrase or None, extra_args=["--digest-algo", "SHA512"])
    if result.status == "signature created" and result.fingerprint in meant and result.data:
        return bytes(result.data)
    reason = result.status or "no signature was created"
    if "passphrase" in reason or "BAD_PASSPHRASE" in str(result.stderr) or "Bad passphrase" in str(result.stderr):
        raise MisuseError(codes.PASSPHRASE_WRONG, f"gpg says: {reason}", where=key)
    detail = next((line for line in str(result.stderr).splitlines() if "failed" in line or "skipped" in line), "")
    raise MisuseError(codes.SIGNING_FAILED, f"gpg says: {reason} {detail}".strip(), where=key)


def clearsign_with(text: bytes, secret_key: bytes, *, passphrase: str | None) -> bytes:
    """Clear-sign with a secret key that is not in any GnuPG home, in a home of its own."""
    with temporary_home() as home:
        imported = _gpg(home).import_keys(secret_key, passphrase=passphrase or None)  # see `clearsign`
        fingerprints = sorted({str(found["fingerprint"]) for found in imported.results if found.get("fingerprint")})
        if (not imported.sec_imported and not imported.sec_read) or not fingerprints:
            raise MisuseError(codes.KEY_INVALID, "gpg could not import a secret key from it")
        return clearsign(text, key=fingerprints[0], passphrase=passphrase, home=home)


def _secret_key(gpg: Any, name: str) -> list[str]:
    """The fingerprints (primary first) of the one secret key that `name` means; with an unknown name gpg would sign with another."""
    found = gpg.list_keys(True, keys=[name])
    if len(found) != 1:
        what = "no secret key" if not found else f"{len(found)} secret keys"
        raise MisuseError(codes.KEY_INVALID, f"{what} called {name[:80]!r} in the GnuPG home; name its fingerprint", where=name)
    return [str(found[0]["fingerprint"]), *(str(subkey[2]) for subkey in found[0].get("subkeys", []))]


def _gpg(home: Path | None) -> Any:  # python-gnupg ships no types
    import gnupg  # 29 ms; only signing and key export pay for it

    if not available():
        raise MisuseError(codes.TOOL_MISSING, "this needs the gpg program")
    options = ["--pinentry-mode", "loopback"] if home is not None else []
    try:
        gpg = gnupg.GPG(gnupghome=str(home) if home is not None else None, options=options)
    except (OSError, ValueError) as error:
        raise MisuseError(codes.TOOL_MISSING, f"gpg could not be started: {error}") from error
    gpg.encoding = "latin-1"  # status lines may carry raw bytes (Helm 4's salt notation)
    return gpg


def _short_directory() -> str | None:
    """Where a private home is made: in memory where there is such a place, so that a key of CI never lies on a disk."""
    if os.access(_MEMORY, os.W_OK | os.X_OK):
        return _MEMORY
    default = tempfile.gettempdir()
    return "/tmp" if len(default) > 60 and os.path.isdir("/tmp") else None  # noqa: S108  # mkdtemp makes it private
