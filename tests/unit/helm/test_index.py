"""The index that is made for Helm."""

from __future__ import annotations

import json

from verifier.helm.index import Listed, write_index


def listed(*tags: str, repository: str = "acme/web") -> Listed:
    return Listed(registry="reg.test", repository=repository, tags=tags)


def test_versions_newest_first_and_nothing_else() -> None:
    index = write_index([listed("1.2.0", "1.10.0", "latest", "sha256-abc.sig", "2.0.0-rc.1", "1.10.0_b")], 10)
    entries = json.loads(index.data)["entries"]
    assert [entry["version"] for entry in entries["web"]] == ["2.0.0-rc.1", "1.10.0+b", "1.10.0", "1.2.0"]
    assert entries["web"][1]["urls"] == ["verified+oci://reg.test/acme/web:1.10.0_b/web-1.10.0+b.tgz"]
    assert (index.versions, index.left_out) == (4, 0)


def test_no_entry_claims_a_digest() -> None:
    """Helm 4 would take whatever lies in its cache under it, without hashing."""
    assert b"digest" not in write_index([listed("1.0.0")], 10).data


def test_it_is_bounded() -> None:
    index = write_index([listed("1.0.0", "1.1.0", "1.2.0"), listed("3.0.0", repository="acme/db"), listed("latest", repository="acme/none")], 2)
    entries = json.loads(index.data)["entries"]
    assert {name: [entry["version"] for entry in found] for name, found in entries.items()} == {"web": ["1.2.0", "1.1.0"], "db": ["3.0.0"]}
    assert (index.versions, index.left_out) == (3, 1)
