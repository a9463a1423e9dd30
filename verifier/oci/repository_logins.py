"""What `helm repo add --username --password` keeps: Helm's repositories.yaml, read for the credentials of one chart repository.

An entry counts for exactly its own URL, and what it holds is shown to that URL's origin only. The rest of an entry is not taken: CAs and client
certificates are given by --ca-file, --cert-file and --key-file, and that a certificate be not checked is never read from a file.
Source: helm/helm pkg/repo/repo.go, chartrepo.go.
"""

from __future__ import annotations

from pathlib import Path

from verifier.formats.loose import get, items, text
from verifier.formats.yaml import YamlError, parse_yaml, plain
from verifier.model import limits
from verifier.model.errors import MisuseError
from verifier.model.reference import parse_chart_repository
from verifier.oci.credentials import Basic, invalid_config


class RepositoryLogins:
    """Credentials of chart repositories; without a file there are none."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def find(self, url: str) -> Basic | None:
        """For the chart repository at `url`, in canonical form; raises MisuseError `config-invalid` for a file that is broken."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()[: limits.CONFIG_BYTES]
        except OSError:
            return None  # not there, or not ours to read: then it knows nobody
        try:
            entries = items(get(plain(parse_yaml(data)), "repositories"))
        except YamlError as error:
            raise invalid_config(str(error), str(self._path)) from error
        for entry in entries:
            username, password = text(get(entry, "username")), text(get(entry, "password"))
            if username and password and _canonical(text(get(entry, "url"))) == url:
                return Basic(username, password)
        return None


def _canonical(url: str) -> str | None:
    try:
        return parse_chart_repository(f"{url.rstrip('/')}/any").url
    except MisuseError:
        return None
