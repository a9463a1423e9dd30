"""`verifier release`: published, signed, attested and verified, and only then named; and every way in which it stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulators.registry import Switches, simulated
from tests.simulators.sigstore_http import running
from tests.support.charts import archive
from tests.support.cli import Ran, run
from tests.support.killed import killed_at_each_write
from tests.support.signers import pair, pgp
from tests.support.world import connect, publish, repository
from tests.unit.ci.test_build import GITHUB
from verifier.model.errors import InconclusiveError
from verifier.operations import release as releasing
from verifier.signers.key import private_pem
from verifier.signers.public import public_pem


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chart, a key pair and a password, in a directory of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERIFIER_PASSWORD", "choose-one")
    Path("ci.key").write_bytes(private_pem(pair(), b"choose-one"))
    Path("ci.pub").write_bytes(public_pem(pair().public))
    Path("team.key").write_bytes(pgp().secret)
    Path("team.asc").write_bytes(pgp().public)
    write_chart("web")


def write_chart(name: str, version: str = "1.4.2", extra: str = "", *, said: str = "") -> None:
    (Path(name) / "templates").mkdir(parents=True, exist_ok=True)
    (Path(name) / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: {version}\n{extra}")
    (Path(name) / "templates" / "a.yaml").write_text(f"kind: ConfigMap\n# {said}\n")


def write_policy(host: str, require: str = "{signed: {by: ci}}", chart: str = "") -> str:
    Path("policy.yaml").write_text(
        "apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {name: consumers}\n"
        f"trust:\n  ci: {{key: {{file: ci.pub}}}}\n  team: {{openpgp: {{keyring: team.asc, fingerprints: ['{pgp().fingerprint}']}}}}\n"
        f'rules:\n  - name: ours\n    charts: ["oci://{host}/acme/*"]\n    require: {require}\n{chart}'
    )
    return "policy.yaml"


def release(host: str, *options: str, charts: tuple[str, ...] = ("web",), key: bool = True) -> Ran:
    return run("release", *charts, f"oci://{host}/acme", *(("--key", "ci.key") if key else ()), *options)


def released(host: str, *options: str, charts: tuple[str, ...] = ("web",), key: bool = True) -> list[dict[str, str]]:
    ran = release(host, "-o", "json", *options, charts=charts, key=key)
    assert ran.status == 0, ran.text
    found: list[dict[str, str]] = json.loads(ran.out)["items"]
    return found


def refused(ran: Ran, status: int, code: str) -> None:
    assert ran.status == status, ran.text
    assert f"[{code}]" in ran.text, ran.text


def tags(host: str, name: str = "acme/web") -> tuple[str, ...]:
    try:
        return repository(host, name).tags()
    except InconclusiveError:
        return ()


def test_one_step_and_the_same_again(registry: str) -> None:
    policy = write_policy(registry)
    first = released(registry, "--policy", policy)[0]
    assert (first["name"], first["version"], first["state"]) == ("web", "1.4.2", "published")
    assert first["reference"] == f"oci://{registry}/acme/web:1.4.2@{first['digest']}"
    assert run("verify", first["reference"], "--policy", policy).status == 0
    before = repository(registry).referrers(repository(registry).resolve("1.4.2").digest).descriptors
    again = released(registry, "--policy", policy)[0]
    assert (again["state"], again["digest"]) == ("unchanged", first["digest"])
    assert repository(registry).referrers(repository(registry).resolve("1.4.2").digest).descriptors == before


def test_a_provenance_file_and_a_signature(registry: str) -> None:
    policy = write_policy(registry, "{all: [{signed: {by: ci}}, {signed: {by: team}}]}")
    ran = release(registry, "--openpgp-key", "team.key", "--policy", policy)
    assert ran.status == 0, ran.text
    assert "pushed the chart with its .prov" in ran.out
    assert "verified   under the policy consumers" in ran.out
    assert released(registry, "--openpgp-key", "team.key", "--policy", policy)[0]["state"] == "unchanged"


def test_openpgp_alone_and_without_a_policy(registry: str) -> None:
    ran = release(registry, "--openpgp-key", "team.key", key=False)
    assert (ran.status, "our own signatures" in ran.out) == (0, True), ran.text
    assert released(registry, "--openpgp-key", "team.key", key=False)[0]["state"] == "unchanged"


def test_an_empty_passphrase_is_for_keys_without_one(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CI has it that signs with a key pair of its own and a GPG key, neither with a passphrase."""
    monkeypatch.setenv("VERIFIER_PASSWORD", "")
    Path("ci.key").write_bytes(private_pem(pair(), b""))
    assert release(registry, "--openpgp-key", "team.key").status == 0


def test_what_was_pushed_by_others_tools_is_completed_by_referrers(registry: str) -> None:
    assert run("package", "web").status == 0
    pushed = run("push", "web-1.4.2.tgz", f"oci://{registry}/acme").out.split("digest  ")[1].strip()
    ran = release(registry, "--openpgp-key", "team.key", "--policy", write_policy(registry, "{all: [{signed: {by: ci}}, {signed: {by: team}}]}"))
    assert ran.status == 0, ran.text
    assert ("completed" in ran.out, "attached a .prov" in ran.out, pushed in ran.out) == (True, True, True)


def test_other_bytes_under_a_published_version_are_refused(registry: str) -> None:
    first = released(registry)[0]
    write_chart("web", said="other bytes")
    ran = release(registry)
    refused(ran, 2, "tag-exists")
    assert str(repository(registry).resolve("1.4.2").digest) == first["digest"]


def test_what_the_policy_does_not_allow_gets_no_version(registry: str) -> None:
    ran = release(registry, "--policy", write_policy(registry, chart="    chart: {version: '>=2.0.0'}\n"))
    refused(ran, 1, "version-refused")
    assert ("it has no tag, so nobody gets it" in ran.err, tags(registry)) == (True, ())
    write_policy(registry)
    assert released(registry, "--policy", "policy.yaml")[0]["state"] == "published"
    ran = release(registry, "--policy", write_policy(registry, "{signed: {by: team}}"))
    refused(ran, 1, "signer-not-allowed")
    assert "IT WAS PUBLISHED BEFORE" in ran.err


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ("version: v1.4.2\n", "as `helm push` demands"),
        ("version: '1.4'\n", "as `helm push` demands"),
        ("name: Web\n", "no repository's name"),
        ("dependencies: [{name: db, version: 1.0.0, repository: 'oci://reg.test/acme'}]\n", "'db' does not lie in charts/"),
    ],
)
def test_what_would_fail_later_fails_now(extra: str, why: str) -> None:
    lines = {"apiVersion": "v2", "name": "web", "version": "1.4.2"}
    key = extra.partition(":")[0]
    kept = "".join(f"{name}: {value}\n" for name, value in lines.items() if name != key)
    Path("web/Chart.yaml").write_text(kept + extra)
    with simulated() as unasked:
        ran = release(unasked.host)
        refused(ran, 2, "chart-invalid")
        assert (why in ran.err, unasked.requests) == (True, []), ran.err


def test_several_charts_of_one_repository(registry: str) -> None:
    write_chart("db", "1.0.0")
    released(registry, charts=("web", "db"))
    write_chart("db", "1.1.0", said="new")
    found = released(registry, charts=("web", "db"))
    assert [(item["name"], item["version"], item["state"]) for item in found] == [("web", "1.4.2", "unchanged"), ("db", "1.1.0", "published")]
    write_chart("web", said="changed without a new version")
    write_chart("db", "1.2.0", said="newer")
    ran = release(registry, "-o", "json", charts=("web", "db"))
    refused(ran, 2, "tag-exists")
    said = json.loads(ran.out)
    assert ([item["version"] for item in said["items"]], len(said["problems"])) == (["1.2.0"], 1)


# Attestations


def github(monkeypatch: pytest.MonkeyPatch, **more: str) -> None:
    for name, value in {**GITHUB, "GITHUB_OUTPUT": str(Path("out.txt").absolute()), "GITHUB_STEP_SUMMARY": str(Path("summary.md").absolute()), **more}.items():
        monkeypatch.setenv(name, value)


def test_provenance_of_the_run_and_what_is_given(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    github(monkeypatch)
    Path("sbom.json").write_text(json.dumps({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": []}))
    Path("vex.json").write_text(json.dumps({"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}))
    built = "{attested: {type: slsaprovenance1, by: ci, sourceRepository: 'https://github.com/acme/charts', ref: 'refs/tags/*', builder: 'https://github.com/acme/charts/**'}}"
    policy = write_policy(
        registry, f"{{all: [{{signed: {{by: ci}}}}, {built}, {{attested: {{type: spdx, by: ci}}}}, {{attested: {{type: openvex, by: ci}}}}]}}"
    )
    options = ("--sbom", "sbom.json", "--attest", "openvex=vex.json", "--policy", policy, "--require-tag", "v{version}")
    assert released(registry, *options)[0]["state"] == "published"
    assert released(registry, *options)[0]["state"] == "unchanged"
    outputs = [line.split("=", 1) for line in Path("out.txt").read_text().splitlines()]
    assert [key for key, _ in outputs].count("digest") == 2
    assert "| web | 1.4.2 | published |" in Path("summary.md").read_text()


def test_no_provenance_where_none_is_wanted(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    github(monkeypatch)
    ran = release(registry, "--no-provenance")
    assert (ran.status, "attested" in ran.out) == (0, False)
    assert "attested https://slsa.dev/provenance/v1" in release(registry).out


def test_the_git_tag_must_say_the_version(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(release(registry, "--require-tag", "v{version}"), 2, "release-tag")
    github(monkeypatch, GITHUB_REF="refs/tags/v1.4.3")
    refused(release(registry, "--require-tag", "v{version}"), 2, "release-tag")
    refused(release(registry, "--require-tag", "latest"), 2, "usage")
    assert tags(registry) == ()


def test_a_ci_that_does_not_say_who_it_is(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    github(monkeypatch, GITHUB_SHA="")
    refused(release(registry), 2, "config-invalid")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--sbom", "web/Chart.yaml"), "predicate-invalid"),
        (("--sbom", "empty.json"), "predicate-invalid"),
        (("--sbom", "missing.json"), "file-unreadable"),
        (("--attest", "openvex"), "usage"),
        (("--attest", "nonsense=empty.json"), "predicate-invalid"),
        (("--attest", "openvex=empty.json", "--attest", "openvex=empty.json"), "usage"),
        (("--keyless",), "usage"),
        (("--openpgp-key", "missing.key"), "trust-invalid"),
        (("--policy", "missing.yaml"), "file-unreadable"),
    ],
)
def test_misuse_publishes_nothing(options: tuple[str, ...], code: str) -> None:
    Path("empty.json").write_text("{}")
    with simulated() as unasked:
        ran = release(unasked.host, *options)
        refused(ran, 2, code)
        assert unasked.requests == []


def test_a_way_to_sign_is_needed(registry: str) -> None:
    refused(release(registry, key=False), 2, "usage")
    Path("sbom.json").write_text(json.dumps({"bomFormat": "CycloneDX"}))
    refused(release(registry, "--openpgp-key", "team.key", "--sbom", "sbom.json", key=False), 2, "usage")
    refused(run("release", "web"), 2, "usage")
    refused(run("release", "missing", f"oci://{registry}/acme", "--key", "ci.key"), 2, "chart-invalid")
    refused(run("release", "web", f"https://{registry}/acme", "--key", "ci.key"), 2, "reference-invalid")


def test_annotations_and_a_dotenv_file(registry: str) -> None:
    ran = release(registry, "-o", "github", "--dotenv", "release.env", "--policy", write_policy(registry))
    assert "::notice title=verifier allowed::" in ran.out
    assert "VERIFIER_DIGEST=sha256:" in Path("release.env").read_text()
    write_chart("web", said="other bytes")
    assert "::error title=verifier tag-exists::" in release(registry, "-o", "github").out


def test_into_an_image_layout() -> None:
    ran = run("release", "web", "oci-layout://layout", "--key", "ci.key")
    assert ran.status == 0, ran.text
    assert run("verify", "oci-layout://layout:1.4.2", "--key", "ci.pub").status == 0


# Keyless


def test_keyless_for_the_token_s_identity(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as services:
        Path("trust.json").write_text(json.dumps(services.trust_config()))
        Path("root.json").write_text(json.dumps(services.instance.trusted_root()))
        keyless = ("--keyless", "--trust-config", "trust.json")
        refused(release(registry, *keyless, key=False), 2, "token-invalid")
        Path("token").write_text(services.token())
        found = released(registry, *keyless, "--identity-token-file", "token", key=False)[0]
        who = ("--certificate-identity", "alice@acme.test", "--certificate-oidc-issuer", "https://issuer.acme.test", "--trusted-root", "root.json")
        assert run("verify", found["reference"], *who).status == 0
        assert released(registry, *keyless, "--identity-token-file", "token", key=False)[0]["state"] == "unchanged"
        Path("token").write_text(services.token("bob@acme.test"))
        assert released(registry, *keyless, "--identity-token-file", "token", key=False)[0]["state"] == "completed"


def test_a_signing_service_that_fails_leaves_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as services, simulated() as registry:
        Path("trust.json").write_text(json.dumps(services.trust_config()))
        Path("token").write_text(services.token())
        services.switches.status["signingCert"] = 500
        ran = release(registry.host, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token", key=False)
        refused(ran, 3, "signing-service-failed")
        assert ("does not name it yet, so nobody gets it" in ran.err, "done: pushed the chart" in ran.err, registry.tags) == (True, True, {})
        services.switches.status.clear()
        assert release(registry.host, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token", key=False).status == 0


# Interrupted, and disturbed


@pytest.mark.parametrize("referrers", [True, False], ids=["referrers API", "fallback tag"])
def test_killed_at_any_write_and_completed_by_a_repeat(referrers: bool) -> None:
    """kill -9 before each of its writes: whoever finds the version may install it, and the same command again ends well."""
    words = ["--key", "ci.key", "--openpgp-key", "team.key"]
    states = []
    for registry, ended in killed_at_each_write(lambda there: ["release", "web", f"oci://{there.host}/acme", *words], referrers=referrers):
        policy = write_policy(registry.host, "{all: [{signed: {by: ci}}, {signed: {by: team}}]}")
        if ("acme/web", "1.4.2") in registry.tags:
            assert run("verify", f"oci://{registry.host}/acme/web:1.4.2", "--policy", policy).status == 0
        if not ended:
            states.append(released(registry.host, "--openpgp-key", "team.key", "--policy", policy)[0]["state"])
    assert set(states) <= {"published", "completed", "unchanged"}
    assert len(states) > 10, "each blob, manifest, signature and the tag is a write"


def test_a_version_that_another_release_takes_meanwhile(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = releasing._verified

    def slow(*arguments: object) -> object:
        publish(connect(), registry, archive("web", "1.4.2", {"templates/other.yaml": b"{}"}))
        return verified(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(releasing, "_verified", slow)
    refused(release(registry), 2, "tag-exists")


def test_an_interrupt_says_what_it_leaves_behind(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(releasing, "_verified", interrupted)
    ran = release(registry)
    assert (ran.status, "without a tag" in ran.err, "nothing partial" in ran.err, tags(registry)) == (130, True, False, ())


def test_a_registry_that_forbids_the_tag() -> None:
    with simulated(Switches(refuse_write={"manifests/1.4.2": 403})) as closed:
        ran = release(closed.host)
        refused(ran, 3, "forbidden")
        assert ("does not name it yet" in ran.err, closed.tags) == (True, {})


def test_a_registry_that_loses_what_is_attached() -> None:
    with simulated(Switches(referrers_lose=True)) as losing:
        refused(release(losing.host), 3, "attachment-lost")
        assert losing.tags == {}


def test_a_registry_that_is_down() -> None:
    with simulated(Switches(status={"/v2/": 503})) as down:
        refused(release(down.host), 3, "registry-error")
