"""`verifier admission`: the registration as `kubectl` takes it, and the kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
import yaml

from tests.support.cli import run
from verifier.workloads.kinds import READERS


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    return tmp_path / "ca.crt"


def test_the_registration(authority: Path) -> None:
    ran = run("admission", "webhooks", "--service", "verifier/hook", "--ca-file", str(authority), "--unjudged", "verifier", "--unjudged-records", "kube-system")
    assert ran.status == 0, ran.text
    value = yaml.safe_load(ran.out)
    assert (value["kind"], value["metadata"]["name"]) == ("ValidatingWebhookConfiguration", "helm-verifier")
    assert [webhook["namespaceSelector"]["matchExpressions"][0]["values"] for webhook in value["webhooks"]] == [["verifier"], ["verifier", "kube-system"]]
    both = list(yaml.safe_load_all(run("admission", "webhooks", "--url", "https://x", "--ca-file", str(authority), "--pin").out))
    assert [item["kind"] for item in both] == ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]
    outside = yaml.safe_load(run("admission", "webhooks", "--url", "https://10.0.0.1:8443", "--ca-file", str(authority), "--name", "x").out)
    assert (outside["metadata"]["name"], outside["webhooks"][0]["clientConfig"]["url"]) == ("x", "https://10.0.0.1:8443/admission/validate")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "usage"),
        (("--service", "verifier"), "usage"),
        (("--service", "/x"), "usage"),
        (("--service", "a/b", "--url", "https://x"), "usage"),
        (("--url", "http://x"), "usage"),
    ],
)
def test_what_makes_no_registration(authority: Path, words: tuple[str, ...], code: str) -> None:
    ran = run("admission", "webhooks", "--ca-file", str(authority), *words)
    assert (ran.status, f"[{code}]" in ran.err) == (2, True), ran.text


def test_a_ca_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("x")
    for name, code in (("ca.crt", "trust-invalid"), ("missing", "file-unreadable")):
        ran = run("admission", "webhooks", "--ca-file", str(tmp_path / name), "--url", "https://x")
        assert (ran.status, f"[{code}]" in ran.err) == (2, True), ran.text


def test_the_kinds() -> None:
    ran = run("admission", "kinds")
    assert ran.status == 0
    assert ran.out.count("\n  pin ") == len(READERS)
    page = (Path(__file__).parents[3] / "docs" / "admission-kinds.md").read_text()
    assert all(f"| `{reader.group}` | {reader.kind} |" in page for reader in READERS)
