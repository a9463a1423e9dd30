"""Keys that somebody keeps: each kind signs, is refused for its own reason, and what comes back is checked."""

from __future__ import annotations

import base64
import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.simulators.keepers import Answer, Keeper, Private, aws, azure, certified, gcp, kept, kubernetes, set_all, vault
from tests.support.clouds import no_identity
from tests.support.signers import pair
from verifier.model.errors import VerifierError
from verifier.net.overheard import overheard
from verifier.signers.key import private_pem
from verifier.signers.keyref import open_key, public_key
from verifier.signers.public import PublicKey, any_public_key, public_pem
from verifier.signers.remote import Access

P256, P384, P521, RSA = (
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP521R1()),
    rsa.generate_private_key(65537, 2048),
)
KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"


@dataclass
class Kind:
    """One kind of keeper, running: `keyref` names its key, `name` is what the keeper calls it."""

    keeper: Keeper
    name: str
    keyref: str
    environment: dict[str, str]

    @property
    def access(self) -> Access:
        return Access(environment=self.environment, passphrase=lambda: None)

    def holds(self, *versions: Private) -> None:
        self.keeper.keys[self.name] = list(versions)

    def refused(self, keyref: str | None = None, act: Callable[..., Any] = open_key) -> VerifierError:
        with pytest.raises(VerifierError) as caught:
            act(keyref or self.keyref, self.access)
        return caught.value


@contextlib.contextmanager
def running(kind: str, tmp_path: Path) -> Iterator[Kind]:
    with contextlib.ExitStack() as stack:
        match kind:
            case "awskms":
                keeper = stack.enter_context(kept(aws.answer))
                yield Kind(keeper, KEY_ID, f"awskms:///{KEY_ID}", aws.environment(keeper.url))
            case "gcpkms":
                keeper = stack.enter_context(kept(gcp.answer))
                yield Kind(keeper, gcp.KEY, f"gcpkms://{gcp.KEY}", gcp.environment(keeper.url, tmp_path))
            case "azurekms":
                context, authority = certified(tmp_path, "team.vault.test")
                identity = stack.enter_context(kept(azure.identity))
                keeper = stack.enter_context(kept(azure.answer, tls=context, host="team.vault.test"))
                host = keeper.url.removeprefix("https://")
                yield Kind(keeper, "release", f"azurekms://{host}/release", azure.environment(identity.url, str(authority)))
            case _:
                keeper = stack.enter_context(kept(vault.answer))
                yield Kind(keeper, "release", "hashivault://release", vault.environment(keeper.url))


KINDS = ("awskms", "gcpkms", "azurekms", "hashivault")


def only(*kinds: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("kind", kinds, indirect=True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    azure.find_vault_here(monkeypatch)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_PROFILE", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with running(request.param, tmp_path) as found:
        set_all(monkeypatch, found.environment)
        found.holds(P256)
        yield found


def is_key(public: PublicKey, private: Private) -> bool:
    return public.key_id == any_public_key(private.public_key()).key_id


ALGORITHMS: dict[str, Private] = {"p256": P256, "p384": P384, "p521": P521, "rsa": RSA}
EVERY = [(kind, name) for kind in KINDS for name in ALGORITHMS if (kind, name) != ("gcpkms", "p521")]  # Google has no keys on P-521


@pytest.mark.parametrize(("kind", "name"), EVERY, indirect=["kind"])
def test_each_kind_signs_with_each_algorithm(kind: Kind, name: str) -> None:
    private = ALGORITHMS[name]
    kind.holds(private)
    key = open_key(kind.keyref, kind.access)
    assert is_key(key.public, private)
    signature = key.sign(b"message")
    assert key.public.verifies(signature, b"message")
    assert not key.public.verifies(signature, b"massage")
    assert is_key(public_key(kind.keyref, kind.access), private)


def test_the_newest_version_signs(kind: Kind) -> None:
    """Eleven versions: by their text 9 would come last."""
    kind.holds(*(P384 for _ in range(10)), P256)
    key = open_key(kind.keyref, kind.access)
    assert is_key(key.public, P256)
    assert key.public.verifies(key.sign(b"message"), b"message")


@only("gcpkms", "azurekms", "hashivault")
def test_a_key_that_is_rotated_in_between_does_not_matter(kind: Kind) -> None:
    """The version whose public half was read is the one that signs. AWS has no versions; an alias that moves is tested below."""
    key = open_key(kind.keyref, kind.access)
    kind.holds(P256, P384)
    assert key.public.verifies(key.sign(b"message"), b"message")


def test_what_comes_back_must_be_the_keys(kind: Kind) -> None:
    kind.keeper.forge = ec.generate_private_key(ec.SECP256R1())
    key = open_key(kind.keyref, kind.access)
    with pytest.raises(VerifierError) as caught:
        key.sign(b"message")
    assert caught.value.code.name == "signing-failed"
    assert key.public.key_id in caught.value.reason


def test_a_key_that_is_not_there(kind: Kind) -> None:
    kind.keeper.keys.clear()
    error = kind.refused()
    assert (error.code.name, error.where) == ("key-unavailable", kind.keyref)
    assert kind.refused(act=public_key).code.name == "key-unavailable"


def test_credentials_that_are_refused(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "IDENTITY_HEADER", "VAULT_TOKEN"):
        if name in kind.environment:
            monkeypatch.setenv(name, "wrong")
            kind.environment[name] = "wrong"
    if kind.keyref.startswith("gcpkms"):
        kind.keeper.refusal = Answer(403, {"error": {"code": 403, "message": "Permission denied on resource", "status": "PERMISSION_DENIED"}})
    error = kind.refused()
    assert error.code.name == "key-unavailable"
    assert "canary" not in str(error)


def test_no_credentials_at_all(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "IDENTITY_ENDPOINT", "VAULT_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
        kind.environment.pop(name, None)
    no_identity(monkeypatch)
    assert kind.refused().code.name == "key-unavailable"


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_refusals_are_told(kind: Kind, status: int) -> None:
    kind.keeper.refusal = Answer(
        status, {"__type": "X", "message": "no", "error": {"code": status, "message": "no", "status": "INVALID_ARGUMENT"}, "errors": ["no"]}
    )
    assert kind.refused().code.name == "key-unavailable"


def test_nonsense_is_told(kind: Kind) -> None:
    kind.keeper.nonsense = True
    assert kind.refused().code.name == "key-unavailable"


def test_nobody_there(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    for name in ("AWS_ENDPOINT_URL_KMS", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDKMS", "VAULT_ADDR"):
        if name in kind.environment:
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
            kind.environment[name] = f"http://127.0.0.1:{port}"
    keyref = f"azurekms://team.vault.test:{port}/release" if kind.keyref.startswith("azurekms") else kind.keyref
    assert kind.refused(keyref).code.name == "key-unavailable"


def test_a_refusal_while_signing(kind: Kind) -> None:
    key = open_key(kind.keyref, kind.access)
    kind.keeper.refusal = Answer(
        403, {"__type": "AccessDeniedException", "message": "no", "error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED"}, "errors": ["no"]}
    )
    with pytest.raises(VerifierError) as caught:
        key.sign(b"message")
    assert caught.value.code.name == "key-unavailable"


UNSUPPORTED: dict[str, Private] = {
    "awskms": ec.generate_private_key(ec.SECP256K1()),
    "gcpkms": rsa.generate_private_key(65537, 3072),  # the stand-in says that it is for PSS
    "azurekms": ec.generate_private_key(ec.SECP256K1()),
    "hashivault": rsa.generate_private_key(65537, 1024),
}


def test_keys_of_other_algorithms(kind: Kind) -> None:
    kind.holds(UNSUPPORTED[kind.keyref.partition(":")[0]])
    assert kind.refused().code.name == "key-unsupported"


def test_an_extra_that_is_missing_is_named(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in {"boto3", "google", "azure", "hvac"}:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    error = kind.refused()
    extra = {"awskms": "aws", "gcpkms": "gcp", "azurekms": "azure", "hashivault": "vault"}[kind.keyref.partition(":")[0]]
    assert error.code.name == "extra-missing"
    assert f"helm-verifier[{extra}]" in error.reason


# What is written

MALFORMED = (
    "awskms://1234",
    "awskms:///not-an-id",
    "awskms:///arn:aws:kms:eu-central-1:1:key/x",
    "gcpkms://projects/p",
    f"gcpkms://{gcp.KEY}/cryptoKeyVersions/one",
    "azurekms://team/release",
    "azurekms://team.vault.azure.net",
    "hashivault://",
    "hashivault://a/b",
    "hashivault://../x",
    "k8s://team",
    "k8s://team/a/b",
    "pkcs11:token=t",
    "pkcs11:object=o;object=p?module-path=/x",
    "pkcs11:object=o;colour=red?module-path=/x",
    "pkcs11:object=o;type=cert?module-path=/x",
    "pkcs11:object=o?module-path=x.so",
    "pkcs11:object=o",
    "gitlab://acme/charts",
    "https://acme.test/ci.pub",
)


@pytest.mark.parametrize("keyref", MALFORMED)
def test_malformed_references(keyref: str) -> None:
    for act in (open_key, public_key):
        with pytest.raises(VerifierError) as caught:
            act(keyref, Access(environment={"VAULT_ADDR": "http://127.0.0.1:1"}, passphrase=lambda: None))
        assert caught.value.code.name == "key-invalid"


def test_a_pin_on_the_command_line_is_refused_and_not_repeated() -> None:
    with pytest.raises(VerifierError) as caught:
        open_key("pkcs11:object=o?module-path=/x.so&pin-value=1234", Access(environment={}, passphrase=lambda: None))
    assert (caught.value.code.name, "1234" in str(caught.value)) == ("key-invalid", False)


def test_vault_without_an_address() -> None:
    with pytest.raises(VerifierError) as caught:
        open_key("hashivault://release", Access(environment={}, passphrase=lambda: None))
    assert caught.value.code.name == "config-invalid"


# Each keeper's own


@only("awskms")
@pytest.mark.parametrize("written", [aws.arn(KEY_ID), "alias/release", f"arn:aws:kms:{aws.REGION}:{aws.ACCOUNT}:alias/release", KEY_ID])
def test_aws_names(kind: Kind, written: str) -> None:
    key = open_key(f"awskms:///{written}", kind.access)
    assert key.public.verifies(key.sign(b"m"), b"m")


@only("awskms")
def test_an_alias_that_moves_in_between_does_not_matter(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    other = KEY_ID.replace("1", "2")
    kind.keeper.keys[other] = [P384]
    key = open_key("awskms:///alias/release", kind.access)
    monkeypatch.setitem(aws.ALIASES, "alias/release", other)
    assert key.public.verifies(key.sign(b"m"), b"m")


@only("gcpkms", "azurekms")
def test_versions_can_be_named(kind: Kind) -> None:
    kind.holds(P256, P384)
    version = "cryptoKeyVersions/1" if kind.keyref.startswith("gcpkms") else azure.version(1)
    key = open_key(f"{kind.keyref}/{version}", kind.access)
    assert is_key(key.public, P256)
    assert key.public.verifies(key.sign(b"m"), b"m")


def test_vaults_other_types_are_refused() -> None:
    with kept(vault.answer) as keeper:
        keeper.refusal = Answer(200, {"data": {"type": "ed25519", "latest_version": 1, "keys": {"1": {"public_key": "AAAA"}}}})
        found = Kind(keeper, "release", "hashivault://release", vault.environment(keeper.url))
        assert found.refused().code.name == "key-unsupported"


def test_vaults_engine_may_be_elsewhere_and_openbao_names_it_so() -> None:
    with kept(vault.answer) as keeper:
        keeper.keys["release"] = [P256]
        found = Kind(keeper, "release", "openbao://release", {"BAO_ADDR": keeper.url, "BAO_TOKEN": vault.TOKEN})
        assert is_key(open_key(found.keyref, found.access).public, P256)
        found.environment["TRANSIT_SECRET_ENGINE_PATH"] = "elsewhere"
        assert found.refused().code.name == "key-unavailable"
        assert keeper.asked[-1] == "GET /v1/elsewhere/keys/release"


def test_vaults_token_does_not_follow_a_redirect() -> None:
    with kept(vault.answer) as other, kept(vault.answer) as keeper:
        other.keys["release"] = [P256]
        keeper.refusal = Answer(307, {}, {"Location": f"{other.url}/v1/transit/keys/release"})
        found = Kind(keeper, "release", "hashivault://release", vault.environment(keeper.url))
        assert found.refused().code.name == "key-unavailable"
        assert other.asked == []


# Secrets of a cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[kubernetes.Secrets, Access]]:
    held = kubernetes.Secrets()
    context, authority = certified(tmp_path, "127.0.0.1")
    with kept(held.answer, tls=context) as keeper:
        environment = kubernetes.kubeconfig(keeper.url, tmp_path / "kubeconfig", ca=authority)
        yield held, Access(environment=environment, passphrase=lambda: b"typed")


def put(held: kubernetes.Secrets, **data: bytes) -> None:
    encoded = {name.replace("_", "."): base64.b64encode(value).decode() for name, value in data.items()}
    held.held["charts", "release"] = kubernetes.secret("charts", "release", encoded)


def test_a_secret_holds_a_key_pair(cluster: tuple[kubernetes.Secrets, Access]) -> None:
    held, access = cluster
    key = pair("cluster")
    put(held, cosign_key=private_pem(key, b"secret"), cosign_password=b"secret", cosign_pub=public_pem(key.public))
    opened = open_key("k8s://charts/release", access)
    assert opened.public.verifies(opened.sign(b"m"), b"m")
    assert public_key("k8s://charts/release", access).key_id == key.public.key_id
    put(held, cosign_key=private_pem(key, b"typed"))
    assert open_key("k8s://charts/release", access).public.key_id == key.public.key_id


def test_secrets_that_are_refused(cluster: tuple[kubernetes.Secrets, Access]) -> None:
    held, access = cluster
    key = pair("cluster")

    def code(act: Callable[..., Any] = open_key) -> str:
        with pytest.raises(VerifierError) as caught:
            act("k8s://charts/release", access)
        assert "canary" not in str(caught.value)
        return caught.value.code.name

    assert code() == "key-unavailable"  # no such Secret
    put(held, cosign_pub=public_pem(key.public))
    assert code() == "key-unavailable"  # no private key in it
    put(held, cosign_key=private_pem(key, b"secret"), cosign_password=b"wrong")
    assert (code(), code(public_key)) == ("passphrase-wrong", "key-unavailable")
    put(held, cosign_key=b"text", cosign_pub=b"text")
    assert (code(), code(public_key)) == ("key-invalid", "key-unavailable")
    held.held["charts", "release"]["data"] = {"cosign.key": "!"}
    assert code() == "key-unavailable"


def test_a_cluster_that_does_not_know_us_and_kubeconfigs_that_are_none(cluster: tuple[kubernetes.Secrets, Access], tmp_path: Path) -> None:
    put(cluster[0], cosign_pub=public_pem(pair("cluster").public))
    config = (tmp_path / "kubeconfig").read_text()
    for text in (
        config.replace(kubernetes.TOKEN, "wrong"),
        config.replace("ca.pem", "other.pem"),
        config.replace("current-context: here", "current-context: there"),
        "[",
        "",
    ):
        (tmp_path / "kubeconfig").write_text(text)
        with pytest.raises(VerifierError) as caught:
            public_key("k8s://charts/release", cluster[1])
        assert caught.value.code.name == "key-unavailable"
    for environment in ({"KUBECONFIG": str(tmp_path / "missing")}, {"HOME": str(tmp_path)}):
        with pytest.raises(VerifierError) as caught:
            public_key("k8s://charts/release", Access(environment=environment, passphrase=lambda: None))
        assert caught.value.code.name == "key-unavailable"


def test_without_tls_no_credential_is_sent(tmp_path: Path) -> None:
    held = kubernetes.Secrets()
    with kept(held.answer) as keeper:
        environment = kubernetes.kubeconfig(keeper.url, tmp_path / "kubeconfig")
        with pytest.raises(VerifierError) as caught:
            public_key("k8s://charts/release", Access(environment=environment, passphrase=lambda: None))
    assert (caught.value.code.name, held.authorizations) == ("key-unavailable", [""])


def test_every_request_is_overheard(kind: Kind) -> None:
    """Whatever the SDK speaks HTTP with; a secret in a query is not shown."""
    told: list[str] = []
    with overheard(told.append), overheard(told.append):
        open_key(kind.keyref, kind.access).sign(b"x")
    asked = [line for line in told if line.split()[1].startswith(kind.keeper.url)]
    assert len(asked) == len(kind.keeper.asked) >= 2, told
    assert asked[-1].endswith("-> 200")
    assert not any("?" in line and "?..." not in line for line in told)
