"""The clear-sign gate: one clean clear-signed message, or nothing.

Signature libraries and GnuPG disagree about text around the message, second messages, foreign headers and checksums, and
some read compressed messages where a clear-signed one is expected. So the framework is read here, strictly, and only the
dearmored signature and the canonical text go on to the library.

1. UTF-8 without control characters other than tab and line ends; an optional BOM; at most 1 MiB.
2. `-----BEGIN PGP SIGNED MESSAGE-----`, then only `Hash:` headers, then an empty line.
3. Text; a line that begins with `-` must be dash-escaped (RFC 9580 section 7.2).
4. `-----BEGIN PGP SIGNATURE-----`, armor headers, an empty line, base64, an optional CRC-24 that must be right, END.
5. Nothing before, nothing after but white space: exactly one message.

The canonical text is RFC 9580 section 7.2: trailing blanks and tabs removed, lines joined by CRLF, the last line end not
part of it. Helm 4's dialect (an empty line before the signature, no CRC) and Helm 3's (neither) are both read.
"""

from __future__ import annotations

import base64
import binascii
import re

from msgspec import Struct

from verifier.model import codes, limits
from verifier.model.errors import FailedError

_BEGIN_MESSAGE = "-----BEGIN PGP SIGNED MESSAGE-----"
_BEGIN_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_END_SIGNATURE = "-----END PGP SIGNATURE-----"
_HASH = re.compile(r"Hash: *[A-Za-z0-9/-]+(, *[A-Za-z0-9/-]+)*")
_ARMOR_HEADER = re.compile(r"(Comment|Version|MessageID|Hash|Charset): .*")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class ClearSigned(Struct, frozen=True):
    """`text` as a person reads it (lines joined by LF), `canonical` as it was hashed, `signature` as binary packets."""

    text: str
    canonical: bytes
    signature: bytes


def read_clearsigned(data: bytes, *, where: str) -> ClearSigned:
    """Read the one message in `data`; raises FailedError `provenance-malformed` that says which step refused it."""
    lines = _lines(data, where)  # 1
    body = _after_header(lines, where)  # 2
    text, armor = _split(lines[body:], where)  # 3
    canonical = "\r\n".join(line.rstrip(" \t") for line in text).encode()
    return ClearSigned("\n".join(text), canonical, _dearmor(armor, where))  # 4, 5


def _lines(data: bytes, where: str) -> list[str]:
    if len(data) > limits.PROVENANCE_BYTES:
        raise _refuse(f"larger than {limits.PROVENANCE_BYTES} bytes", where)
    try:
        text = data.decode("utf-8").removeprefix("\ufeff").strip("\r\n \t")
    except UnicodeDecodeError as error:
        raise _refuse(f"not UTF-8 at byte {error.start}", where) from error
    if _CONTROL.search(text):
        raise _refuse("a control character in the text", where)
    lines = text.replace("\r\n", "\n").split("\n")
    if any("\r" in line for line in lines):
        raise _refuse("a carriage return inside a line", where)
    return lines


def _after_header(lines: list[str], where: str) -> int:
    if lines[0].rstrip() != _BEGIN_MESSAGE:
        raise _refuse(f"must begin with {_BEGIN_MESSAGE}", where)
    for index, line in enumerate(lines[1:], start=1):
        if not line.strip():
            return index + 1
        if not _HASH.fullmatch(line.rstrip()):
            raise _refuse(f"the header {line[:60]!r} is not allowed, only Hash", where)
    raise _refuse("no text after the header", where)


def _split(lines: list[str], where: str) -> tuple[list[str], list[str]]:
    text: list[str] = []
    for index, line in enumerate(lines):
        if line.rstrip() == _BEGIN_SIGNATURE:
            return text, lines[index + 1 :]
        if line.startswith("- "):
            line = line[2:]
        elif line.startswith("-"):
            raise _refuse(f"the line {line[:60]!r} is not dash-escaped", where)
        text.append(line)
    raise _refuse("no signature after the text", where)


def _dearmor(lines: list[str], where: str) -> bytes:
    stripped = [line.strip() for line in lines]
    if _END_SIGNATURE not in stripped:
        raise _refuse(f"no {_END_SIGNATURE}", where)
    end = stripped.index(_END_SIGNATURE)
    if any(stripped[end + 1 :]):
        raise _refuse("text after the end of the message", where)
    body = stripped[:end]
    while body and _ARMOR_HEADER.fullmatch(body[0]):
        body = body[1:]
    body = [line for line in body if line]
    checksum = body.pop() if body and body[-1].startswith("=") and len(body[-1]) == 5 else None
    try:
        signature = base64.b64decode("".join(body), validate=True)
        if checksum is not None and base64.b64decode(checksum[1:], validate=True) != crc24(signature):
            raise _refuse("the armor's checksum is wrong", where)
    except binascii.Error as error:
        raise _refuse(f"the signature is not base64: {error}", where) from error
    if not signature:
        raise _refuse("the signature is empty", where)
    return signature


def crc24(data: bytes) -> bytes:
    """The armor checksum of RFC 9580 section 6.1, 3 bytes."""
    crc, table = 0xB704CE, _CRC24
    for byte in data:
        crc = (crc << 8 & 0xFFFFFF) ^ table[crc >> 16 ^ byte]
    return crc.to_bytes(3, "big")


def _crc24_entry(index: int) -> int:
    crc = index << 16
    for _ in range(8):
        crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


_CRC24 = tuple(_crc24_entry(index) for index in range(256))


def with_checksum(data: bytes, *, where: str) -> bytes:
    """The same message with a CRC-24 line after the base64, which GnuPG needs to accept some good files (its bug T7071)."""
    signature = read_clearsigned(data, where=where).signature
    lines = [line.rstrip() for line in data.decode("utf-8").splitlines()]
    end = lines.index(_END_SIGNATURE)
    if not lines[end - 1].startswith("="):
        lines.insert(end, "=" + base64.b64encode(crc24(signature)).decode())
    return ("\n".join(lines) + "\n").encode()


def _refuse(reason: str, where: str) -> FailedError:
    return FailedError(codes.PROVENANCE_MALFORMED, reason, where=where)
