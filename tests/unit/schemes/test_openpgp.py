"""OpenPGP verification: rows of the tables that verifiers disagree about, each with its answer."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pysequoia
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import packet

from tests.support.charts import archive, chart_file
from tests.support.signers import PGP, key_anchor, pair, pgp, trust
from verifier.charts.clearsign import read_clearsigned, with_checksum
from verifier.charts.provenance import write_provenance
from verifier.model.artifact import Descriptor, OciChart
from verifier.model.claim import Claim, OpenPGPSigner, Rejection
from verifier.model.digest import Digest
from verifier.model.errors import MisuseError
from verifier.model.evidence import Evidence, Kind, Location
from verifier.model.reference import PinnedReference
from verifier.schemes.openpgp import gpg
from verifier.schemes.openpgp.certificates import read_keyring
from verifier.schemes.openpgp.generate import generate_key
from verifier.schemes.openpgp.packets import with_exact_numbers
from verifier.schemes.openpgp.sign import AgentKey, SecretKey, load_openpgp_key, sign_text
from verifier.schemes.openpgp.verify import OpenPGPScheme
from verifier.trust.anchors import OPENPGP, Anchor, TrustMaterial

CHART = chart_file()
TEXT = write_provenance(CHART.facts, CHART.digest)
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="the gpg program is not installed; the same rows run without it where they can")


def verify(data: bytes, material: TrustMaterial | None = None) -> list[Claim | Rejection]:
    evidence = Evidence(location=Location(kind=Kind.FILE, where="web.prov"), media_type="prov", payload=data)
    return list(OpenPGPScheme().verify(evidence, CHART, material or trust(pgp().anchor())))


def rejected(data: bytes, material: TrustMaterial | None = None) -> str:
    results = verify(data, material)
    assert all(isinstance(item, Rejection) for item in results), "something verified"
    assert results
    first = results[0]
    assert isinstance(first, Rejection)
    return first.code.name


def claimed(data: bytes, material: TrustMaterial | None = None) -> Claim:
    claims = [item for item in verify(data, material) if isinstance(item, Claim)]
    assert len(claims) == 1
    return claims[0]


def rearmored(data: bytes, packets: bytes) -> bytes:
    """The clear-signed text of `data` with other signature packets."""
    head = data.split(b"-----BEGIN PGP SIGNATURE-----")[0]
    body = base64.encodebytes(packets).decode()
    return with_checksum(head + f"-----BEGIN PGP SIGNATURE-----\n\n{body}-----END PGP SIGNATURE-----\n".encode(), where="x")


def test_a_good_signature_is_a_claim() -> None:
    claim = claimed(pgp().clearsign(TEXT))
    assert isinstance(claim.signer, OpenPGPSigner)
    assert claim.signer.fingerprint == pgp().fingerprint
    assert claim.signer.signing_key != pgp().fingerprint, "a subkey signed"
    assert claim.anchors == frozenset(("team",))
    assert claim.digest == CHART.digest
    assert not claim.times[0].proven


def test_a_layer_that_is_named_by_another_hash_is_the_same_archive() -> None:
    """Helm writes SHA-256 into a `.prov`, whatever a registry's client names its layers by."""
    named = Digest("sha512", hashlib.sha512(CHART.archive).hexdigest())
    reference = PinnedReference(registry="reg.test", repository="web", digest=named, tag=None, was_pinned=True)
    layer = Descriptor(media_type="chart", digest=named, size=len(CHART.archive))
    evidence = Evidence(location=Location(kind=Kind.FILE, where="web.prov"), media_type="prov", payload=pgp().clearsign(TEXT))
    for data, claims in ((CHART.archive, True), (CHART.archive + b"x", False)):
        chart = OciChart(reference=reference, manifest=b"", config=b"", chart=layer, provenance=None, facts=CHART.facts, archive=data)
        assert [isinstance(item, Claim) for item in OpenPGPScheme().verify(evidence, chart, trust(pgp().anchor()))] == [claims]


@pytest.mark.parametrize(
    "change",
    {
        "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
        "trailing blanks": lambda data: data.replace(b"name: web\n", b"name: web  \n"),
        "no checksum": lambda data: b"\n".join(line for line in data.split(b"\n") if not (line.startswith(b"=") and len(line) == 5)),
        "a byte order mark": lambda data: b"\xef\xbb\xbf" + data,
        "the Hash header changed": lambda data: data.replace(b"Hash: SHA512", b"Hash: SHA256"),
    }.values(),
)
def test_harmless_differences(change) -> None:  # type: ignore[no-untyped-def]
    assert claimed(change(pgp().clearsign(TEXT)))


def test_tampered_text() -> None:
    assert rejected(pgp().clearsign(TEXT).replace(b"name: web", b"name: wob")) == "openpgp-bad-signature"


def test_an_unknown_signer() -> None:
    assert rejected(pgp("stranger").clearsign(TEXT)) == "openpgp-unknown-key"


def test_a_key_of_the_keyring_that_the_policy_does_not_name() -> None:
    both = pgp().public + b"\n" + pgp("other").public
    anchor = Anchor(name="team", kind=OPENPGP, data=both, fingerprints=frozenset((pgp().fingerprint,)))
    assert rejected(pgp("other").clearsign(TEXT), trust(anchor)) == "openpgp-unknown-key"
    assert claimed(pgp().clearsign(TEXT), trust(anchor))
    open_anchor = Anchor(name="team", kind=OPENPGP, data=both, any_key=True)
    assert claimed(pgp("other").clearsign(TEXT), trust(open_anchor))


def test_no_keyring_at_all() -> None:
    assert rejected(pgp().clearsign(TEXT), trust(key_anchor())) == "openpgp-unknown-key"


def test_the_prov_of_another_chart() -> None:
    other = chart_file(archive(version="1.4.3"))
    assert rejected(pgp().provenance(other)) == "provenance-mismatch"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"-----BEGIN PGP MESSAGE-----\n\nowE=\n-----END PGP MESSAGE-----\n",
        pgp().clearsign(TEXT) * 2,
        b"junk\n" + pgp().clearsign(TEXT),
        rearmored(pgp().clearsign(TEXT), b"\x00\x01\x02"),
        rearmored(pgp().clearsign(TEXT), bytes(pysequoia.Cert.from_bytes(pgp().public))),
    ],
    ids=["empty", "binary", "another armor", "two messages", "text before", "no packets", "a certificate for a signature"],
)
def test_what_is_no_clear_signed_message(data: bytes) -> None:
    assert rejected(data) == "provenance-malformed"


def test_each_signature_is_judged_on_its_own() -> None:
    good, stranger = pgp().clearsign(TEXT), pgp("stranger").clearsign(TEXT)
    packets = [read_clearsigned(item, where="x").signature for item in (stranger, good)]
    results = verify(rearmored(good, packets[0] + packets[1]))
    assert [type(item) for item in results] == [Rejection, Claim]


def test_the_same_signature_twice_is_two_claims_by_one_principal() -> None:
    good = pgp().clearsign(TEXT)
    packet = read_clearsigned(good, where="x").signature
    claims = [item for item in verify(rearmored(good, packet * 2)) if isinstance(item, Claim)]
    assert len({claim.signer.principal for claim in claims}) == 1


def test_too_many_signatures() -> None:
    good = pgp().clearsign(TEXT)
    assert rejected(rearmored(good, read_clearsigned(good, where="x").signature * 17)) == "provenance-malformed"


def test_a_key_that_expires_is_left_to_the_policy() -> None:
    claim = claimed(pgp("short", 86_400).clearsign(TEXT), trust(pgp("short", 86_400).anchor()))
    assert claim.key_expires is not None
    assert claim.key_expires > datetime.now(UTC)


def inexact(data: bytes) -> bytes:
    """The same signature with its numbers' bit counts rounded up, as Helm before 3.21.4 writes them."""
    packets = with_exact_numbers(read_clearsigned(data, where="x").signature)
    body = packets[6:]
    hashed = 6 + int.from_bytes(body[4:6], "big")
    start = hashed + 2 + int.from_bytes(body[hashed : hashed + 2], "big") + 2
    numbers, rest = b"", body[start:]
    while rest:
        size = (int.from_bytes(rest[:2], "big") + 7) // 8
        numbers += (size * 8 + 8).to_bytes(2, "big") + b"\0" + rest[2 : 2 + size]
        rest = rest[2 + size :]
    body = body[:start] + numbers
    return rearmored(data, bytes((0xC2, 0xFF)) + len(body).to_bytes(4, "big") + body)


def test_numbers_with_a_wrong_bit_count_are_read() -> None:
    signed = inexact(pgp().clearsign(TEXT))
    packet_type = next(iter(packet.PacketPile.from_bytes(read_clearsigned(signed, where="x").signature))).signature_type
    assert packet_type is None, "the library alone cannot read it, so this test tests something"
    assert claimed(signed)
    assert rejected(signed.replace(b"name: web", b"name: wob")) == "openpgp-bad-signature"


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc2", b"\xc2\x05\x04", b"\xc2\xe0\x04", b"\x8b\x04", b"\xc2\x03\x04\x00\x01", b"\x88\x02\x04\x00"])
def test_packets_that_are_none_are_passed_on(data: bytes) -> None:
    assert with_exact_numbers(data) == data


@pytest.mark.parametrize("offset, value", [(1, 0xEF), (2, 99), (3, 51), (0, 9)], ids=["type", "key algorithm", "hash algorithm", "version"])
def test_a_signature_packet_with_values_that_nobody_knows_is_a_rejection(offset: int, value: int) -> None:
    good = pgp().clearsign(TEXT)
    packets = bytearray(with_exact_numbers(read_clearsigned(good, where="x").signature))
    packets[6 + offset] = value
    results = verify(rearmored(good, bytes(packets) + read_clearsigned(good, where="x").signature))
    assert [type(item) for item in results] == [Rejection, Claim], "it neither counts nor hides a good one"


ONCE = pgp().clearsign(TEXT)


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=3))
def test_no_packet_is_more_than_rejected(changes: list[tuple[int, int]]) -> None:
    packets = bytearray(read_clearsigned(ONCE, where="x").signature)
    for position, value in changes:
        packets[position] = value
    for item in verify(rearmored(ONCE, bytes(packets))):
        assert isinstance(item, Rejection) or item.signer.principal == f"openpgp:{pgp().fingerprint}"


# Keyrings


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n", pgp().secret, b"\x99" + b"\0" * 5_000_000],
    ids=["empty", "text", "broken armor", "a secret key", "too large"],
)
def test_what_is_no_keyring(data: bytes) -> None:
    with pytest.raises(MisuseError) as caught:
        read_keyring(data)
    assert caught.value.code.name == "trust-invalid"


def test_keyrings_in_every_form() -> None:
    binary = bytes(pysequoia.Cert.from_bytes(pgp().public))
    for data in (pgp().public, binary, binary * 1 + bytes(pysequoia.Cert.from_bytes(pgp("other").public)), pgp().public + pgp("other").public):
        assert pgp().fingerprint in {certificate.fingerprint for certificate in read_keyring(data)}


# Signing


def test_signing_with_a_secret_key_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = generate_key("maker <maker@example.test>")
    path = tmp_path / "secret.asc"
    path.write_bytes(key.secret)
    monkeypatch.setenv("RELEASE_KEY", key.secret.decode())
    anchor = Anchor(name="maker", kind=OPENPGP, data=key.public, fingerprints=frozenset((key.fingerprint,)))
    for keyref in (str(path), "env://RELEASE_KEY"):
        signed = sign_text(TEXT, load_openpgp_key(keyref), passphrase=None)
        assert claimed(signed, trust(anchor)).signer.principal == f"openpgp:{key.fingerprint}"
        assert signed == with_checksum(signed, where="x")
    monkeypatch.setattr(gpg, "available", lambda: False)
    assert claimed(sign_text(TEXT, load_openpgp_key(str(path)), passphrase=None), trust(anchor))
    assert "PRIVATE" not in repr(load_openpgp_key(str(path))) + repr(key)


def test_keys_that_cannot_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(keyref: str) -> str:
        with pytest.raises(MisuseError) as caught:
            sign_text(TEXT, load_openpgp_key(keyref), passphrase="wrong")
        return caught.value.code.name

    public = tmp_path / "public.asc"
    public.write_bytes(pgp().public)
    assert refused(str(public)) == "key-invalid"
    assert refused("env://NOT_SET_ANYWHERE") == "key-invalid"
    broken = tmp_path / "broken.asc"
    broken.write_bytes(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n")
    monkeypatch.setattr(gpg, "available", lambda: False)
    assert refused(str(broken)) == "key-invalid"
    assert refused("nobody@example.test") == "tool-missing"


# With GnuPG's own keys


def gpg_run(home: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


class Home:
    """A GnuPG home of the test's own."""

    def __init__(self, path: Path, algorithm: str, *options: str) -> None:
        self.path = path
        gpg_run(path, *options, "--quick-gen-key", "g <g@example.test>", algorithm, "sign", "never")
        listing = gpg_run(path, "--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))

    def clearsign(self, *options: str) -> bytes:
        return gpg_run(self.path, *options, "--clearsign", stdin=TEXT.encode())

    def trust(self) -> TrustMaterial:
        return trust(Anchor(name="g", kind=OPENPGP, data=gpg_run(self.path, "--export"), fingerprints=frozenset((self.fingerprint,))))


@pytest.fixture
def home_path():  # type: ignore[no-untyped-def]
    with gpg.temporary_home() as path:
        yield path


@needs_gpg
@pytest.mark.parametrize("algorithm", ["rsa2048", "rsa4096", "ed25519", "nistp256", "nistp384", "dsa3072"])
def test_gnupg_keys_of_every_kind(home_path: Path, algorithm: str) -> None:
    home = Home(home_path, algorithm)
    signed = home.clearsign("--digest-algo", "SHA512")
    result = verify(signed, home.trust())[0]
    if isinstance(result, Rejection):
        pytest.fail(f"{algorithm}: {result.code.name}: {result.reason}")
    bare = b"\n".join(line for line in signed.split(b"\n") if not (line.startswith(b"=") and len(line) == 5))
    assert claimed(bare, home.trust()), "GnuPG's T7071: no checksum"


@needs_gpg
@pytest.mark.parametrize("algorithm", ["rsa2048", "nistp256", "nistp384"])
def test_the_same_key_in_two_kinds_has_one_name(home_path: Path, algorithm: str) -> None:
    """Semantics 10: gpg exports the key as OpenSSH writes it, and there the plain key must have the claim's key id."""
    from cryptography.hazmat.primitives import serialization

    home = Home(home_path, algorithm)
    gpg_run(home_path, "--quick-add-key", home.fingerprint, algorithm + ("/ecdsa" if algorithm.startswith("nist") else ""), "auth", "never")
    listing = gpg_run(home_path, "--with-colons", "--list-keys").decode()
    subkey = [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr")][1]
    ssh = gpg_run(home_path, "--export-ssh-key", f"{subkey}!")
    spki = serialization.load_ssh_public_key(ssh).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    certificate = read_keyring(gpg_run(home_path, "--export"))[0]
    key = certificate.key(subkey.lower())
    assert key is not None
    assert key.plain_id == f"sha256:{hashlib.sha256(spki).hexdigest()}"


@needs_gpg
def test_a_curve_that_the_library_does_not_know_is_named(home_path: Path) -> None:
    home = Home(home_path, "brainpoolP256r1")
    assert rejected(home.clearsign(), home.trust()) == "openpgp-unsupported"


@needs_gpg
@pytest.mark.parametrize("digest", ["SHA1", "RIPEMD160"])
def test_weak_hashes(home_path: Path, digest: str) -> None:
    home = Home(home_path, "rsa2048")
    assert rejected(home.clearsign("--digest-algo", digest), home.trust()) == "openpgp-weak"


@needs_gpg
def test_a_weak_key(home_path: Path) -> None:
    home = Home(home_path, "rsa1024")
    assert rejected(home.clearsign("--digest-algo", "SHA256"), home.trust()) == "openpgp-weak"


@needs_gpg
def test_an_expired_signature(home_path: Path) -> None:
    home = Home(home_path, "ed25519", "--faked-system-time", "20250101T000000!")
    signed = home.clearsign("--faked-system-time", "20250102T000000!", "--default-sig-expire", "10d", "--digest-algo", "SHA256")
    assert rejected(signed, home.trust()) == "openpgp-expired-signature"


@needs_gpg
def test_a_signature_from_the_future(home_path: Path) -> None:
    home = Home(home_path, "ed25519")
    assert rejected(home.clearsign("--faked-system-time", "20400101T000000!"), home.trust()) == "openpgp-future"


@needs_gpg
@pytest.mark.parametrize("reason, code", [("1", "openpgp-key-revoked"), ("3", None)])
def test_a_revoked_key(home_path: Path, reason: str, code: str | None) -> None:
    """Compromised (1): never again. Retired (3): a claim, and the policy decides."""
    home = Home(home_path, "ed25519", "--faked-system-time", "20250101T000000!")
    signed = home.clearsign("--faked-system-time", "20250102T000000!", "--digest-algo", "SHA256")
    script = f"y\n{reason}\n\ny\n".encode()
    command = ["gpg", "--homedir", str(home_path), "--no-tty", "--command-fd", "0", "--pinentry-mode", "loopback", "--passphrase", ""]
    certificate = subprocess.run([*command, "--gen-revoke", home.fingerprint], input=script, capture_output=True, check=True).stdout
    gpg_run(home_path, "--import", stdin=certificate)
    if code is not None:
        assert rejected(signed, home.trust()) == code
    else:
        assert claimed(signed, home.trust()).key_revoked


@needs_gpg
def test_an_expired_key_with_an_older_signature_is_left_to_the_policy(home_path: Path) -> None:
    gpg_run(home_path, "--faked-system-time", "20250101T000000!", "--quick-gen-key", "g <g@example.test>", "ed25519", "sign", "30d")
    listing = gpg_run(home_path, "--with-colons", "--list-keys").decode()
    fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
    signed = gpg_run(home_path, "--faked-system-time", "20250102T000000!", "--digest-algo", "SHA256", "--clearsign", stdin=TEXT.encode())
    anchor = Anchor(name="g", kind=OPENPGP, data=gpg_run(home_path, "--export"), fingerprints=frozenset((fingerprint,)))
    claim = claimed(signed, trust(anchor))
    assert claim.key_expires is not None
    assert claim.key_expires < datetime.now(UTC)


@needs_gpg
def test_agent_keys_and_wrong_passphrases(home_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(home_path, "ed25519")
    monkeypatch.setenv("GNUPGHOME", str(home_path))
    signed = sign_text(TEXT, AgentKey(home.fingerprint), passphrase="")
    assert claimed(signed, home.trust())
    with pytest.raises(MisuseError) as caught:
        sign_text(TEXT, AgentKey("nobody@example.test"), passphrase=None)
    assert caught.value.code.name == "key-invalid"
    exported = gpg.export_public(home_path, (home.fingerprint,))
    assert read_keyring(exported)[0].fingerprint == home.fingerprint
    with pytest.raises(MisuseError) as caught:
        gpg.export_public(home_path, ("C" * 40,))
    assert caught.value.code.name == "trust-invalid"


@needs_gpg
def test_a_wrong_passphrase_leaves_no_half_signed_text(home_path: Path) -> None:
    command = ["gpg", "--homedir", str(home_path), "--batch", "--pinentry-mode", "loopback", "--passphrase", "right"]
    subprocess.run([*command, "--quick-gen-key", "p <p@example.test>", "ed25519", "sign", "never"], check=True, capture_output=True)
    secret = subprocess.run([*command, "--armor", "--export-secret-keys"], check=True, capture_output=True).stdout
    key = SecretKey(secret, "test")
    for passphrase in ("wrong", None):
        with pytest.raises(MisuseError) as caught:
            sign_text(TEXT, key, passphrase=passphrase)
        assert caught.value.code.name in ("passphrase-wrong", "signing-failed", "key-invalid")
    assert b"BEGIN PGP SIGNATURE" in sign_text(TEXT, key, passphrase="right")


@needs_gpg
def test_a_keybox_is_converted(home_path: Path) -> None:
    home = Home(home_path, "ed25519")
    data = (home_path / "pubring.kbx").read_bytes()
    assert read_keyring(gpg.export_keybox(data))[0].fingerprint == home.fingerprint


@needs_gpg
def test_gpg_verifies_what_we_sign(home_path: Path) -> None:
    key = generate_key("maker <maker@example.test>")
    signed = sign_text(TEXT, SecretKey(key.secret, "test"), passphrase=None)
    gpg_run(home_path, "--import", stdin=key.public)
    done = subprocess.run(["gpg", "--homedir", str(home_path), "--batch", "--status-fd", "1", "--verify"], input=signed, capture_output=True)
    assert done.returncode == 0
    assert b"VALIDSIG" in done.stdout


def test_the_keys_of_tests_are_what_they_say() -> None:
    assert isinstance(pgp(), PGP)
    assert pair().public.key_id.startswith("sha256:")
