"""Key files: cosign's encrypted form, plain PEM, and what is refused with a reason."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from verifier.model.errors import MisuseError
from verifier.signers.cosign_key import decrypt_key, encrypt_key
from verifier.signers.key import generate_key, load_signing_key, private_pem
from verifier.signers.public import load_public_key, public_pem

PLAIN = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)


def write(path: Path, key: object, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*PLAIN, encryption))  # type: ignore[attr-defined]
    return str(path)


def refused(keyref: str, password: bytes | None = None) -> str:
    with pytest.raises(MisuseError) as caught:
        load_signing_key(keyref, password)
    return caught.value.code.name


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_curves_sign_with_their_own_hash(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = load_signing_key(write(tmp_path / "k.pem", ec.generate_private_key(curve)), None)
    signature = key.sign(b"message")
    assert key.public.verifies(signature, b"message")
    assert not key.public.verifies(signature, b"massage")
    assert not key.public.verifies(b"\x30\x00", b"message")


def test_rsa(tmp_path: Path) -> None:
    key = load_signing_key(write(tmp_path / "k.pem", rsa.generate_private_key(65537, 2048)), None)
    assert key.public.algorithm == "rsa-2048"
    assert key.public.verifies(key.sign(b"m"), b"m")


def test_keys_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(write(tmp_path / "ed", ed25519.Ed25519PrivateKey.generate())) == "key-unsupported"
    assert refused(write(tmp_path / "k1", ec.generate_private_key(ec.SECP256K1()))) == "key-unsupported"
    assert refused(write(tmp_path / "short", rsa.generate_private_key(65537, 1024))) == "key-unsupported"
    (tmp_path / "text").write_text("hello")
    assert refused(str(tmp_path / "text")) == "key-invalid"
    (tmp_path / "pub").write_bytes(public_pem(generate_key().public))
    assert refused(str(tmp_path / "pub")) == "key-invalid"
    assert refused(str(tmp_path / "missing")) == "file-unreadable"
    assert refused("env://NOT_SET") == "key-invalid"


def test_encrypted_pem(tmp_path: Path) -> None:
    path = write(tmp_path / "k.pem", ec.generate_private_key(ec.SECP256R1()), b"right")
    assert load_signing_key(path, b"right")
    assert refused(path, b"wrong") == "passphrase-wrong"
    assert refused(path) == "passphrase-wrong"


@pytest.mark.parametrize("password", [b"", b"secret"])
def test_cosigns_form_round_trip(tmp_path: Path, password: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_key()
    pem = private_pem(key, password)
    monkeypatch.setenv("SIGNING_KEY", pem.decode())
    assert load_signing_key("env://SIGNING_KEY", password).public == key.public
    assert refused("env://SIGNING_KEY", b"wrong") == "passphrase-wrong"
    assert "PRIVATE" not in repr(key)


def envelope(pem: bytes) -> dict[str, object]:
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    value: dict[str, object] = json.loads(base64.b64decode(body))
    return value


def reframed(value: object) -> bytes:
    body = base64.b64encode(json.dumps(value).encode()).decode()
    return f"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n{body}\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n".encode()


def test_the_cost_of_scrypt_is_not_the_files_to_choose() -> None:
    value = envelope(encrypt_key(b"der", b""))
    assert decrypt_key(reframed(value), b"", where="k") == b"der"
    for changed in list[Any](
        (
            {**value, "kdf": {**value["kdf"], "params": {"N": 2**24, "r": 8, "p": 1}}},  # type: ignore[dict-item]
            {**value, "kdf": {**value["kdf"], "params": {"N": 65536, "r": 800, "p": 1}}},  # type: ignore[dict-item]
            {**value, "kdf": {**value["kdf"], "name": "argon2"}},  # type: ignore[dict-item]
            {**value, "cipher": {"name": "none"}},
            {**value, "ciphertext": "***"},
            {},
            [],
        )
    ):
        with pytest.raises(MisuseError) as caught:
            decrypt_key(reframed(changed), b"", where="k")
        assert caught.value.code.name == "key-invalid"


@pytest.mark.parametrize("data", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_public_key(data: bytes) -> None:
    with pytest.raises(MisuseError) as caught:
        load_public_key(data)
    assert caught.value.code.name == "trust-invalid"


def test_public_keys_that_are_refused(tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    ed = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(MisuseError) as caught:
        load_public_key(ed)
    assert caught.value.code.name == "key-unsupported"
    with pytest.raises(MisuseError) as caught:
        load_public_key(Path(write(tmp_path / "k", private)).read_bytes())
    assert caught.value.code.name == "trust-invalid"
