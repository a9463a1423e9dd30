"""Chart repositories over https: by the repository's URL, with `.prov` and bundles beside the archive, and nothing believed because an index says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.chart_repository import SimulatedChartRepository, chart_repository, entry, index_of
from tests.simulators.internet import internet
from tests.support.charts import archive, chart_file, evil_archive
from tests.support.cli import CANARY, Ran, run
from tests.support.signers import PGP, pair, pgp
from tests.support.world import ask, connect, key_policy, policy
from verifier.model import limits
from verifier.model.decision import Decision
from verifier.model.digest import sha256
from verifier.operations.policies import LoadedPolicy
from verifier.operations.verification import Options
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.public import public_pem

WEB = archive("web", "1.4.2")
TEAM = pgp("team")


def bundle_of(data: bytes, key: str = "ci", name: str = "web-1.4.2.tgz") -> bytes:
    return sign_digest(sha256(data), pair(key), name=name)


@pytest.fixture
def served() -> Iterator[tuple[SimulatedChartRepository, str]]:
    """Signed both ways, and indexed."""
    with chart_repository() as (repository, host):
        name = repository.add(WEB, prov=TEAM.provenance(chart_file(WEB)), bundle=bundle_of(WEB))
        repository.files["/charts/index.yaml"] = index_of([entry(WEB, name)])
        yield repository, f"http://{host}/charts"


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, str]:
    """A keyring, and a public key."""
    (tmp_path / "team.asc").write_bytes(TEAM.public)
    (tmp_path / "ci.pub").write_bytes(public_pem(pair("ci").public))
    return str(tmp_path / "team.asc"), str(tmp_path / "ci.pub")


def decided(ran: Ran) -> dict[str, object]:
    value: dict[str, object] = json.loads(ran.out)
    return value


def codes_of(decision: Decision) -> tuple[str, str]:
    return decision.outcome.value, decision.check.code.name if decision.check.code else ""


# What is allowed


def test_a_provenance_file_beside_the_archive(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", keys[0])
    assert ran.status == 0, ran.text
    assert f"digest  {sha256(WEB)} (the version was looked up now)" in ran.out
    assert f"read    from {url}/web-1.4.2.tgz" in ran.out
    assert "openpgp" in ran.out.lower()
    assert ("GET", "/charts/web-1.4.2.tgz.sigstore.json") not in repository.asked, "the policy trusts no such key"


def test_a_sigstore_bundle_beside_the_archive(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1], "-o", "json")
    assert ran.status == 0, ran.text
    artifact = decided(ran)["artifact"]
    assert isinstance(artifact, dict)
    assert (artifact["reference"], artifact["pinned"]) == (f"{url}/web:1.4.2@{sha256(WEB)}", False)
    assert (artifact["digest"], artifact["chartDigest"], artifact["mediaType"]) == (str(sha256(WEB)), str(sha256(WEB)), "archive")
    assert artifact["readFrom"] == f"{url}/web-1.4.2.tgz"
    assert ("GET", "/charts/web-1.4.2.tgz.prov") not in repository.asked


def test_both_kinds_on_one_chart_under_one_policy(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    assert run("verify", f"{url}/web:1.4.2", "--key", keys[1], "--openpgp-keyring", keys[0]).status == 0
    del repository.files["/charts/web-1.4.2.tgz.prov"]
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1], "--openpgp-keyring", keys[0])
    assert (ran.status, "signer-not-allowed" in ran.out) == (1, True)


def test_a_digest_that_is_asked_for_is_the_archives(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    _, url = served
    ran = run("verify", f"{url}/web:1.4.2@{sha256(WEB)}", "--key", keys[1])
    assert (ran.status, "(the digest was asked for)" in ran.out) == (0, True)
    for algorithm in ("sha256", "sha512"):
        wanted = f"{algorithm}:{hashlib.new(algorithm, WEB).hexdigest()}"
        ran = run("verify", f"{url}/web:1.4.2@{wanted}", "--openpgp-keyring", keys[0])
        assert (ran.status, f"digest  {sha256(WEB)} (the digest was asked for)" in ran.out) == (0, True), ran.text
    ran = run("verify", f"{url}/web:1.4.2@sha256:{'0' * 64}", "--key", keys[1])
    assert (ran.status, "tag-moved" in ran.out, f"holds {sha256(WEB).short}" in ran.out) == (1, True, True)


def test_it_is_pulled_and_shown_as_it_was_verified(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str], tmp_path: Path) -> None:
    _, url = served
    assert run("pull", f"{url}/web:1.4.2", "--key", keys[1], "-d", str(tmp_path / "out")).status == 0
    assert (tmp_path / "out" / "web-1.4.2.tgz").read_bytes() == WEB
    assert "name: web" in run("show", "chart", f"{url}/web:1.4.2", "--key", keys[1]).out
    inspected = run("inspect", f"{url}/web:1.4.2", "--key", keys[1])
    assert (inspected.status, f"digest    {sha256(WEB)}" in inspected.out, "verified" in inspected.out, "present" in inspected.out) == (0, True, True, True)


def test_it_is_recorded_and_replayed_with_the_same_answer(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str], tmp_path: Path) -> None:
    repository, url = served
    (tmp_path / "policy.yaml").write_text(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: p}}\ntrust: {{ci: {{key: {{file: ci.pub}}}}}}\n"
        f'rules: [{{name: ours, charts: ["{url}/*"], require: {{signed: {{by: ci}}}}}}]\n'
    )
    assert run("record", f"{url}/web:1.4.2", "--policy", str(tmp_path / "policy.yaml"), "-d", str(tmp_path / "record")).status == 0
    repository.files.clear()
    ran = run("policy", "replay", str(tmp_path / "record"), "--policy", str(tmp_path / "policy.yaml"))
    assert (ran.status, "allowed" in ran.out) == (0, True), ran.text


def test_an_index_may_say_where_else_the_archive_lies(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    """The rule is for the repository's URL; whoever serves the bytes does not matter, and is shown no credentials."""
    repository, url = served
    with chart_repository() as (other, host):
        other.add(WEB, below="/files", bundle=bundle_of(WEB))
        repository.login = f"user:{CANARY}"
        repository.files["/charts/index.yaml"] = index_of([entry(WEB, f"http://{host}/files/web-1.4.2.tgz?signature={CANARY}")])
        login(url, keys)
        ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
        assert (ran.status, f"read    from http://{host}/files/web-1.4.2.tgz\n" in ran.out) == (0, True), ran.text
        assert set(other.shown) == {""}
        assert {path.partition("?")[0] for _, path in other.asked} == {"/files/web-1.4.2.tgz", "/files/web-1.4.2.tgz.sigstore.json"}
        assert all(path.endswith(f"?signature={CANARY}") for _, path in other.asked), "a query stays behind the file's name"


def test_a_redirect_to_another_host_carries_no_credentials(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    with chart_repository() as (other, host):
        other.add(WEB, below="/objects")
        repository.login = f"user:{CANARY}"
        repository.redirect = {"web-1.4.2.tgz.sigstore.json": "/charts/moved.json", "web-1.4.2.tgz": f"http://{host}/objects/web-1.4.2.tgz"}
        repository.files["/charts/moved.json"] = bundle_of(WEB)
        login(url, keys)
        ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
        assert ran.status == 0, ran.text
        assert set(other.shown) == {""}


# What is denied


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        (lambda repository: repository.files.pop("/charts/web-1.4.2.tgz.sigstore.json"), 1, "unsigned"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz.sigstore.json": bundle_of(WEB, "other")}), 1, "signer-not-allowed"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz.sigstore.json": bundle_of(archive("api", "1.0.0"))}), 1, "subject-mismatch"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz": archive("web", "1.4.2", extra="description: x\n")}), 1, "subject-mismatch"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz": archive("web", "1.4.3")}), 1, "version-mismatch"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz": archive("api", "1.4.2")}), 1, "name-mismatch"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz": evil_archive(("web/../../x", b"evil"))}), 1, "archive-traversal"),
        (lambda repository: repository.files.update({"/charts/web-1.4.2.tgz": b"<html>"}), 1, "archive-invalid"),
        (lambda repository: repository.files.pop("/charts/web-1.4.2.tgz"), 3, "not-found"),
        (lambda repository: repository.files.pop("/charts/index.yaml"), 3, "not-found"),
        (lambda repository: repository.files.update({"/charts/index.yaml": index_of([entry(archive("web", "1.4.1"), "x.tgz")])}), 3, "not-found"),
        (lambda repository: repository.files.update({"/charts/index.yaml": b"<html>log in"}), 3, "registry-nonsense"),
        (lambda repository: setattr(repository, "status", {"/index.yaml": 503}), 3, "registry-error"),
        (lambda repository: setattr(repository, "status", {"/index.yaml": 403}), 3, "forbidden"),
        (lambda repository: setattr(repository, "status", {"/index.yaml": 429}), 3, "rate-limited"),
        (lambda repository: setattr(repository, "status", {".tgz": 500}), 3, "registry-error"),
        (lambda repository: setattr(repository, "status", {".sigstore.json": 500}), 3, "registry-error"),
        (lambda repository: setattr(repository, "status", {".sigstore.json": 403}), 3, "forbidden"),
        (lambda repository: setattr(repository, "cut", ".sigstore.json"), 3, "unreachable"),
        (lambda repository: setattr(repository, "cut", "web-1.4.2.tgz"), 3, "unreachable"),
        (lambda repository: setattr(repository, "cut", "index.yaml"), 3, "unreachable"),
        (lambda repository: setattr(repository, "login", "user:password"), 3, "unauthorized"),
        (lambda repository: setattr(repository, "redirect", {"web-1.4.2.tgz": "ftp://x.test/web"}), 3, "registry-nonsense"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_denied_for_its_own_reason(change, status, code, served, keys) -> None:  # type: ignore[no-untyped-def]
    repository, url = served
    change(repository)
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1], "-o", "json")
    value = decided(ran)
    found = {value["code"], *(item["code"] for key in ("rejections", "gaps") for item in value[key])}  # type: ignore[attr-defined]
    assert (ran.status, value["allowed"]) == (status, False), ran.text
    assert code in found, found


def test_what_nobody_signed_says_where_a_signature_would_lie(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    del repository.files["/charts/web-1.4.2.tgz.prov"]
    ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", keys[0], "-q")
    assert (ran.status, "[unsigned]" in ran.out, "publish the .prov or .sigstore.json beside it" in ran.out) == (1, True, True)


def test_a_provenance_file_of_another_chart_is_denied(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    repository.files["/charts/web-1.4.2.tgz.prov"] = TEAM.provenance(chart_file(archive("web", "1.4.1"), "web-1.4.1.tgz"))
    ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", keys[0])
    assert (ran.status, "provenance-mismatch" in ran.out) == (1, True)


def test_a_web_page_in_place_of_a_provenance_file_is_no_signature(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    del repository.files["/charts/web-1.4.2.tgz.prov"]
    repository.page = True
    ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", keys[0])
    assert (ran.status, "provenance-malformed" in ran.out) == (1, True)


def test_what_an_index_says_of_the_digest_is_told_and_decides_nothing(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    repository.files["/charts/index.yaml"] = index_of([entry(WEB, "web-1.4.2.tgz", "0" * 64)])
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert (ran.status, "index-digest" in ran.out, "the index says sha256:000000000000..." in ran.out) == (0, True, True), ran.text
    del repository.files["/charts/web-1.4.2.tgz.sigstore.json"]
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert ran.status == 1


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("oci://registry.acme.test/charts/web:1.4.2", "chart-unverifiable", "ask for oci://registry.acme.test/charts/web:1.4.2 itself"),
        ("ftp://files.acme.test/web.tgz", "registry-nonsense", "ftp://"),
        ("https://user:pass@files.acme.test/web.tgz", "registry-nonsense", "the index says"),
        ("https:///web.tgz", "registry-nonsense", "the index says"),
        ("http://[::1/web.tgz", "registry-nonsense", "the index says"),
        ("file:///etc/passwd", "registry-nonsense", "file:"),
        ("http://files.acme.test/web-1.4.2.tgz", "egress-denied", "--plain-http"),
        ("http://127.0.0.1:99999/web.tgz", "registry-nonsense", "the index says"),
        ("http://127.0.0.1:0/web.tgz", "registry-nonsense", "the index says"),
        ("a folder/web 1.4.2.tgz", "not-found", "not found"),
        ("w\u00e9b.tgz", "not-found", "not found"),
        ("../../../../../web.tgz", "not-found", "not found"),
        ("web.tgz#fragment\r\nX: y", "not-found", "not found"),
        ("https://h\u00f6st.acme.test/web.tgz", "unreachable", "does not resolve"),
        ("https://" + "a" * 70 + ".test/web.tgz", "unreachable", "does not resolve"),
        ("https://a b.test/web.tgz", "unreachable", "does not resolve"),
        ("https://169.254.169.254/latest/meta-data", "egress-denied", "an address that no registry has"),
    ],
)
def test_an_index_cannot_lead_anywhere(url: str, code: str, words: str, served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, base = served
    repository.files["/charts/index.yaml"] = index_of([entry(WEB, url)])
    ran = run("verify", f"{base}/web:1.4.2", "--key", keys[1])
    assert ran.status in (1, 3)
    assert code in ran.out
    assert words in ran.out


def test_http_is_spoken_to_this_machine_only(keys: tuple[str, str]) -> None:
    ran = run("verify", "http://charts.acme.test/web:1.4.2", "--key", keys[1])
    assert (ran.status, "egress-denied" in ran.out, "--plain-http" in ran.out) == (3, True, True)


def test_from_https_nothing_leads_to_http(tmp_path: Path, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    site = SimulatedChartRepository()
    site.add(WEB, below="", bundle=bundle_of(WEB))
    with internet({"charts.acme.test": site, "files.acme.test": site}, tmp_path) as net:
        for name, value in net.environment.items():
            monkeypatch.setenv(name, value)
        asking = ("verify", "https://charts.acme.test/web:1.4.2", "--key", keys[1], "--ca-file", str(net.ca_file))
        for place, status, word in (
            ("https://files.acme.test/web-1.4.2.tgz", 0, "ALLOWED"),
            ("//files.acme.test/web-1.4.2.tgz", 0, "ALLOWED"),
            ("http://files.acme.test/web-1.4.2.tgz", 3, "leads from https to http://files.acme.test"),
        ):
            site.files["/index.yaml"] = index_of([entry(WEB, place)])
            ran = run(*asking)
            assert (ran.status, word in ran.out) == (status, True), ran.text
            ran = run(*asking, "--plain-http")
            assert ran.status == status, "whatever may be spoken to without TLS"
        assert {name.partition(":")[0] for name in net.tunnels} == {"charts.acme.test", "files.acme.test"}
        site.files["/index.yaml"] = index_of([entry(WEB, "web-1.4.2.tgz")])
        ran = run("verify", "https://charts.acme.test/web:1.4.2", "--key", keys[1])
        assert (ran.status, "tls-failed" in ran.out) == (3, True)


# Bounds


@pytest.mark.parametrize(
    ("limit", "value", "code"),
    [("REPOSITORY_INDEX_BYTES", 100, "response-limit"), ("ARCHIVE_BYTES", 100, "response-limit"), ("EVIDENCE_BYTES", 100, "response-limit")],
)
def test_what_is_too_large_is_not_read(
    limit: str, value: int, code: str, served: tuple[SimulatedChartRepository, str], keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = served
    monkeypatch.setattr(limits, limit, value)
    from verifier.operations import chart_repository as module

    monkeypatch.setattr(module, "_BESIDE", tuple((suffix, kind, min(size, value)) for suffix, kind, size in module._BESIDE))
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert (ran.status, code in ran.out) == (3, True), ran.text


def test_a_repository_that_takes_for_ever_is_given_up(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    repository.drip = "index.yaml"
    connections = connect()
    decision = ask(f"{url}/web:1.4.2", only(url), connections, Options(seconds=0.5))
    connections.close()
    assert codes_of(decision) == ("inconclusive", "timeout")


# Scopes


def only(url: str, scope: str = "/*", extra: str = "") -> LoadedPolicy:
    return rules(f'- name: ours\n    charts: ["{url}{scope}"]\n    require: {{signed: {{by: ci}}}}\n{extra}')


def rules(text: str) -> LoadedPolicy:
    pem = public_pem(pair("ci").public).decode().replace("\n", "\n        ")
    return policy(
        f"apiVersion: verifier/v1\nkind: ChartPolicy\nmetadata: {{name: test}}\ntrust:\n  ci:\n    key:\n      pem: |\n        {pem}\nrules:\n  {text}\n",
        Path(),
    )


def test_a_rule_for_the_repositorys_url_is_what_counts(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    host = url.removeprefix("http://").partition("/")[0]
    connections = connect()
    assert ask(f"{url}/web:1.4.2", only(url), connections).allowed
    assert ask(f"{url}/web:1.4.2", only(url, "/web"), connections).allowed
    asked = len(repository.asked)
    for scope in (f"http://{host}/*", f"http://{host}/charts/api", f"http://{host}/charts", f"https://{host}/charts/*", "http://127.0.0.2/charts/*"):
        decision = ask(f"{url}/web:1.4.2", only(scope, ""), connections)
        assert codes_of(decision) == ("denied", "no-rule"), scope
    assert codes_of(ask(f"{url}/web:1.4.2", key_policy(f"{host}", pair("ci")), connections)) == ("denied", "no-rule"), (
        "a rule for a registry is for no other thing"
    )
    assert len(repository.asked) == asked, "no packet goes to a host that no rule names"
    connections.close()


def test_demands_on_the_chart_hold_here_too(served: tuple[SimulatedChartRepository, str]) -> None:
    _, url = served
    connections = connect()
    pinned = only(url, extra="    chart: {pinned: true}")
    assert codes_of(ask(f"{url}/web:1.4.2", pinned, connections)) == ("denied", "not-pinned")
    assert ask(f"{url}/web:1.4.2@{sha256(WEB)}", pinned, connections).allowed
    review = rules(
        f'- name: ours\n    charts: ["{url}/*"]\n    require: {{digest: {{in: [{{digest: "{sha256(WEB)}", owner: a, reason: b, expires: 2030-01-01T00:00:00Z}}]}}}}'
    )
    assert ask(f"{url}/web:1.4.2", review, connections).allowed
    bound = rules(f'- name: ours\n    charts: ["{url}/*"]\n    require: {{signed: {{by: ci, bind: repository}}}}')
    decision = ask(f"{url}/web:1.4.2", bound, connections)
    assert codes_of(decision)[0] == "denied"
    connections.close()


def test_a_signature_that_names_another_place_counts_only_where_the_rule_lists_it(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    repository.files["/charts/web-1.4.2.tgz.sigstore.json"] = bundle_of(WEB, name="oci://ghcr.io/acme/charts/web")
    connections = connect()
    decision = ask(f"{url}/web:1.4.2", only(url), connections)
    assert codes_of(decision) == ("denied", "origin-mismatch")
    listed = only(url, extra='    origins: ["oci://ghcr.io/acme/charts/web"]')
    assert ask(f"{url}/web:1.4.2", listed, connections).allowed
    connections.close()


def test_a_file_may_stand_for_a_chart_of_a_repository(tmp_path: Path, keys: tuple[str, str]) -> None:
    (tmp_path / "web-1.4.2.tgz").write_bytes(WEB)
    (tmp_path / "web-1.4.2.tgz.sigstore.json").write_bytes(bundle_of(WEB))
    asking = ("verify", str(tmp_path / "web-1.4.2.tgz"), "--key", keys[1], "--as")
    ran = run(*asking, "https://charts.acme.test/stable/web:1.4.2")
    assert (ran.status, "judged as https://charts.acme.test/stable/web:1.4.2" in ran.out) == (0, True), ran.text
    ran = run(*asking, "https://charts.acme.test/stable/web:1.4.3")
    assert (ran.status, "version-mismatch" in ran.out, "the reference says '1.4.3'" in ran.out) == (1, True, True)


# Credentials


def login(url: str, keys: tuple[str, str], **more: str) -> None:
    """What `helm repo add --username user --password ...` writes."""
    entry = {"name": "acme", "url": url, "username": "user", "password": CANARY, "insecure_skip_tls_verify": False, **more}
    written = {"apiVersion": "", "generated": "0001-01-01T00:00:00Z", "repositories": [entry]}
    Path(keys[0]).with_name("repositories.yaml").write_text(json.dumps(written))


@pytest.fixture(autouse=True)
def _no_repositories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HELM_REPOSITORY_CONFIG", str(tmp_path / "repositories.yaml"))


def test_what_helm_keeps_for_a_repository_is_shown_to_it_at_once(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    repository.login = f"user:{CANARY}"
    login(f"{url}/", keys)
    assert run("verify", f"{url}/web:1.4.2", "--key", keys[1]).status == 0
    assert [status for status in repository.shown if not status] == [], "nobody was asked for it first"
    assert len(repository.asked) == 3


@pytest.mark.parametrize("hides", [False, True])
def test_what_is_kept_for_the_host_is_shown_when_it_is_asked_for_or_hidden(
    hides: bool, served: tuple[SimulatedChartRepository, str], keys: tuple[str, str], tmp_path: Path
) -> None:
    repository, url = served
    repository.login, repository.hides = f"user:{CANARY}", hides
    host = url.removeprefix("http://").partition("/")[0]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {host: {"username": "user", "password": CANARY}}}))
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1], "--registry-config", str(config))
    assert ran.status == 0, ran.text
    config.write_text(json.dumps({"auths": {host: {"username": "user", "password": "wrong"}}}))
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1], "--registry-config", str(config))
    assert (ran.status, ("not-found" if hides else "unauthorized") in ran.out) == (3, True)
    if not hides:
        assert "helm repo add" in ran.out, "and says what to type"


def test_an_entry_for_another_url_is_for_another_url(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    repository.login = f"user:{CANARY}"
    login(f"{url}/other", keys)
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert (ran.status, set(repository.shown)) == (3, {""})


def test_a_broken_file_of_helms_is_told(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str], tmp_path: Path) -> None:
    _, url = served
    (tmp_path / "repositories.yaml").write_text("repositories: [")
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert (ran.status, "config-invalid" in ran.err, "repositories.yaml" in ran.err) == (2, True, True)


def test_nothing_is_signed_there(served: tuple[SimulatedChartRepository, str], tmp_path: Path) -> None:
    _, url = served
    for command in (("sign", f"{url}/web:1.4.2"), ("attest", f"{url}/web:1.4.2", "--type", "custom", "--predicate", "x.json")):
        ran = run(*command, "--key", "x.key")
        assert (ran.status, "usage" in ran.err) == (2, True), ran.text


# Asked again


def test_an_index_that_did_not_change_is_asked_about_and_not_read_again(served: tuple[SimulatedChartRepository, str]) -> None:
    repository, url = served
    repository.etags = True
    loaded, connections = only(url), connect()
    for _ in range(3):
        assert ask(f"{url}/web:1.4.2", loaded, connections).allowed
    assert [path for _, path in repository.asked].count("/charts/index.yaml") == 3, "each time the server says whether it is current"
    repository.files["/charts/index.yaml"] = index_of([entry(archive("web", "1.4.3"), "x.tgz")])
    assert codes_of(ask(f"{url}/web:1.4.2", loaded, connections)) == ("inconclusive", "not-found")
    connections.close()


def test_what_is_kept_of_indexes_is_bounded() -> None:
    from verifier.net.transport import Response
    from verifier.net.validated import Validated

    kept = Validated(100)
    for number in range(5):
        response = Response(status=200, headers={"etag": f'"{number}"'}, body=b"x" * 40, url=f"u{number}")
        assert kept.current(f"u{number}", "", response) is response
    assert [bool(kept.condition(f"u{number}", "")) for number in range(5)] == [False, False, False, True, True]
    assert kept.condition("u4", "somebody") == {}, "what one is told is not told to another"
    kept.current("u4", "", Response(status=200, headers={}, body=b"new", url="u4"))
    assert kept.condition("u4", "") == {}
    large = Response(status=200, headers={"last-modified": "yesterday"}, body=b"x" * 101, url="u")
    assert kept.current("u", "", large) is large
    assert kept.condition("u", "") == {}
    small = Response(status=200, headers={"last-modified": "yesterday"}, body=b"x", url="u")
    kept.current("u", "", small)
    assert kept.condition("u", "") == {"If-Modified-Since": "yesterday"}
    assert kept.current("u", "", Response(status=304, headers={}, body=b"", url="u")) is small
    gone = Response(status=404, headers={}, body=b"", url="u")
    assert kept.current("u", "", gone) is gone
    assert kept.condition("u", "") == {}


def test_a_304_that_nobody_asked_for_is_an_error(served: tuple[SimulatedChartRepository, str], keys: tuple[str, str]) -> None:
    repository, url = served
    repository.status = {"index.yaml": 304}
    ran = run("verify", f"{url}/web:1.4.2", "--key", keys[1])
    assert (ran.status, "registry-error" in ran.out) == (3, True)


def test_any_other_pgp_key_is_unknown(served: tuple[SimulatedChartRepository, str], tmp_path: Path) -> None:
    _, url = served
    stranger: PGP = pgp("stranger")
    (tmp_path / "stranger.asc").write_bytes(stranger.public)
    ran = run("verify", f"{url}/web:1.4.2", "--openpgp-keyring", str(tmp_path / "stranger.asc"))
    assert (ran.status, "openpgp-unknown-key" in ran.out) == (1, True)
