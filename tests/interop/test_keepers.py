"""Keys that somebody keeps, by the same KEYREF: what we sign cosign verifies, and the reverse. SoftHSM 2 is a real token."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11.util.ec import encode_named_curve_parameters

from tests.interop.conftest import Peer, program
from tests.peers import LIBRARIES
from tests.simulators.keepers import Private, aws, certified, kept, kubernetes, set_all, vault
from tests.support.cli import run
from tests.unit.test_docs_keys import follow
from verifier.model.errors import VerifierError
from verifier.signers.keyref import open_key, public_key
from verifier.signers.remote import Access

MakePeer = Callable[[str], Peer]
VERIFY = ("verify", "--insecure-ignore-tlog", "--allow-http-registry", "--key")
ONE_REGISTRY = pytest.mark.parametrize("any_registry", ["embedded"], indirect=True)
PIN = "648219"


def both_ways(cosign: Peer, pushed: str, keyref: str, environment: dict[str, str]) -> None:
    """Cosign signs and we verify, then the other way round, with the key named alike and with its public half alone."""
    (cosign.home / "nolog.json").write_text('{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}')
    shown = run("keys", "show", "--pem", keyref)
    assert shown.status == 0, shown.err
    public = cosign.home / "ours.pub"
    public.write_text(shown.out)
    assert run("verify", f"oci://{pushed}", "--key", str(public)).status == 1
    cosign("sign", "--signing-config", "nolog.json", "--key", keyref, "-y", "--allow-http-registry", pushed, check=True, **environment)
    for key in (keyref, str(public)):
        ran = run("verify", f"oci://{pushed}", "--key", key)
        assert ran.status == 0, ran.text
    ran = run("sign", f"oci://{pushed}", "--key", keyref)
    assert ran.status == 0, ran.err
    # To verify, cosign takes a PIN from nowhere but the URI; and SoftHSM wants one.
    theirs = f"{keyref}?pin-value={PIN}" if keyref.startswith("pkcs11:") else keyref
    for key in (theirs, str(public)):
        found = cosign(*VERIFY, key, pushed, check=True, **environment).stdout
        assert found.count(b"docker-manifest-digest") == 2


@ONE_REGISTRY
@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)], ids=["p256", "rsa"])
def test_vault(peer: MakePeer, pushed: str, private: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(vault.answer) as keeper:
        keeper.keys["release"] = [private]
        both_ways(peer("cosign-3.1.2"), pushed, "hashivault://release", set_all(monkeypatch, vault.environment(keeper.url)))


@ONE_REGISTRY
def test_aws(peer: MakePeer, pushed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept(aws.answer) as keeper:
        keeper.keys[aws.ALIASES["alias/release"]] = [ec.generate_private_key(ec.SECP256R1())]
        both_ways(peer("cosign-3.1.2"), pushed, "awskms:///alias/release", set_all(monkeypatch, aws.environment(keeper.url)))


@ONE_REGISTRY
def test_kubernetes(peer: MakePeer, pushed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets_held = kubernetes.Secrets()
    context, authority = certified(tmp_path, "127.0.0.1")
    with kept(secrets_held.answer, tls=context) as keeper:
        environment = set_all(monkeypatch, kubernetes.kubeconfig(keeper.url, tmp_path / "kubeconfig", ca=authority))
        cosign = peer("cosign-3.1.2")
        cosign("generate-key-pair", "k8s://charts/release", check=True, **environment, COSIGN_PASSWORD="secret")
        assert ("charts", "release") in secrets_held.held
        both_ways(cosign, pushed, "k8s://charts/release", environment)


# PKCS#11


class Token:
    """A SoftHSM 2 token of the test's own."""

    def __init__(self, directory: Path) -> None:
        (directory / "tokens").mkdir(parents=True)
        (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.directory, self.module = directory, LIBRARIES / "libsofthsm2.so"
        self.environment = {"SOFTHSM2_CONF": str(directory / "softhsm2.conf"), "COSIGN_PKCS11_PIN": PIN, "COSIGN_PKCS11_MODULE_PATH": str(self.module)}
        self.label = f"charts-{secrets.token_hex(4)}"
        self("--init-token", "--free", "--label", self.label, "--so-pin", "12345678", "--pin", PIN)

    def __call__(self, *arguments: str) -> None:
        command = [str(program("softhsm2-util-2.6.1")), "--module", str(self.module), *arguments]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **self.environment})

    def hold(self, private: Private, label: str, number: str) -> str:
        """Import a key pair; returns its KEYREF."""
        path = self.directory / "k.pem"
        path.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        self("--import", str(path), "--token", self.label, "--label", label, "--id", number, "--pin", PIN)
        return f"pkcs11:token={self.label};object={label}"

    def access(self, pin: str | None = PIN) -> Access:
        environment = {**self.environment}
        environment.pop("COSIGN_PKCS11_PIN")
        return Access(environment=environment, passphrase=lambda: pin.encode() if pin is not None else None)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Token]:
    program("softhsm2-util-2.6.1")
    found = Token(tmp_path / "hsm")
    set_all(monkeypatch, found.environment)
    yield found
    pkcs11.unload(str(found.module))  # it reads its configuration when it is loaded


@ONE_REGISTRY
@pytest.mark.parametrize("private", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)], ids=["p256", "rsa"])
def test_pkcs11(peer: MakePeer, pushed: str, private: Private, token: Token) -> None:
    both_ways(peer("cosign-pkcs11-3.1.2"), pushed, token.hold(private, "release", "01"), token.environment)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_token_signs_on_each_curve(token: Token, curve: ec.EllipticCurve) -> None:
    key = open_key(token.hold(ec.generate_private_key(curve), "release", "01"), token.access())
    assert key.public.verifies(key.sign(b"message"), b"message")
    assert PIN not in repr(key)


def test_a_token_names_its_keys(token: Token, tmp_path: Path) -> None:
    one, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    keyref = token.hold(one, "release", "01")
    token.hold(other, "release", "02")
    assert refused(keyref, token.access()).startswith("key-unavailable")  # two keys of that name
    keys = {number: open_key(f"{keyref};id=%{number}", token.access()) for number in ("01", "02")}
    assert keys["01"].public.key_id != keys["02"].public.key_id
    assert all(key.public.verifies(key.sign(b"m"), b"m") for key in keys.values())
    by_module = f"pkcs11:token={token.label};id=%02?module-path={token.module}"
    assert public_key(by_module, Access(environment={}, passphrase=lambda: PIN.encode())).key_id == keys["02"].public.key_id
    (tmp_path / "pin").write_text(f"{PIN}\n")
    assert open_key(f"{keyref};id=%01?pin-source=file:{tmp_path / 'pin'}", token.access(None)).public.key_id == keys["01"].public.key_id


def refused(keyref: str, access: Access) -> str:
    with pytest.raises(VerifierError) as caught:
        open_key(keyref, access)
    assert PIN not in str(caught.value)
    return f"{caught.value.code.name}: {caught.value.reason}"


def test_what_a_token_refuses(token: Token, tmp_path: Path) -> None:
    keyref = token.hold(ec.generate_private_key(ec.SECP256R1()), "release", "01")
    assert refused(keyref, token.access("0000")).startswith("passphrase-wrong: the token refuses the PIN (PinIncorrect)")
    assert refused(keyref, token.access(None)).startswith("key-unavailable: 0 private keys fit")
    assert refused("pkcs11:token=other;object=release", token.access()).startswith("key-unavailable: 0 tokens fit")
    assert refused("pkcs11:object=other;token=" + token.label, token.access()).startswith("key-unavailable: 0 private keys fit")
    assert refused(f"{keyref};slot-id=99", token.access()).startswith("key-unavailable: 0 tokens fit")
    assert refused(f"{keyref}?module-path={tmp_path / 'missing.so'}", token.access()).startswith("file-unreadable")
    (tmp_path / "text.so").write_text("no library")
    assert refused(f"{keyref}?module-path={tmp_path / 'text.so'}", token.access()).startswith("key-unavailable")
    assert refused(f"{keyref}?pin-source=file:{tmp_path / 'missing'}", token.access()).startswith("file-unreadable")
    other = token.hold(ec.generate_private_key(ec.SECP256K1()), "odd", "03")
    assert refused(other, token.access()).startswith("key-unsupported")


def test_keys_show_and_the_command_line_ask_for_the_pin_nowhere_but_where_it_may_stand(token: Token, monkeypatch: pytest.MonkeyPatch) -> None:
    keyref = token.hold(ec.generate_private_key(ec.SECP256R1()), "release", "01")
    monkeypatch.delenv("COSIGN_PKCS11_PIN")
    assert "key  sha256:" in run("keys", "show", keyref).out  # SoftHSM shows public keys to anybody
    ran = run("sign", "web-1.4.2.tgz", "--key", f"{keyref}?pin-value={PIN}")
    assert ran.status == 2
    assert PIN not in ran.text


def certificate(private: Private) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "release")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key()).serial_number(1)
    now = datetime.now(UTC)
    made = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1)).sign(private, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def test_a_token_may_hold_a_certificate_in_place_of_the_public_key(token: Token) -> None:
    """As the slots of a YubiKey do."""
    private = ec.generate_private_key(ec.SECP256R1())
    keyref = token.hold(private, "release", "01")
    key_id = open_key(keyref, token.access()).public.key_id
    with pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
        session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY).destroy()
    assert refused(keyref, token.access()).startswith("key-unavailable: 0 public keys or certificates fit")
    with pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
        session.create_object(
            {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.CERTIFICATE,
                pkcs11.Attribute.CERTIFICATE_TYPE: pkcs11.CertificateType.X_509,
                pkcs11.Attribute.TOKEN: True,
                pkcs11.Attribute.ID: b"\x01",
                pkcs11.Attribute.LABEL: "release",
                pkcs11.Attribute.SUBJECT: b"",
                pkcs11.Attribute.VALUE: certificate(private),
            }
        )
    key = open_key(keyref, token.access())
    assert (key.public.key_id, public_key(keyref, token.access(None)).key_id) == (key_id, key_id)
    assert key.public.verifies(key.sign(b"m"), b"m")


def test_a_token_with_keys_of_another_kind(token: Token) -> None:
    with pkcs11.lib(str(token.module)).get_token(token_label=token.label).open(rw=True, user_pin=PIN) as session:
        parameters = session.create_domain_parameters(
            pkcs11.KeyType.EC_EDWARDS, {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("1.3.101.112")}, local=True
        )
        parameters.generate_keypair(mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="edwards", id=b"\x07")
    assert refused(f"pkcs11:token={token.label};object=edwards", token.access()).startswith("key-unsupported")


@ONE_REGISTRY
def test_the_page_about_tokens(pushed: str, token: Token, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    token.hold(ec.generate_private_key(ec.SECP256R1()), "release", "01")
    assert follow("keys/pkcs11.md", **{"$CHART": f"oci://{pushed}", "token=charts": f"token={token.label}"}) == 3
