"""Logging in to a registry and out: the credential is tried, then kept where `helm`, `docker` and we find it.

1. GET /v2/ with this credential alone. A registry that asks for nothing there cannot show that it is right.
2. It is kept by the helper that the file names for the host (`credHelpers`, `credsStore`), else in the file itself, written whole or not at all.

Source: distribution-spec "Determining Support"; docker/cli cli/config/configfile; helm/helm pkg/registry Login.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.errors import MisuseError
from verifier.net.deadline import Deadline
from verifier.net.transport import Request
from verifier.oci.auth_file import erase_by, forget, helper_for, store, store_by
from verifier.oci.credentials import Basic
from verifier.oci.layout import replace_file
from verifier.oci.session import Session, refusal


class Kept(Struct, frozen=True):
    """Where the credential is now."""

    where: str


def try_login(host: str, session: Session, deadline: Deadline) -> bool:
    """Whether the registry asked for the session's credential, and took it (1); raises InconclusiveError when it refuses it."""
    root = Request(method="GET", url=session.base(host))
    response = session.send(host, "", root, deadline, limits.ERROR_BYTES)
    if response.status != 200:
        raise refusal(response, f"logging in to {host}")
    return session.answered_as(host, "") is not None


def keep(host: str, credential: Basic, path: Path, environment: Mapping[str, str]) -> Kept:
    """2; raises MisuseError `config-invalid` or `write-failed`."""
    helper = helper_for(path, host)
    if helper is not None:
        store_by(helper, host, credential, environment)
        return Kept(f"docker-credential-{helper}")
    _write(path, store(path, host, credential))
    return Kept(str(path))


def drop(host: str, path: Path, environment: Mapping[str, str]) -> Kept | None:
    """Forget the credential; None where there was none in the file, and no helper that would know."""
    helper = helper_for(path, host)
    if helper is not None:
        erase_by(helper, host, environment)
    data = forget(path, host) if path.is_file() else None
    if data is not None:
        _write(path, data)
        return Kept(str(path))
    return Kept(f"docker-credential-{helper}") if helper is not None else None


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, 0o600)
    except OSError as error:
        raise MisuseError(codes.WRITE_FAILED, error.strerror or str(error), where=str(path)) from error
