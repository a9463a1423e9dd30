"""Signature packets as the verification library wants them.

Helm before 3.21.4 signs with a library that writes an RSA signature's bit count as if its first bit were always set. About
half of all such `.prov` files therefore hold a number with a wrong count (RFC 9580 section 3.2 forbids it), which GnuPG and
Helm accept and a strict parser refuses. The numbers stand outside of what is hashed; here they are written anew with
their right counts. The numbers themselves do not change, and what cannot be read is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator

_SIGNATURE = 2
_NUMBERS = {1: 1, 2: 1, 3: 1, 17: 2, 19: 2, 22: 2}  # how many numbers a signature of this algorithm holds


def with_exact_numbers(data: bytes) -> bytes:
    """The packets, with each version 4 signature's numbers in their canonical form."""
    try:
        return b"".join(_packet(tag, body) for tag, body in _split(data))
    except (IndexError, ValueError):
        return data


def _packet(tag: int, body: bytes) -> bytes:
    if tag == _SIGNATURE and body[0] == 4 and body[2] in _NUMBERS:
        body = _exact(body)
    return bytes((0xC0 | tag, 0xFF)) + len(body).to_bytes(4, "big") + body


def _exact(body: bytes) -> bytes:
    """RFC 9580 section 5.2.3: version, type, two algorithms, hashed and unhashed subpackets, two bytes of hash, numbers."""
    hashed = 6 + int.from_bytes(body[4:6], "big")
    start = hashed + 2 + int.from_bytes(body[hashed : hashed + 2], "big") + 2
    numbers, rest = [], body[start:]
    for _ in range(_NUMBERS[body[2]]):
        size = 2 + (int.from_bytes(rest[:2], "big") + 7) // 8
        if len(rest) < size:
            raise ValueError("cut off")
        value = int.from_bytes(rest[2:size], "big")
        numbers.append(value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big"))
        rest = rest[size:]
    return body[:start] + b"".join(numbers) + rest


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580 section 4.2); partial lengths do not occur in signatures."""
    while data:
        if not data[0] & 0x80:
            raise ValueError("no packet")
        tag, start, length = _new_header(data) if data[0] & 0x40 else _old_header(data)
        if len(data) < start + length:
            raise ValueError("cut off")
        yield tag, data[start : start + length]
        data = data[start + length :]


def _new_header(data: bytes) -> tuple[int, int, int]:
    tag, first = data[0] & 0x3F, data[1]
    if first < 192:
        return tag, 2, first
    if first < 224:
        return tag, 3, ((first - 192) << 8) + data[2] + 192
    if first < 255:
        raise ValueError("a partial length")
    return tag, 6, int.from_bytes(data[2:6], "big")


def _old_header(data: bytes) -> tuple[int, int, int]:
    tag, kind = (data[0] >> 2) & 0x0F, data[0] & 3
    if kind == 3:
        raise ValueError("an indeterminate length")
    size = 1 << kind
    return tag, 1 + size, int.from_bytes(data[1 : 1 + size], "big")
