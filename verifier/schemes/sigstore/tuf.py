"""Fetching a trusted root through TUF: the only way in which a root is ever refreshed (python-tuf does the work).

Source: theupdateframework.github.io/specification, section 5. The repository's first root is the one given here, never one that
was fetched; its later ones are followed by python-tuf, which refuses rollback, freeze and missing signatures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError, RepositoryError
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError, VerifierError, first_line

TARGETS = ("trusted_root.json", "signing_config.v0.2.json")
Fetch = Callable[[str], tuple[int, bytes]]


class _Fetcher(FetcherInterface):
    """Hands python-tuf's requests to our own transport, and keeps what it raised."""

    def __init__(self, fetch: Fetch) -> None:
        self._ask = fetch
        self.problem: VerifierError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            status, body = self._ask(url)
        except VerifierError as error:
            self.problem = error
            raise
        if status != 200:
            raise DownloadHTTPError(f"{url} answered {status}", status)
        return iter((body,))


def fetch_targets(url: str, bootstrap: bytes, fetch: Fetch) -> dict[str, bytes]:
    """The current targets of a sigstore TUF repository by name; the signing config may be missing.

    Raises FailedError `trust-update-refused` when the repository does not verify, or InconclusiveError when it cannot be reached.
    """
    fetcher = _Fetcher(fetch)
    with tempfile.TemporaryDirectory(prefix="verifier-tuf-") as directory:
        metadata, targets = Path(directory) / "metadata", Path(directory) / "targets"
        metadata.mkdir()
        targets.mkdir()
        base = url.rstrip("/")
        config = UpdaterConfig(app_user_agent="helm-verifier")
        try:
            updater = Updater(str(metadata), base, str(targets), f"{base}/targets/", fetcher, config, bootstrap=bootstrap)
            updater.refresh()
            found = {name: _target(updater, name) for name in TARGETS}
        except RepositoryError as error:
            raise FailedError(codes.TRUST_UPDATE_REFUSED, f"the TUF repository does not verify: {first_line(error)}", where=url) from error
        except Exception as error:
            raise fetcher.problem or InconclusiveError(codes.UNREACHABLE, f"the TUF repository could not be read: {first_line(error)}", where=url) from error
    if found[TARGETS[0]] is None:
        raise FailedError(codes.TRUST_UPDATE_REFUSED, f"the TUF repository has no target {TARGETS[0]}", where=url)
    return {name: data for name, data in found.items() if data is not None}


def _target(updater: Updater, name: str) -> bytes | None:
    info = updater.get_targetinfo(name)
    return Path(updater.download_target(info)).read_bytes() if info is not None else None
