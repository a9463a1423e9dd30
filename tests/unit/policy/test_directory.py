"""A directory of documents is one policy: joined, checked across files, loaded as it was at one moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.signers import pair
from verifier.model.errors import MisuseError
from verifier.operations import policies, resolve
from verifier.operations.policies import load
from verifier.policy.loader import load_documents, load_policy
from verifier.signers.public import public_pem

HEAD = "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: acme}\n"
TRUST = HEAD + "trust:\n  ci: {key: {file: ci.pub}}\nbaseline: [{chart: {prerelease: false}}]\n"
WEB = HEAD + 'rules:\n  - {name: web, charts: ["oci://x/acme/web"], require: {signed: {by: ci}}}\n'
API = HEAD + 'deny: [{name: api, versions: "<1.0.0"}]\nrules:\n  - {name: api, charts: ["oci://x/acme/api"], require: {signed: {by: ci}}}\n'
GOOD = {"a.yaml": TRUST, "b.yaml": WEB, "c.yaml": API}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(files: dict[str, str] = GOOD, **more: str) -> Path:
        directory = tmp_path / "policies"
        directory.mkdir(exist_ok=True)
        (directory / "ci.pub").write_bytes(public_pem(pair().public))
        for name, text in {**files, **{name.replace("_", "."): text for name, text in more.items()}}.items():
            (directory / name).write_text(text)
        return directory

    return make


def test_documents_are_joined(write: Callable[..., Path]) -> None:
    loaded = load(write())
    policy = loaded.policy
    assert (policy.name, [rule.name for rule in policy.rules], len(policy.baseline), len(policy.deny)) == ("acme", ["web", "api"], 1, 1)
    assert [anchor.name for anchor in loaded.trust.anchors] == ["ci"]
    assert policy.rules[1].place.endswith("c.yaml line 6")


def test_the_order_of_documents_means_nothing_to_the_digest_and_their_bytes_everything() -> None:
    one = load_documents({name: text.encode() for name, text in GOOD.items()})
    other = load_documents({name: GOOD[name].encode() for name in sorted(GOOD, reverse=True)})
    changed = load_documents({name: (text + "# x\n").encode() for name, text in GOOD.items()})
    assert one.digest == other.digest != changed.digest


def test_one_document_is_the_same_alone() -> None:
    whole = (TRUST + WEB.removeprefix(HEAD)).encode()
    assert load_documents({"p.yaml": whole}) == load_policy(whole, where="p.yaml")


def test_cases_and_hidden_files_are_no_documents(write: Callable[..., Path]) -> None:
    directory = write(a_test_yaml="cases: []")
    (directory / ".hidden.yaml").write_text("not a policy")
    (directory / "notes.txt").write_text("not a policy")
    assert len(load(directory).policy.rules) == 2


MISTAKES = {
    "a tie across documents": ({"d.yaml": WEB.replace("name: web", "name: again")}, "d.yaml:5:5", "tie"),
    "a rule's name twice": ({"d.yaml": WEB.replace("acme/web", "acme/other")}, "", "the rule name 'web' is there twice"),
    "a trust name twice": ({"d.yaml": HEAD + "trust: {ci: {key: {file: ci.pub}}}\n"}, "d.yaml:4:9", "stands under trust of"),
    "another name of the policy": ({"d.yaml": WEB.replace("name: acme", "name: other")}, "d.yaml:3:18", "calls it 'acme'"),
    "an unknown field": ({"d.yaml": HEAD + "rule: []\n"}, "d.yaml:4:1", "did you mean 'rules'?"),
    "an empty list": ({"d.yaml": HEAD + "rules: []\n"}, "d.yaml:4:8", "not empty"),
    "another version": ({"d.yaml": WEB.replace("verifier/v1", "verifier/v9")}, "d.yaml:1:13", "must be one of"),
    "default allow": ({"d.yaml": HEAD + "default: allow\n"}, "d.yaml:4:10", "must be one of: deny"),
    "no YAML": ({"d.yaml": "a: ["}, "d.yaml:", ""),
    "an unknown name": ({"d.yaml": WEB.replace("by: ci", "by: cd").replace("web", "x")}, "d.yaml:5:66", "rules[0].require.signed.by"),
    "trust that is a list": ({"d.yaml": HEAD + "trust: [a]\n"}, "d.yaml:4:8", "must be a mapping"),
}


@pytest.mark.parametrize("files, place, reason", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_found_in_its_file(write: Callable[..., Path], files: dict[str, str], place: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        load(write({**GOOD, **files}))
    assert caught.value.code.name == "policy-invalid"
    assert place in caught.value.where, caught.value
    assert reason in caught.value.reason, caught.value


def test_no_rules_anywhere_and_no_documents(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="needs the field 'rules'"):
        load(write({"a.yaml": TRUST}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(MisuseError, match=r"holds no \*\.yaml"):
        load(tmp_path / "empty")


def test_what_changes_while_it_is_read_is_read_again(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    directory, real, reads = write(), resolve.read_local, []

    def restless(path: Path, limit: int) -> bytes:
        reads.append(path)
        if len(reads) == 2:
            (directory / "a.yaml").write_text(TRUST.replace("prerelease", "deprecated"))
        return real(path, limit)

    monkeypatch.setattr(policies, "read_local", restless)
    (baseline,) = load(directory).policy.baseline
    assert getattr(baseline, "deprecated", None) is False

    def never_still(path: Path, limit: int) -> bytes:
        if path.suffix == ".yaml":
            path.write_text(path.read_text() + "# more\n")
        return real(path, limit)

    monkeypatch.setattr(policies, "read_local", never_still)
    with pytest.raises(MisuseError, match="changes while it is read"):
        load(directory)


def test_the_command_line_takes_a_directory(write: Callable[..., Path]) -> None:
    directory = write()
    assert "valid: 2 rules, 1 trust names" in run("policy", "lint", str(directory)).out
    assert "rule      api" in run("policy", "show", "oci://x/acme/api:1.0.0", "--policy", str(directory)).out
    assert run("policy", "diff", str(directory), str(directory)).status == 0
