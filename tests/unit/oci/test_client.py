"""The registry client against a registry that can be made wrong (threats T-03, T-05, T-14, T-15; semantics 21, 30)."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.simulators.registry import INDEX, MANIFEST, SimulatedRegistry, Switches, simulated
from tests.simulators.registry.state import Token
from tests.support.world import connect, repository
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest, parse_digest, sha256
from verifier.model.errors import FailedError, InconclusiveError, VerifierError
from verifier.model.evidence import Kind
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.transport import HttpTransport
from verifier.oci.authorization import _related
from verifier.oci.challenge import choose, parse_challenges
from verifier.oci.credentials import Basic, Credential, IdentityToken, RegistryToken
from verifier.oci.keychain import Credentials
from verifier.oci.manifest import Index, Manifest, read_manifest, write_referrer
from verifier.oci.referrers import fallback_tag
from verifier.oci.repository import Repository
from verifier.oci.session import Session, SessionSettings

DATA = b"some chart"
BLOB = Descriptor(media_type="x", digest=sha256(DATA), size=len(DATA))


def code(error: pytest.ExceptionInfo[VerifierError]) -> str:
    return error.value.code.name


def fails(work) -> VerifierError:  # type: ignore[no-untyped-def]
    with pytest.raises(VerifierError) as caught:
        work()
    return caught.value


def image(tag: str = "1") -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "config": {"mediaType": "c", "digest": str(BLOB.digest), "size": BLOB.size}, "layers": [], "annotations": {"t": tag}}
    ).encode()


# Reading


@pytest.mark.parametrize(
    "status, name",
    [
        (401, "unauthorized"),
        (403, "forbidden"),
        (404, "not-found"),
        (429, "rate-limited"),
        (500, "registry-error"),
        (503, "registry-error"),
        (418, "registry-error"),
        (405, "unsupported"),
    ],
)
def test_each_status_has_its_own_code(status: int, name: str) -> None:
    with simulated(Switches(status={"/manifests/": status, "/blobs/": status})) as registry:
        target = repository(registry.host)
        error = fails(lambda: target.resolve("1"))
        assert error.code.name == name
        assert registry.host in error.where
        assert fails(lambda: target.blob(BLOB, 100)).code.name == name


def test_a_rate_limit_says_how_long() -> None:
    with simulated(Switches(status={"/manifests/": 429}, headers={"Retry-After": "17"})) as registry:
        assert fails(lambda: repository(registry.host).resolve("1")).retry_after == 17


def test_a_web_page_is_no_manifest() -> None:
    with simulated(Switches(html=True)) as registry:
        assert fails(lambda: repository(registry.host).resolve("1")).code.name == "registry-nonsense"
        assert fails(lambda: repository(registry.host).tags()).code.name == "registry-nonsense"


def test_digests_are_computed_never_believed() -> None:
    with simulated() as registry:
        digest = registry.put("acme/web", image(), "1")
        target = repository(registry.host)
        assert str(target.resolve("1").digest) == digest
        assert target.manifest(parse_digest(digest)).data == image()
        registry.manifests["acme/web", digest] = (image("evil"), MANIFEST)
        error = fails(lambda: target.manifest(parse_digest(digest)))
        assert isinstance(error, FailedError)
        assert error.code.name == "digest-mismatch"


@pytest.mark.parametrize("body", [b"other chart", b"some char", b"some chart and more"])
def test_a_blob_is_compared_with_size_and_digest(body: bytes) -> None:
    with simulated(Switches(body={"/blobs/": body})) as registry:
        assert fails(lambda: repository(registry.host).blob(BLOB, 100)).code.name in ("digest-mismatch", "response-limit")


def test_a_blob_over_the_limit_is_not_even_asked_for() -> None:
    with simulated() as registry:
        assert fails(lambda: repository(registry.host).blob(BLOB, 5)).code.name == "response-limit"
        assert not registry.requests


def test_a_truncated_blob() -> None:
    with simulated(Switches(truncate="/blobs/")) as registry:
        registry.put_blob(DATA)
        assert fails(lambda: repository(registry.host).blob(BLOB, 100)).code.name == "unreachable"


def test_nobody_is_there() -> None:
    assert fails(lambda: repository("127.0.0.1:1").resolve("1")).code.name == "unreachable"
    assert fails(lambda: repository("no-such-host.invalid").resolve("1")).code.name == "unreachable"
    assert fails(lambda: repository("127.0.0.1:1", seconds=-1).resolve("1")).code.name == "timeout"


def test_tags_page_by_page() -> None:
    with simulated(Switches(tags_page=2)) as registry:
        for tag in ("1", "2", "3", "4", "5"):
            registry.put("acme/web", image(tag), tag)
        assert repository(registry.host).tags() == ("1", "2", "3", "4", "5")
        registry.switches.next_page = "http://127.0.0.1:1/v2/acme/web/tags/list"
        assert fails(lambda: repository(registry.host).tags()).code.name == "registry-nonsense"
        registry.switches.next_page = "/v2/acme/web/tags/list?last=0"
        assert fails(lambda: repository(registry.host).tags()).code.name == "response-limit"


# Redirects


def test_a_redirect_keeps_credentials_at_home() -> None:
    with simulated() as elsewhere, simulated(Switches(basic=("me", "secret"))) as registry:
        registry.put_blob(DATA)
        elsewhere.put_blob(DATA)
        target = repository(registry.host, credential=Basic("me", "secret"))
        assert target.blob(BLOB, 100) == DATA
        registry.switches.redirect = {"/blobs/": f"http://{elsewhere.host}/v2/acme/web/blobs/{BLOB.digest}"}
        assert target.blob(BLOB, 100) == DATA
        assert elsewhere.requests
        assert all("Authorization" not in headers for _, _, headers in elsewhere.requests)


@pytest.mark.parametrize("location", ["ftp://x/y", "http://user:pass@127.0.0.1/x"])
def test_redirects_to_nowhere(location: str) -> None:
    with simulated(Switches(redirect={"/blobs/": location})) as registry:
        assert fails(lambda: repository(registry.host).blob(BLOB, 100)).code.name == "registry-nonsense"


def test_redirects_without_end() -> None:
    with simulated(Switches(redirect={"/blobs/": "/v2/acme/web/blobs/again"})) as registry:
        assert fails(lambda: repository(registry.host).blob(BLOB, 100)).code.name == "registry-nonsense"
        assert len(registry.requests) == 6


def test_a_redirect_to_metadata_is_refused() -> None:
    with simulated(Switches(redirect={"/blobs/": "http://169.254.169.254/latest"})) as registry:
        assert fails(lambda: repository(registry.host).blob(BLOB, 100)).code.name == "egress-denied"


# Authorization


def test_basic() -> None:
    with simulated(Switches(basic=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        assert repository(registry.host, credential=Basic("me", "secret")).resolve("1")
        assert fails(lambda: repository(registry.host, credential=Basic("me", "wrong")).resolve("1")).code.name == "unauthorized"
        assert fails(lambda: repository(registry.host).resolve("1")).code.name == "unauthorized"
        assert fails(lambda: repository(registry.host, credential=IdentityToken("x")).resolve("1")).code.name == "unauthorized"


def test_bearer_is_asked_for_once() -> None:
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        target = repository(registry.host, credential=Basic("me", "secret"))
        for _ in range(4):
            target.resolve("1")
        assert sum(path.startswith("/token") for path in registry.paths()) == 1
        assert len(registry.requests) == 1 + 1 + 4
        assert registry.paths()[1].endswith("scope=repository%3Aacme%2Fweb%3Apull")


def test_bearer_with_identity_and_registry_tokens() -> None:
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        assert repository(registry.host, credential=IdentityToken("secret")).resolve("1")
        assert "/token" in registry.paths("POST")
        registry.tokens["good-token"] = Token("me", {"acme/web": {"pull"}}, time.monotonic() + 60)
        assert repository(registry.host, credential=RegistryToken("good-token")).resolve("1")
        assert fails(lambda: repository(registry.host, credential=RegistryToken("bad")).resolve("1")).code.name == "unauthorized"


def test_what_a_registry_warns_of_is_told_once_and_never_acted_on() -> None:
    heard: list[str] = []
    with simulated(Switches(warning='old \\"thing\\"')) as registry:
        registry.put("acme/web", image(), "1")
        egress = Egress(allow_private=True)
        session = Session(HttpTransport(egress=egress), Credentials(), SessionSettings(egress=egress, warned=heard.append))
        target = Repository(session, registry.host, "acme/web", Deadline.after(20))
        for _ in range(3):
            assert target.resolve("1")
        assert heard == ['127.0.0.1 warns: old "thing"']
        for number in range(40):
            registry.switches.warning = f"flood {number}" + "x" * 9000
            target.resolve("1")
        assert len(heard) <= 20
        assert all(len(line) < 600 for line in heard)


def test_whoever_writes_asks_for_one_token() -> None:
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        session = connect(Basic("me", "secret"), registry.host).session
        writer = Repository(session.for_writing(), registry.host, "acme/web", Deadline.after(20))
        writer.resolve("1")
        writer.push_blob(b"x", fresh=True)
        assert [path.partition("?")[0] for path in registry.paths() if path.startswith("/token")] == ["/token"]
        assert not registry.paths("HEAD")
        registry.switches.rights = {"me": ("pull",)}
        registry.tokens.clear()
        assert writer.resolve("1"), "less than what was asked for is enough to read"
        assert fails(lambda: writer.push_blob(b"y")).code.name == "unauthorized"


def test_a_token_that_has_ended_is_replaced_before_it_is_shown() -> None:
    with simulated(Switches(bearer=("me", "secret"), token_life=11)) as registry:  # shown for one second: ten are kept back
        registry.put("acme/web", image(), "1")
        target = repository(registry.host, credential=Basic("me", "secret"))
        target.resolve("1")
        time.sleep(1.1)
        asked = len(registry.requests)
        target.resolve("1")
        assert [path.partition("?")[0] for path in registry.paths()[asked:]] == ["/token", "/v2/acme/web/manifests/1"]


def test_a_token_that_is_forgotten_by_the_registry_is_asked_for_again() -> None:
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        target = repository(registry.host, credential=Basic("me", "secret"))
        target.resolve("1")
        registry.tokens.clear()
        assert target.resolve("1")
        registry.tokens.clear()
        registry.switches.bearer = ("me", "changed")
        assert fails(lambda: target.resolve("1")).code.name == "unauthorized"


def test_many_whose_token_was_refused_cost_few_new_ones() -> None:
    """Who comes late does not throw away what was got meanwhile."""
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        registry.put("acme/web", image(), "1")
        target = repository(registry.host, credential=Basic("me", "secret"))
        target.resolve("1")
        registry.tokens.clear()
        registry.switches.delay = 0.02
        threads = [threading.Thread(target=target.resolve, args=("1",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(path.startswith("/token") for path in registry.paths()) <= 3


def test_a_token_server_that_fails_when_a_token_has_ended() -> None:
    with simulated(Switches(bearer=("me", "secret"), token_life=11)) as registry:
        registry.put("acme/web", image(), "1")
        target = repository(registry.host, credential=Basic("me", "secret"))
        target.resolve("1")
        time.sleep(1.1)
        registry.switches.status = {"/token": 503}
        assert fails(lambda: target.resolve("1")).code.name == "registry-error"


class Rotating:
    """A keychain whose credential is another one after it was refreshed, once."""

    def __init__(self, *passwords: str) -> None:
        self.passwords = list(passwords)
        self.refreshed = 0

    def candidates(self, registry: str, repository: str) -> Iterator[Credential]:
        yield Basic("me", self.passwords[0])

    def identity(self, registry: str, repository: str) -> str:
        return ""

    def refresh(self, registry: str, repository: str) -> bool:
        self.refreshed += 1
        return len(self.passwords) > 1 and bool(self.passwords.pop(0))


@pytest.mark.parametrize("ended_says_403", [False, True])
def test_a_password_that_has_ended_is_got_anew(ended_says_403: bool) -> None:
    with simulated(Switches(basic=("me", "one"), ended_says_403=ended_says_403)) as registry:
        registry.put("acme/web", image(), "1")
        keychain = Rotating("one", "two")
        target = replace(repository(registry.host), session=connect().session.under(keychain))
        assert target.resolve("1")
        registry.switches.basic = ("me", "two")
        assert target.resolve("1")
        assert keychain.refreshed == 1
        registry.switches.basic = ("me", "three")
        assert fails(lambda: target.resolve("1")).code.name == ("forbidden" if ended_says_403 else "unauthorized")


def test_each_scope_is_a_parameter_of_its_own() -> None:
    with simulated(Switches(bearer=("me", "secret"))) as registry:
        digest = parse_digest(registry.put_blob(b"shared"))
        assert repository(registry.host, credential=Basic("me", "secret")).mount_blob(digest, "acme/other")
        (asked,) = (path for path in registry.paths() if path.startswith("/token"))
        assert asked.endswith("scope=repository%3Aacme%2Fweb%3Apull%2Cpush&scope=repository%3Aacme%2Fother%3Apull")


def test_bearer_for_nobody() -> None:
    with simulated(Switches(bearer=("", ""))) as registry:
        registry.put("acme/web", image(), "1")
        assert repository(registry.host).resolve("1")


@pytest.mark.parametrize(
    "status, body, name",
    [
        (401, None, "unauthorized"),
        (429, None, "rate-limited"),
        (500, None, "registry-error"),
        (0, b"<html>", "registry-nonsense"),
        (0, b"{}", "registry-nonsense"),
        (0, b'{"token": "a b"}', "registry-nonsense"),
    ],
)
def test_token_servers_that_refuse(status: int, body: bytes | None, name: str) -> None:
    with simulated() as tokens:
        if status:
            tokens.switches.status = {"/token": status}
        if body is not None:
            tokens.switches.body = {"/tokens": body}
        realm = f"http://{tokens.host}/token{'s' if body is not None else ''}"
        with simulated(Switches(bearer=("me", "secret"), realm=realm)) as registry:
            assert fails(lambda: repository(registry.host, credential=Basic("me", "secret")).resolve("1")).code.name == name


@pytest.mark.parametrize(
    "realm",
    ["", "file:///etc/passwd", "http://10.0.0.1/token", "https://metadata/token", "https://user:pass@127.0.0.1/token", "https://x.internal/token", "//x"],
)
def test_realms_that_are_not_even_asked(realm: str) -> None:
    with simulated(Switches(bearer=("me", "secret"), realm=realm or "x")) as registry:
        error = fails(lambda: repository(registry.host, credential=Basic("me", "secret")).resolve("1"))
        assert error.code.name == "auth-refused"


@pytest.mark.parametrize(
    "registry, realm, related",
    [
        ("reg.acme.test", "auth.acme.test", True),
        ("reg.acme.test", "acme.test", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.com", "gitlab.com", True),
        ("reg.acme.test", "acme.test.evil.test", False),
        ("reg.acme.test", "evilacme.test", False),
        ("reg.acme.co.uk", "evil.co.uk", False),
        ("reg.acme.com.cn", "evil.com.cn", False),
        ("acme.azurecr.io", "evil.azurecr.io", False),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com", "evil.amazonaws.com", False),
        ("localhost", "evil.localhost", False),
    ],
)
def test_which_realms_see_credentials(registry: str, realm: str, related: bool) -> None:
    assert _related(realm, registry) is related


def test_challenges() -> None:
    header = 'Negotiate, Basic realm="a, b", Bearer realm="https://x/y",service="s",scope="repository:a/b:pull,push"'
    chosen = choose(header)
    assert chosen is not None
    assert chosen.parameters["scope"] == "repository:a/b:pull,push"
    assert [item.scheme for item in parse_challenges(header)] == ["negotiate", "basic", "bearer"]
    assert choose("Digest realm=x") is None
    assert choose("") is None
    quoted = choose('Basic realm="a\\"b"')
    assert quoted is not None
    assert quoted.parameters["realm"] == 'a"b'


# Writing


def test_blobs_are_pushed_once_and_in_chunks() -> None:
    with simulated() as registry:
        target = repository(registry.host)
        assert target.push_blob(DATA) == BLOB.digest
        assert target.push_blob(DATA) == BLOB.digest
        assert len(registry.paths("PUT")) == 1
        big = b"0123456789" * 3
        assert registry.blobs[str(target.push_blob_in_chunks(big, 7))] == big
        assert len(registry.paths("PATCH")) == 5
        assert target.mount_blob(BLOB.digest, "acme/other")
        assert not target.mount_blob(sha256(b"not there"), "acme/other")


@pytest.mark.parametrize("method, path", [("POST", "/blobs/uploads/"), ("PUT", "state="), ("PUT", "/manifests/")])
def test_refused_writes(method: str, path: str) -> None:
    with simulated(Switches(status={path: 403})) as registry:
        target = repository(registry.host)
        work = (lambda: target.push_manifest(image(), MANIFEST, "1")) if path == "/manifests/" else (lambda: target.push_blob(DATA))
        assert fails(work).code.name == "forbidden"


def test_an_upload_never_goes_on_elsewhere() -> None:
    with simulated() as elsewhere, simulated(Switches(upload_location=f"http://{elsewhere.host}/v2/x/blobs/uploads/1")) as registry:
        assert fails(lambda: repository(registry.host).push_blob(DATA)).code.name == "registry-nonsense"
        assert not elsewhere.requests


def test_deleting() -> None:
    with simulated() as registry:
        registry.put("acme/web", image(), "1")
        target = repository(registry.host)
        target.delete_manifest("1")
        assert fails(lambda: target.delete_manifest("1")).code.name == "not-found"


# Referrers


def subject_in(registry: SimulatedRegistry) -> tuple[Descriptor, bytes]:
    registry.put_blob(DATA)
    digest = registry.put("acme/web", image(), "1")
    subject = Descriptor(media_type=MANIFEST, digest=parse_digest(digest), size=len(image()))
    manifest = write_referrer(subject, Descriptor(media_type="application/x.evidence", digest=BLOB.digest, size=BLOB.size), {"a": "b"})
    return subject, manifest


def attach(registry: SimulatedRegistry, target: Repository | None = None) -> Digest:
    subject, manifest = subject_in(registry)
    (target or repository(registry.host)).attach([manifest], subject)
    return subject.digest


def test_with_the_api() -> None:
    with simulated() as registry:
        digest = attach(registry)
        found = repository(registry.host).referrers(digest)
        assert (found.kind, len(found.descriptors), found.gaps) == (Kind.REFERRER, 1, ())


@pytest.mark.parametrize("switches", [Switches(referrers=False), Switches(referrers_html=True), Switches(referrers_status=400), Switches(referrers_status=405)])
def test_without_the_api(switches: Switches) -> None:
    with simulated(switches) as registry:
        digest = attach(registry)
        found = repository(registry.host).referrers(digest)
        assert (found.kind, len(found.descriptors), found.gaps) == (Kind.FALLBACK_TAG, 1, ())
        assert found.descriptors[0].artifact_type == "application/x.evidence"
        assert found.descriptors[0].annotations["a"] == "b"


def test_support_is_learnt_once() -> None:
    with simulated(Switches(referrers=False)) as registry:
        digest = attach(registry)
        target = repository(registry.host)
        registry.requests.clear()
        for _ in range(3):
            target.referrers(digest)
        assert sum("/referrers/" in path for path in registry.paths()) == 1


def test_no_such_repository_says_nothing_about_the_api() -> None:
    with simulated(Switches(referrers_status=404, referrers_code="NAME_UNKNOWN")) as registry:
        target = repository(registry.host)
        assert target.referrers(BLOB.digest).descriptors == ()
        assert target.session.referrers_api.get(registry.host) is None


@pytest.mark.parametrize("status, name", [(500, "registry-error"), (401, "unauthorized"), (403, "forbidden"), (429, "rate-limited")])
def test_a_failed_look_up_is_a_gap_never_none(status: int, name: str) -> None:
    with simulated(Switches(referrers_status=status)) as registry:
        (gap,) = repository(registry.host).referrers(BLOB.digest).gaps
        assert gap.code.name == name
    with simulated(Switches(referrers=False, status={"/manifests/sha256-": status})) as registry:
        (gap,) = repository(registry.host).referrers(BLOB.digest).gaps
        assert gap.code.name == name


def test_the_alias_trap() -> None:
    with simulated(Switches(referrers=False, alias_tags=True)) as registry:
        digest = parse_digest(registry.put("acme/web", image(), "1"))
        found = repository(registry.host).referrers(digest)
        assert (found.descriptors, found.gaps) == ((), ())


def test_a_fallback_tag_that_is_no_index() -> None:
    with simulated(Switches(referrers=False)) as registry:
        digest = parse_digest(registry.put("acme/web", image(), "1"))
        registry.put("acme/web", image("other"), fallback_tag(digest))
        (gap,) = repository(registry.host).referrers(digest).gaps
        assert gap.code.name == "registry-nonsense"
        assert fails(lambda: attach(registry)).code.name == "registry-nonsense"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"layers": [], "config": {}}', b'{"manifests": [{}]}'])
def test_nonsense_with_the_right_type_is_a_gap(body: bytes) -> None:
    with simulated(Switches(referrers=False)) as registry:
        digest = parse_digest(registry.put("acme/web", image(), "1"))
        registry.put("acme/web", body, fallback_tag(digest), INDEX)
        (gap,) = repository(registry.host).referrers(digest).gaps
        assert gap.code.name in ("registry-nonsense", "json-invalid", "chart-manifest-invalid")


def test_pages_of_referrers_and_their_limit() -> None:
    with simulated(Switches(referrers_page=1)) as registry:
        subject, _ = subject_in(registry)
        for index in range(30):
            blob = Descriptor(media_type="application/x", digest=BLOB.digest, size=BLOB.size)
            registry.put("acme/web", write_referrer(subject, blob, {"n": str(index)}))
        registry.switches.referrers_page = 10
        assert len(repository(registry.host).referrers(subject.digest).descriptors) == 30
        registry.switches.referrers_page = 1
        found = repository(registry.host).referrers(subject.digest)
        assert found.gaps[0].code.name == "evidence-limit"
        assert len(found.descriptors) == 21


def test_an_attachment_that_is_not_listed_is_not_done() -> None:
    with simulated(Switches(referrers_lose=True)) as registry:
        assert fails(lambda: attach(registry)).code.name == "attachment-lost"


def test_a_lost_write_of_the_fallback_tag_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    from verifier.oci import referrers

    monkeypatch.setattr(referrers, "_SETTLE_SECONDS", 0.01)
    with simulated(Switches(referrers=False, swallow_fallback=3)) as registry:
        digest = attach(registry)
        assert len(repository(registry.host).referrers(digest).descriptors) == 1
    with simulated(Switches(referrers=False, swallow_fallback=1000)) as registry:
        assert fails(lambda: attach(registry)).code.name == "attachment-lost"


def test_several_at_once_are_listed_by_one_write() -> None:
    with simulated(Switches(referrers=False)) as registry:
        subject, _ = subject_in(registry)
        manifests = [write_referrer(subject, Descriptor(media_type="application/x", digest=BLOB.digest, size=BLOB.size), {"n": str(n)}) for n in range(4)]
        repository(registry.host).attach(manifests[:1], subject)
        registry.requests.clear()
        repository(registry.host).attach(manifests, subject)
        assert sum("sha256-" in path for path in registry.paths("PUT")) == 1
        assert {item.digest for item in repository(registry.host).referrers(subject.digest).descriptors} == {sha256(item) for item in manifests}


@pytest.mark.settling
def test_two_writers_of_a_fallback_tag_lose_nothing() -> None:
    with simulated(Switches(referrers=False)) as registry:
        subject, _ = subject_in(registry)
        manifests = [write_referrer(subject, Descriptor(media_type="application/x", digest=BLOB.digest, size=BLOB.size), {"n": str(n)}) for n in range(4)]
        threads = [threading.Thread(target=repository(registry.host).attach, args=([item], subject)) for item in manifests]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listed = {item.digest for item in repository(registry.host).referrers(subject.digest).descriptors}
        assert listed == {sha256(item) for item in manifests}


def test_foreign_entries_of_a_fallback_index_are_kept() -> None:
    with simulated(Switches(referrers=False)) as registry:
        subject, _ = subject_in(registry)
        foreign = {"mediaType": MANIFEST, "digest": f"sha256:{'1' * 64}", "size": 3, "artifactType": "application/vnd.oci.empty.v1+json"}
        registry.put("acme/web", json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [foreign]}).encode(), fallback_tag(subject.digest), INDEX)
        attach(registry)
        assert len(repository(registry.host).referrers(subject.digest).descriptors) == 2


def test_fallback_tags_are_legal_tags() -> None:
    assert fallback_tag(Digest("sha512", "a" * 128)) == "sha512-" + "a" * 64


# Manifests

CONFIG = {"mediaType": "c", "digest": f"sha256:{'0' * 64}", "size": 2}


@pytest.mark.parametrize(
    "value",
    {
        "manifests and layers": {"config": CONFIG, "layers": [], "manifests": []},
        "neither": {"config": CONFIG},
        "no config": {"layers": []},
        "layers that are no list": {"config": CONFIG, "layers": {}},
        "a digest in upper case": {"config": {**CONFIG, "digest": f"sha256:{'A' * 64}"}, "layers": []},
        "a digest of another algorithm": {"config": {**CONFIG, "digest": "md5:0"}, "layers": []},
        "a negative size": {"config": {**CONFIG, "size": -1}, "layers": []},
        "a size in words": {"config": {**CONFIG, "size": "2"}, "layers": []},
        "a size that is a truth value": {"config": {**CONFIG, "size": True}, "layers": []},
        "no media type": {"config": {**CONFIG, "mediaType": None}, "layers": []},
        "annotations that are no texts": {"config": CONFIG, "layers": [], "annotations": {"a": 1}},
        "an artifact type that is no text": {"config": CONFIG, "layers": [], "artifactType": 1},
        "an index that says it is a manifest": {"manifests": [], "mediaType": MANIFEST},
        "a manifest that says it is an index": {"config": CONFIG, "layers": [], "mediaType": INDEX},
        "a media type that is no text": {"config": CONFIG, "layers": [], "mediaType": 5},
        "a subject that is no descriptor": {"config": CONFIG, "layers": [], "subject": "x"},
    }.values(),
)
def test_manifests_that_are_none(value: dict[str, object]) -> None:
    with pytest.raises(FailedError) as caught:
        read_manifest(json.dumps(value).encode(), where="m")
    assert caught.value.code.name == "chart-manifest-invalid"


def test_manifests() -> None:
    parsed = read_manifest(json.dumps({"config": CONFIG, "layers": [CONFIG], "artifactType": ""}).encode(), where="m")
    assert isinstance(parsed, Manifest)
    assert parsed.kind == "c"
    assert isinstance(read_manifest(b'{"manifests": []}', where="m"), Index)


def test_the_simulator_is_no_fake(tmp_path: Path) -> None:
    """It hashes what it is given, as a registry does."""
    with simulated() as registry:
        assert registry.put("a", b"{}") == "sha256:" + hashlib.sha256(b"{}").hexdigest()
    connections = connect()
    assert connections.session.base("docker.io") == "https://registry-1.docker.io/v2/"
    assert connections.session.base("reg.test:5000") == "https://reg.test:5000/v2/"
    assert connections.session.base("localhost:5000") == "http://localhost:5000/v2/"
    assert connections.session.base("[::1]:5000") == "http://[::1]:5000/v2/"
    assert connections.session.base("[::1]") == "http://[::1]/v2/"
    assert Deadline.after(5).remaining > 0
    assert isinstance(fails(lambda: repository("127.0.0.1:1").tags()), InconclusiveError)
