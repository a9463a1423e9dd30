"""Keyless signing end to end on the instance of this process: sign, attach, verify; and each service failing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.registry import SimulatedRegistry, simulated
from tests.simulators.sigstore_http import Services, running
from tests.support.charts import archive
from tests.support.cli import run
from tests.support.world import connect, publish
from verifier.schemes.sigstore import keyless

CHART = archive()
WHO = ("--certificate-identity", "alice@acme.test", "--certificate-oidc-issuer", "https://issuer.acme.test", "--trusted-root", "root.json")


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "GITLAB_CI", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with running() as found:
        configure(found)
        Path("token").write_text(found.token())
        yield found


def configure(services: Services, **how: object) -> None:
    Path("trust.json").write_text(json.dumps(services.trust_config(**how)))  # type: ignore[arg-type]
    Path("root.json").write_text(json.dumps(services.instance.trusted_root()))


@pytest.mark.parametrize("version", [1, 2])
def test_signed_attached_and_verified(services: Services, version: int) -> None:
    configure(services, version=version)
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        target = f"oci://{registry.host}/acme/web@{digest}"
        assert run("verify", target, *WHO).status == 1
        ran = run("sign", target, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token")
        assert ran.status == 0, ran.text
        ran = run("verify", target, *WHO)
        assert ran.status == 0, ran.text
        assert "alice@acme.test" in ran.out
        other = run("verify", target, "--certificate-identity", "bob@acme.test", *WHO[2:])
        assert (other.status, "identity-mismatch" in other.out) == (1, True)
    assert any(f"/api/v{version}/log/entries" in path for path in services.asked)


def test_a_file_is_signed_beside_it(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("web-1.4.2.tgz").write_bytes(CHART)
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", services.token())
    assert run("sign", "web-1.4.2.tgz", "--keyless", "--trust-config", "trust.json").status == 0
    ran = run("verify", "web-1.4.2.tgz", *WHO)
    assert ran.status == 0, ran.text
    blob = run("verify-blob", "web-1.4.2.tgz", "--bundle", "web-1.4.2.tgz.sigstore.json", *WHO)
    assert blob.status == 0, blob.text


def test_the_token_of_the_machine(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitLab hands its token over in a variable named after the audience; the `id` package finds it."""
    Path("web-1.4.2.tgz").write_bytes(CHART)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", services.token("project_path:acme/charts"))
    ran = run("sign", "web-1.4.2.tgz", "--keyless", "--trust-config", "trust.json")
    assert ran.status == 0, ran.text


def attempt(*more: str) -> tuple[int, str]:
    Path("web-1.4.2.tgz").write_bytes(CHART)
    ran = run("sign", "web-1.4.2.tgz", "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token", *more)
    assert not Path("web-1.4.2.tgz.sigstore.json").exists() or ran.status == 0
    return ran.status, ran.text


TOKENS = {
    "an expired token": {"age": 3600.0},
    "a token for another audience": {"audience": "other"},
}


@pytest.mark.parametrize("how", TOKENS.values(), ids=TOKENS.keys())
def test_tokens_that_cannot_be_used(services: Services, how: dict[str, object]) -> None:
    Path("token").write_text(services.token(**how))  # type: ignore[arg-type]
    status, text = attempt()
    assert (status, "token-invalid" in text) == (2, True), text
    assert services.asked == []


def test_no_token_and_garbage(services: Services) -> None:
    Path("token").write_text("garbage")
    assert attempt()[0] == 2
    Path("web-1.4.2.tgz").write_bytes(CHART)
    ran = run("sign", "web-1.4.2.tgz", "--keyless", "--trust-config", "trust.json")
    assert (ran.status, "token-invalid" in ran.err) == (2, True), ran.text


@pytest.mark.parametrize("service", ["signingCert", "entries"])
@pytest.mark.parametrize("how", ["status", "nonsense"])
def test_a_service_that_fails_leaves_nothing_and_can_be_repeated(services: Services, service: str, how: str) -> None:
    if how == "status":
        services.switches.status[service] = 503
    else:
        services.switches.nonsense.add(service)
    status, text = attempt()
    assert (status, "signing-service-failed" in text) == (3, True), text
    services.switches.status.clear()
    services.switches.nonsense.clear()
    assert attempt()[0] == 0


def test_a_token_that_the_ca_refuses(services: Services) -> None:
    import jwt

    Path("token").write_text(
        jwt.encode({"iss": "https://x", "sub": "a", "aud": "sigstore", "iat": 1, "exp": 9999999999}, "another secret, thirty-two bytes long", algorithm="HS256")
    )
    status, text = attempt()
    assert (status, "signing-service-failed" in text) == (3, True), text


def test_no_timestamp_where_the_log_proves_no_time(services: Services) -> None:
    configure(services, version=2)
    services.switches.status["timestamp"] = 500
    status, text = attempt()
    assert (status, "signing-service-failed" in text) == (3, True), text


def test_what_was_made_must_verify_under_its_own_root(services: Services) -> None:
    configure(services, version=2)
    services.switches.wrong = {"origin": "evil.example", "signer": "evil.example"}
    status, text = attempt()
    assert (status, "signing-failed" in text, "log-entry-invalid" in text) == (2, True, True), text


def test_a_log_of_somebody_else(services: Services) -> None:
    services.switches.foreign_log = True
    status, text = attempt()
    assert status in (2, 3), text
    assert "signing-failed" in text or "signing-service-failed" in text


def test_a_service_that_hangs(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyless, "sign_keyless", _with_seconds(0.2))
    services.switches.sleep["entries"] = 1.0
    status, text = attempt()
    assert (status, "timeout" in text) == (3, True), text


def _with_seconds(seconds: float):  # type: ignore[no-untyped-def]
    real = keyless.sign_keyless
    return lambda *arguments, **named: real(*arguments, **{**named, "seconds": seconds})


CONFIGS = {
    "not JSON": "x",
    "a trusted root alone": "root",
    "no services": json.dumps({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": {}}),
    "empty services": json.dumps({"mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json", "trustedRoot": {}, "signingConfig": {}}),
}


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS.keys())
def test_trust_configurations_that_are_none(services: Services, text: str) -> None:
    Path("trust.json").write_text(Path("root.json").read_text() if text == "root" else text)
    status, found = attempt()
    assert (status, "trust-invalid" in found) == (2, True), found


def test_misuse(services: Services) -> None:
    assert run("sign", "web-1.4.2.tgz", "--keyless", "--key", "x").status == 2
    assert run("sign", "web-1.4.2.tgz").status == 2
    assert run("sign", "web-1.4.2.tgz", "--key", "x", "--trust-config", "trust.json").status == 2


# Attestations

SPDX = {"spdxVersion": "SPDX-2.3", "packages": []}
BUILD = {
    "buildDefinition": {"buildType": "https://acme.test/build/v1", "externalParameters": {}},
    "runDetails": {"builder": {"id": "https://acme.test/builder"}},
}


def attested_policy(host: str, kind: str, conditions: str = "") -> None:
    entry = "{keyless: {issuer: https://issuer.acme.test, identity: alice@acme.test, root: acme}}"
    Path("policy.yaml").write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: t}}\ntrust: {{alice: {entry}}}\nroots: {{acme: {{trustedRoot: root.json}}}}\n"
        f'rules: [{{name: all, charts: ["oci://{host}/acme/*"], require: {{attested: {{type: {kind}, by: alice{conditions}}}}}}}]\n'
    )


def test_attested_and_judged(services: Services) -> None:
    Path("spdx.json").write_text(json.dumps(SPDX))
    Path("build.json").write_text(json.dumps(BUILD))
    keyless_flags = ("--keyless", "--trust-config", "trust.json", "--identity-token-file", "token")
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        target = f"oci://{registry.host}/acme/web@{digest}"
        for kind, file in (("spdx", "spdx.json"), ("slsaprovenance1", "build.json")):
            attested_policy(registry.host, kind)
            ran = run("verify", target, "--policy", "policy.yaml")
            assert (ran.status, "attestation-missing" in ran.out) == (1, True), ran.text
            ran = run("attest", target, "--type", kind, "--predicate", file, *keyless_flags)
            assert ran.status == 0, ran.text
            assert run("verify", target, "--policy", "policy.yaml").status == 0
        attested_policy(registry.host, "slsaprovenance1", ", builder: https://acme.test/builder")
        assert run("verify", target, "--policy", "policy.yaml").status == 0
        attested_policy(registry.host, "slsaprovenance1", ", builder: https://evil.test/builder")
        ran = run("verify", target, "--policy", "policy.yaml")
        assert (ran.status, "attestation-condition" in ran.out) == (1, True), ran.text


def test_predicates_that_are_none(services: Services) -> None:
    target = "oci://127.0.0.1:1/acme/web@sha256:" + "1" * 64
    Path("list.json").write_text("[]")
    Path("empty.json").write_text("{}")
    for kind, file in (("sbom", "empty.json"), ("spdx", "list.json"), ("spdx", "missing.json"), ("slsaprovenance1", "empty.json")):
        ran = run("attest", target, "--type", kind, "--predicate", file, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token")
        assert ran.status == 2, ran.text
        assert "predicate-invalid" in ran.err or "file-unreadable" in ran.err
    assert run("attest", "web-1.4.2.tgz", "--type", "spdx", "--predicate", "empty.json", "--keyless").status == 2
    assert run("attest", target, "--type", "spdx", "--predicate", "empty.json").status == 2


# Keys with a log entry


@pytest.fixture
def keys(services: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    monkeypatch.setenv("VERIFIER_PASSWORD", "secret")
    assert run("keys", "generate", "--output", "ci").status == 0
    Path("web-1.4.2.tgz").write_bytes(CHART)
    return services


def sign_with_key() -> tuple[int, str]:
    ran = run("sign", "web-1.4.2.tgz", "--key", "ci.key", "--tlog-upload", "--trust-config", "trust.json")
    assert not Path("web-1.4.2.tgz.sigstore.json").exists() or ran.status == 0
    return ran.status, ran.text


LOGGED = ("--key", "ci.pub", "--require-tlog", "--trusted-root", "root.json")


@pytest.mark.parametrize("version", [1, 2])
def test_a_keys_signature_in_the_log(keys: Services, version: int) -> None:
    configure(keys, version=version)
    assert run("sign", "web-1.4.2.tgz", "--key", "ci.key").status == 0
    ran = run("verify", "web-1.4.2.tgz", *LOGGED)
    assert (ran.status, "tlog-required" in ran.out) == (1, True), ran.text
    Path("web-1.4.2.tgz.sigstore.json").unlink()
    status, text = sign_with_key()
    assert status == 0, text
    ran = run("verify", "web-1.4.2.tgz", *LOGGED)
    assert ran.status == 0, ran.text
    assert run("verify", "web-1.4.2.tgz", "--key", "ci.pub").status == 0


@pytest.mark.parametrize("service", ["entries", "timestamp"])
@pytest.mark.parametrize("how", ["status", "nonsense"])
def test_a_service_that_fails_for_a_key(keys: Services, service: str, how: str) -> None:
    if how == "status":
        keys.switches.status[service] = 500
    else:
        keys.switches.nonsense.add(service)
    status, text = sign_with_key()
    if (service, how) == ("timestamp", "nonsense"):  # a v1 log proves the time as well; what is no timestamp proves nothing
        assert status == 0, text
        return
    assert (status, "signing-service-failed" in text) == (3, True), text


def test_a_log_that_cannot_be_believed(keys: Services) -> None:
    configure(keys, version=2)
    keys.switches.wrong = {"origin": "evil.example", "signer": "evil.example"}
    status, text = sign_with_key()
    assert (status, "signing-failed" in text, "log-entry-invalid" in text) == (2, True, True), text
    keys.switches.wrong = {}
    keys.switches.foreign_log = True
    status, text = sign_with_key()
    assert (status, "signing-failed" in text) == (2, True), text
    configure(keys, logs=False)
    status, text = sign_with_key()
    assert (status, "trust-invalid" in text) == (2, True), text


def test_misuse_of_logging(keys: Services) -> None:
    assert run("sign", "web-1.4.2.tgz", "--keyless", "--tlog-upload").status == 2
    Path("trust.json").write_text(json.dumps({**keys.trust_config(), "signingConfig": {"mediaType": "x"}}))
    status, text = sign_with_key()
    assert (status, "trust-invalid" in text) == (2, True), text


# Cosign's old form


def legacy_of(registry: SimulatedRegistry, digest: object) -> list[dict[str, str]]:
    tag = registry.tags["acme/web", f"sha256-{str(digest).removeprefix('sha256:')}.sig"]
    return [layer["annotations"] for layer in json.loads(registry.manifests["acme/web", tag][0])["layers"]]


def test_the_old_form_as_well(keys: Services) -> None:
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        target = f"oci://{registry.host}/acme/web@{digest}"
        ran = run("sign", target, "--key", "ci.key", "--legacy-signature")
        assert (ran.status, "old form   sha256-" in ran.out) == (0, True), ran.text
        ran = run("sign", target, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token", "--legacy-signature")
        assert ran.status == 0, ran.text
        layers = legacy_of(registry, digest)
        assert ["dev.sigstore.cosign/bundle" in layer for layer in layers] == [False, True]
        for name in [name for name in registry.manifests if b"sigstore.bundle.v0.3" in registry.manifests[name][0]]:
            del registry.manifests[name]  # only the old form is left
        for flags in (("--key", "ci.pub"), WHO):
            ran = run("verify", target, *flags, "-o", "json")
            assert ran.status == 0, ran.text
            assert {claim["evidence"]["kind"] for claim in json.loads(ran.out)["claims"]} == {"cosign-tag"}


@pytest.mark.settling
def test_a_writer_who_is_faster_loses_nothing(keys: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        target = f"oci://{registry.host}/acme/web@{digest}"
        assert run("sign", target, "--key", "ci.key", "--legacy-signature").status == 0
        tag = ("acme/web", f"sha256-{str(digest).removeprefix('sha256:')}.sig")
        first = registry.tags[tag]
        overwritten: list[str] = []

        def interfere(seconds: float) -> None:
            if not overwritten:
                overwritten.append(registry.tags[tag])
                registry.tags[tag] = first

        monkeypatch.setattr("verifier.operations.legacy.time.sleep", interfere)
        assert run("keys", "generate", "--output", "second").status == 0
        assert run("sign", target, "--key", "second.key", "--legacy-signature").status == 0
        assert overwritten
        assert len(legacy_of(registry, digest)) == 2
        monkeypatch.setattr("verifier.operations.legacy.time.sleep", lambda seconds: registry.tags.__setitem__(tag, first))
        assert run("keys", "generate", "--output", "third").status == 0
        ran = run("sign", target, "--key", "third.key", "--legacy-signature")
        assert (ran.status, "attachment-lost" in ran.text) == (3, True), ran.text


def test_an_index_under_the_old_tag_is_not_overwritten(keys: Services) -> None:
    with simulated() as registry:
        digest = publish(connect(), registry.host, CHART)
        tag = f"sha256-{str(digest).removeprefix('sha256:')}.sig"
        registry.put("acme/web", json.dumps({"schemaVersion": 2, "manifests": []}).encode(), tag, "application/vnd.oci.image.index.v1+json")
        ran = run("sign", f"oci://{registry.host}/acme/web@{digest}", "--key", "ci.key", "--legacy-signature")
        assert (ran.status, "evidence-foreign" in ran.text) == (2, True), ran.text
        assert run("sign", f"oci://{registry.host}/acme/web@{digest}", "--key", "ci.key", "--tlog-upload", "--legacy-signature").status == 2


def test_debug_tells_what_was_asked_of_the_services(services: Services) -> None:
    """Which the `sigstore` package asks by itself: the CA, the log, the timestamp authority, each once; and the registry's requests are told once, too."""
    with simulated() as registry:
        target = f"oci://{registry.host}/acme/web@{publish(connect(), registry.host, CHART)}"
        services.asked.clear()
        registry.requests.clear()
        ran = run("sign", target, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token", "--debug")
        assert ran.status == 0, ran.text
        told = [line.removeprefix("debug: ") for line in ran.err.splitlines() if line.startswith("debug: ")]
        assert sorted(line.split()[1].removeprefix(services.url) for line in told if services.url in line) == sorted(
            path.split()[-1] for path in services.asked
        )
        assert len([line for line in told if registry.host in line]) == len(registry.requests)
        assert Path("token").read_text() not in ran.text
        quiet = run("sign", target, "--keyless", "--trust-config", "trust.json", "--identity-token-file", "token")
        assert "debug: " not in quiet.err, "and nothing is told once the command is over"


@pytest.mark.parametrize("version", [1, 2])
def test_debug_tells_what_was_asked_of_the_log_for_a_key(version: int, keys: Services) -> None:
    """These requests are our own: told by the transport, and not twice."""
    configure(keys, version=version)
    keys.asked.clear()
    ran = run("sign", "web-1.4.2.tgz", "--key", "ci.key", "--tlog-upload", "--trust-config", "trust.json", "--debug")
    assert ran.status == 0, ran.text
    told = [line.split()[2].removeprefix(keys.url) for line in ran.err.splitlines() if line.startswith("debug: ")]
    assert sorted(told) == sorted(path.split()[-1] for path in keys.asked) != []
