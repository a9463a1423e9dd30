"""`verified`: a decision may rest on another verifier's, and on nothing weaker (semantics 24)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.cli import run
from tests.support.signers import pair
from tests.support.world import connect, publish, sign
from tests.unit.policy.test_engine import HERE, HOST, MANIFEST_DIGEST, NOW, chart, facts
from verifier import __version__
from verifier.attest.summary import SUMMARY, Summary, read_summary, write_summary
from verifier.model import codes
from verifier.model.claim import Attestation, Claim, Form, KeySigner, Role, Signature
from verifier.model.context import Context
from verifier.model.decision import Decision, Outcome
from verifier.model.errors import MisuseError
from verifier.model.evidence import Gap
from verifier.policy.document import Policy
from verifier.policy.engine import decide
from verifier.policy.loader import load_policy
from verifier.policy.words import describe
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem

WHO = "https://verifier.acme.test/gate"
POLICY_DIGEST, TRUST_DIGEST = "sha256:" + "1" * 64, "sha256:" + "2" * 64
RULE = f"{{verified: {{by: gate, verifier: {WHO}, maxAge: 24h, policies: [{POLICY_DIGEST}], trusts: [{TRUST_DIGEST}], rules: [ours]}}}}"


def policy(require: str = RULE, more: str = "") -> Policy:
    text = f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  gate: {{key: {{file: gate.pub}}}}
  ci: {{key: {{file: ci.pub}}}}
  team: {{openpgp: {{keyring: t.asc, fingerprints: ["{"A" * 40}"]}}}}
{more}
rules:
  - {{name: all, charts: ["oci://{HOST}/acme/*"], require: {require}}}
"""
    return load_policy(text.encode(), where="p.yaml")


GOOD = Summary(
    verifier=WHO,
    time=NOW - timedelta(hours=1),
    resource=f"oci://{HOST}/acme/web@{MANIFEST_DIGEST}",
    passed=True,
    policy=POLICY_DIGEST,
    trust=TRUST_DIGEST,
    rule="ours",
    context={},
)


def claim(summary: Summary | None = GOOD, anchor: str = "gate", predicate: Any = None) -> Claim:
    value = predicate if summary is None else write_summary(summary, __version__)
    return Claim(
        scheme="sigstore",
        kind=Attestation(predicate_type=SUMMARY, predicate=value),
        signer=KeySigner(key_id="sha256:" + "3" * 64, algorithm="ecdsa"),
        anchors=frozenset((anchor,)),
        role=Role.MANIFEST,
        digest=MANIFEST_DIGEST,
        location=HERE,
    )


def judged(*claims: Claim, require: str = RULE, context: Context | None = None) -> Decision:
    return decide(policy(require), facts(chart(), *claims, context=context), NOW)


def code(decision: Decision) -> str:
    assert decision.outcome is Outcome.DENIED, decision.outcome
    assert decision.check.code is not None
    return decision.check.code.name


def test_a_summary_that_says_the_same_question() -> None:
    decision = judged(claim())
    assert decision.outcome is Outcome.ALLOWED
    assert decision.valid_until == GOOD.time + timedelta(hours=24)
    assert read_summary(write_summary(GOOD, __version__)) == GOOD


REFUSED: dict[str, tuple[Summary, str]] = {
    "one that failed": (replace(GOOD, passed=False), "its result FAILED"),
    "another verifier's": (replace(GOOD, verifier="https://evil.test"), "its verifier is 'https://evil.test'"),
    "of another digest": (replace(GOOD, resource=f"oci://{HOST}/acme/web@sha256:{'0' * 64}"), "it is of"),
    "of another repository": (replace(GOOD, resource=f"oci://{HOST}/acme/other@{MANIFEST_DIGEST}"), "it is of"),
    "under another policy": (replace(GOOD, policy="sha256:" + "9" * 64), "its policy is"),
    "under other trust": (replace(GOOD, trust="sha256:" + "9" * 64), "its trust is"),
    "by another rule": (replace(GOOD, rule="theirs"), "its rule is"),
    "in another context": (replace(GOOD, context={"environment": "dev"}), "made in the context"),
    "too old": (replace(GOOD, time=NOW - timedelta(hours=25)), "outside the age"),
    "of the future": (replace(GOOD, time=NOW + timedelta(hours=1)), "outside the age"),
    "that leaned on something": (replace(GOOD, leaned_on=("unsafe switch x",)), "leaned on unsafe switch x"),
}  # fmt: skip


@pytest.mark.parametrize("summary, reason", REFUSED.values(), ids=REFUSED.keys())
def test_a_summary_that_is_refused(summary: Summary, reason: str) -> None:
    decision = judged(claim(summary))
    assert code(decision) == "summary-refused"
    assert reason in decision.check.reason


@pytest.mark.parametrize(
    "predicate",
    [None, [], {}, {"helmVerifier": {}}, {**write_summary(GOOD, "1"), "helmVerifier": {"context": 1}}, {**write_summary(GOOD, "1"), "timeVerified": "x"}],
)
def test_a_summary_that_is_none(predicate: Any) -> None:
    assert code(judged(claim(None, predicate=predicate))) == "summary-refused"


def test_what_is_no_summary() -> None:
    assert code(judged()) == "summary-missing"
    assert code(judged(claim(anchor="ci"))) == "summary-missing"
    signature = replace(claim(), kind=Signature(form=Form.STATEMENT))
    assert code(judged(signature)) == "summary-missing"
    gap = Gap(kind="evidence", where="reg", code=codes.REGISTRY_ERROR, reason="answered 500")
    assert decide(policy(), facts(chart(), gaps=(gap,)), NOW).outcome is Outcome.INCONCLUSIVE


def test_a_summary_satisfies_only_verified() -> None:
    assert code(judged(claim(anchor="ci"), require="{signed: {by: ci}}")) == "signer-not-allowed"


def test_the_context_is_the_requests() -> None:
    context = Context(environment="prod", asserted_by="test")
    assert code(judged(claim(), context=context)) == "summary-refused"
    assert judged(claim(replace(GOOD, context={"environment": "prod"})), context=context).outcome is Outcome.ALLOWED


MISTAKES = {
    "no age": (RULE.replace("maxAge: 24h, ", ""), "needs the field 'maxAge'"),
    "no policies": (RULE.replace(f"policies: [{POLICY_DIGEST}], ", ""), "needs the field 'policies'"),
    "empty trusts": (RULE.replace(f"[{TRUST_DIGEST}]", "[]"), "list that is not empty"),
    "no verifier": (RULE.replace(f"verifier: {WHO}, ", ""), "needs the field 'verifier'"),
    "a keyring": (RULE.replace("by: gate", "by: team"), "is an OpenPGP keyring"),
    "a key for both": (f"{{all: [{RULE}, {{signed: {{by: gate}}}}]}}", "gate signs both"),
    "attested as well": ("{attested: {type: vsa, by: gate}}", "satisfies only `verified`"),
}


@pytest.mark.parametrize("require, reason", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named(require: str, reason: str) -> None:
    with pytest.raises(MisuseError) as caught:
        policy(require)
    assert (caught.value.code.name, reason in caught.value.reason) == ("policy-invalid", True), caught.value.reason


def test_words() -> None:
    loaded = policy()
    assert any(f"verified by {WHO}, signed by gate" in line for line in describe(loaded, loaded.rules[0]))


# End to end


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    for name in ("ci", "gate"):
        Path(f"{name}.key").write_bytes(private_pem(pair(name), b""))
        Path(f"{name}.pub").write_bytes(public_pem(pair(name).public))


def write(name: str, host: str, trust: str, require: str) -> None:
    Path(name).write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {trust}\nrules: [{{name: ours, charts: ['oci://{host}/acme/*'], require: {require}}}]\n"
    )


@pytest.mark.usefixtures("_files")
def test_a_decision_signed_attached_and_relied_on(registry: str) -> None:
    import json

    from tests.support.charts import archive

    connections = connect()
    digest = publish(connections, registry, archive())
    target = f"oci://{registry}/acme/web:1.4.2"
    write("gate.yaml", registry, "{ci: {key: {file: ci.pub}}}", "{signed: {by: ci}}")
    told = ("--attest-decision", "gate.key", "--verifier-id", WHO)
    ran = run("verify", target, "--policy", "gate.yaml", *told)
    assert (ran.status, "summary attached" in ran.err) == (1, False), ran.text
    sign(connections, registry, digest, pair("ci"))
    ran = run("verify", target, "--policy", "gate.yaml", "-o", "json", *told)
    assert (ran.status, "summary attached" in ran.err) == (0, True), ran.text
    made = json.loads(ran.out)
    allowed = f"policies: ['{made['policy']['digest']}'], trusts: ['{made['trust']['digest']}']"
    rule = f"{{verified: {{by: gate, verifier: '{WHO}', maxAge: 1h, {allowed}}}}}"
    write("reader.yaml", registry, "{gate: {key: {file: gate.pub}}}", rule)
    ran = run("verify", target, "--policy", "reader.yaml")
    assert ran.status == 0, ran.text
    assert run("verify", target, "--policy", "reader.yaml", "--environment", "prod").status == 1
    write("both.yaml", registry, "{gate: {key: {file: gate.pub}}, copy: {key: {file: copy.pub}}}", f"{{all: [{rule}, {{signed: {{by: copy}}}}]}}")
    Path("copy.pub").write_bytes(Path("gate.pub").read_bytes())
    ran = run("verify", target, "--policy", "both.yaml")
    assert (ran.status, "trust-invalid" in ran.err) == (2, True), ran.text
    # A decision that rests on a summary says so, and another may not rest on it.
    ran = run("verify", target, "--policy", "reader.yaml", "-o", "json", "--attest-decision", "ci.key", "--verifier-id", WHO)
    second = json.loads(ran.out)
    allowed = f"policies: ['{second['policy']['digest']}'], trusts: ['{second['trust']['digest']}']"
    write("third.yaml", registry, "{ci: {key: {file: ci.pub}}}", f"{{verified: {{by: ci, verifier: '{WHO}', maxAge: 1h, {allowed}}}}}")
    ran = run("verify", target, "--policy", "third.yaml")
    assert (ran.status, "leaned on another summary" in ran.out) == (1, True), ran.text


@pytest.mark.usefixtures("_files")
def test_a_chart_that_carries_charts_is_no_ground_to_rely_on(registry: str) -> None:
    """Also where it does not declare them."""
    import json

    from tests.support.charts import archive

    connections = connect()
    digest = publish(connections, registry, archive(files={"charts/dep-0.3.1.tgz": archive("dep", "0.3.1")}))
    sign(connections, registry, digest, pair("ci"))
    target = f"oci://{registry}/acme/web:1.4.2"
    write("gate.yaml", registry, "{ci: {key: {file: ci.pub}}}", "{signed: {by: ci}}")
    made = json.loads(run("verify", target, "--policy", "gate.yaml", "-o", "json", "--attest-decision", "gate.key", "--verifier-id", WHO).out)
    allowed = f"policies: ['{made['policy']['digest']}'], trusts: ['{made['trust']['digest']}']"
    write("reader.yaml", registry, "{gate: {key: {file: gate.pub}}}", f"{{verified: {{by: gate, verifier: '{WHO}', maxAge: 1h, {allowed}}}}}")
    ran = run("verify", target, "--policy", "reader.yaml")
    assert (ran.status, "leaned on subcharts that were not judged" in ran.out) == (1, True), ran.text


@pytest.mark.usefixtures("_files")
def test_misuse(registry: str) -> None:
    target = f"oci://{registry}/acme/web:1.4.2"
    assert run("verify", target, "--key", "ci.pub", "--attest-decision", "gate.key").status == 2
    assert run("verify", target, "--key", "ci.pub", "--verifier-id", WHO).status == 2
    assert run("verify", target, "--key", "ci.pub", "--attest-decision", "gate.key", "--verifier-id", "me").status == 2
