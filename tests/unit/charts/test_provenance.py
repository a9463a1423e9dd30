"""The provenance text and the clear-sign gate."""

from __future__ import annotations

import pytest

from tests.support.charts import archive, chart_file
from tests.support.signers import pgp
from verifier.charts.clearsign import crc24, read_clearsigned, with_checksum
from verifier.charts.provenance import check_provenance, read_provenance, write_provenance
from verifier.model.errors import FailedError

CHART = chart_file()
TEXT = write_provenance(CHART.facts, CHART.digest)
SIGNED = pgp().clearsign(TEXT)
LINES = SIGNED.decode().split("\n")
BEGIN = "-----BEGIN PGP SIGNED MESSAGE-----"
SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
END = "-----END PGP SIGNATURE-----"


def without_checksum() -> bytes:
    return "\n".join(line for line in LINES if not (line.startswith("=") and len(line) == 5)).encode()


def signature_line(text: str) -> bytes:
    """The message with its first line of base64 replaced."""
    body = SIGNED.decode()
    head, _, tail = body.partition(SIGNATURE)
    first = next(line for line in tail.split("\n") if line and ":" not in line)
    return (head + SIGNATURE + tail.replace(first, text, 1)).encode()


MALFORMED = {
    "empty": b"",
    "plain text": b"hello",
    "text before": b"hello\n" + SIGNED,
    "text after": SIGNED + b"hello\n",
    "two messages": SIGNED + SIGNED,
    "another header": SIGNED.replace(b"Hash: ", b"NotDashEscaped: x\nHash: ", 1),
    "a header that is no hash": SIGNED.replace(b"Hash: ", b"Comment: ", 1),
    "no empty line after the header": SIGNED.split(b"\n\n", 1)[0],
    "no signature": SIGNED.split(b"-----BEGIN PGP SIGNATURE")[0],
    "no end": SIGNED.replace(END.encode(), b""),
    "a wrong checksum": SIGNED.replace(b"\n=", b"\n=AAA", 1).replace(b"=AAA" + SIGNED.split(b"\n=")[1][:4], b"=AAAA", 1),
    "no base64": signature_line("!!!!"),
    "a line that is not dash-escaped": SIGNED.replace(b"apiVersion", b"-apiVersion", 1),
    "a control character": SIGNED.replace(b"web", b"w\x00eb", 1),
    "a carriage return inside a line": SIGNED.replace(b"web", b"w\reb", 1),
    "not UTF-8": SIGNED.replace(b"web", b"w\xffb", 1),
    "too large": SIGNED + b" " * 2_000_000 + b"x",
    "an empty signature": f"{BEGIN}\nHash: SHA512\n\ntext\n{SIGNATURE}\n\n{END}\n".encode(),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_is_refused(data: bytes) -> None:
    with pytest.raises(FailedError) as caught:
        read_clearsigned(data, where="x.prov")
    assert caught.value.code.name == "provenance-malformed"


def test_the_dialects_are_read_alike() -> None:
    plain = read_clearsigned(SIGNED, where="x").signature
    assert read_clearsigned(without_checksum(), where="x").signature == plain
    assert read_clearsigned(SIGNED.replace(b"\n", b"\r\n"), where="x").signature == plain
    assert read_clearsigned(b"\xef\xbb\xbf" + SIGNED, where="x").signature == plain
    assert read_clearsigned(SIGNED.replace(b"name: web", b"name: web  \t"), where="x").canonical == read_clearsigned(SIGNED, where="x").canonical


def test_a_checksum_is_added_where_it_is_missing() -> None:
    assert with_checksum(without_checksum(), where="x").split() == with_checksum(SIGNED, where="x").split()
    assert crc24(b"") == bytes.fromhex("b704ce")
    assert crc24(b"123456789") == bytes.fromhex("21cf02")


def test_the_text_is_helms() -> None:
    assert f"apiVersion: v2\nname: web\nversion: 1.4.2\n\n...\nfiles:\n  web-1.4.2.tgz: {CHART.digest}\n" == TEXT


OTHER = chart_file(archive(version="1.4.3"), "web-1.4.3.tgz")
MISMATCHES = {
    "another file's": (write_provenance(OTHER.facts, OTHER.digest), "provenance-mismatch"),
    "the right version, another hash": (write_provenance(CHART.facts, OTHER.digest), "provenance-mismatch"),
    "the right hash, another version": (write_provenance(OTHER.facts, CHART.digest), "provenance-mismatch"),
    "the right hash under another name": (TEXT.replace("web-1.4.2.tgz", "evil-9.9.9.tgz"), "provenance-mismatch"),
    "an upper-case hash": (TEXT.replace(CHART.digest.hex, CHART.digest.hex.upper()), "provenance-mismatch"),
    "no files": ("name: web\nversion: 1.4.2\n\n...\nfile: x\n", "provenance-malformed"),
    "no separator": ("name: web\n", "provenance-malformed"),
    "three parts": (TEXT + "\n...\nfiles: {}\n", "provenance-malformed"),
    "files twice": (TEXT + "files:\n  web-1.4.2.tgz: sha256:00\n", "metadata-invalid"),
    "metadata with an anchor": (TEXT.replace("name: web", "name: &a web"), "metadata-invalid"),
}


@pytest.mark.parametrize("text, code", MISMATCHES.values(), ids=MISMATCHES.keys())
def test_what_does_not_speak_of_the_archive(text: str, code: str) -> None:
    with pytest.raises(FailedError) as caught:
        check_provenance(read_provenance(text, where="x"), CHART.facts, CHART.digest, where="x")
    assert caught.value.code.name == code


def test_further_files_do_no_harm() -> None:
    text = TEXT + f"  other.tgz: sha256:{'0' * 64}\n"
    check_provenance(read_provenance(text, where="x"), CHART.facts, CHART.digest, where="x")
