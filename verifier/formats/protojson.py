"""Reading messages in the JSON form of Protocol Buffers, which bundles, log entries and trusted roots share.

Source: protobuf.dev, "ProtoJSON Format": field names in lowerCamelCase or as in the .proto file, 64-bit integers as numbers or
text, bytes in either base64 alphabet, null for a field that is not set. A field that we do not know cannot change the
meaning of those that we do, and is ignored.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

from verifier.model.codes import Code
from verifier.model.errors import FailedError

_UNDERSCORE = re.compile(r"_([a-z])")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FRACTION = re.compile(r"\.[0-9]+")


class Message:
    """One message; `name` and `where` stand in every error, whose code is `code`."""

    def __init__(self, value: Any, name: str, code: Code, where: str) -> None:
        self.name, self.code, self.where = name, code, where
        if not isinstance(value, dict):
            self.refuse("is not an object")
        self._value: dict[str, Any] = self._camel(value) if "_" in "".join(value) else value

    def refuse(self, reason: str) -> NoReturn:
        """Raise FailedError with this message's code."""
        raise FailedError(self.code, f"{self.name} {reason}", where=self.where)

    def get(self, key: str) -> Any:
        """A field's raw value, None where it is not set."""
        return self._value.get(key)

    def _camel(self, value: dict[str, Any]) -> dict[str, Any]:
        """The fields by their names in lowerCamelCase; a field that is there under both names is refused."""
        found: dict[str, Any] = {}
        for key, inner in value.items():
            camel = _UNDERSCORE.sub(lambda match: match[1].upper(), key)
            if camel in found or (camel != key and camel in value):
                self.refuse(f"has both {camel} and {key}")
            found[camel] = inner
        return found

    def keys(self) -> list[str]:
        """The names of all fields, for a message that is a map."""
        return list(self._value)

    def has(self, key: str) -> bool:
        """Whether the field is set."""
        return self.get(key) is not None

    def message(self, key: str) -> Message | None:
        """A field that holds a message."""
        value = self.get(key)
        return None if value is None else Message(value, f"{self.name}.{key}", self.code, self.where)

    def need(self, key: str) -> Message:
        """A message that must be there."""
        found = self.message(key)
        if found is None:
            self.refuse(f"has no {key}")
        return found

    def messages(self, key: str, *, most: int) -> list[Message]:
        """A repeated field of messages, at most so many."""
        return [Message(item, f"{self.name}.{key}[{index}]", self.code, self.where) for index, item in enumerate(self._list(key, most))]

    def many_data(self, key: str, *, most: int) -> tuple[bytes, ...]:
        """A repeated field of bytes."""
        return tuple(self._bytes(item, key) for item in self._list(key, most))

    def text(self, key: str) -> str:
        """Text; empty where it is not set."""
        value = self.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            self.refuse(f"has a {key} that is not text")
        return value

    def data(self, key: str) -> bytes:
        """Bytes; empty where they are not set."""
        value = self.get(key)
        return b"" if value is None else self._bytes(value, key)

    def need_data(self, key: str) -> bytes:
        """Bytes that must be there."""
        return self.data(key) or self.refuse(f"has no {key}")

    def integer(self, key: str) -> int:
        """A 64-bit integer that is not negative; 0 where it is not set."""
        value = self.get(key)
        if value is None:
            return 0
        number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        if type(number) is not int or not 0 <= number < 2**63:
            self.refuse(f"has a {key} that is not an integer from 0 to 2^63")
        return number

    def time(self, key: str) -> datetime | None:
        """A timestamp (RFC 3339), to the microsecond."""
        written = self.text(key)
        if not written:
            return None
        try:
            value = datetime.fromisoformat(_FRACTION.sub(lambda match: match[0][:7], written))
        except ValueError:
            self.refuse(f"has a {key} that is no time: {written[:40]!r}")
        if value.tzinfo is None:
            self.refuse(f"has a {key} without a time zone")
        return value.astimezone(UTC)

    def _list(self, key: str, most: int) -> list[Any]:
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(f"has a {key} that is not a list")
        if len(value) > most:
            self.refuse(f"has {len(value)} {key}, at most {most} are read")
        return value

    def _bytes(self, value: Any, key: str) -> bytes:
        return decode_base64(value, lambda reason: self.refuse(f"has a {key} that {reason}"))


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding, as every program writes it."""
    return base64.b64encode(data).decode()


def decode_base64(value: Any, refuse: Callable[[str], NoReturn]) -> bytes:
    """Standard or URL-safe base64, padded or not, as the JSON form of protobuf allows; `refuse` raises."""
    if not isinstance(value, str):
        refuse("is not text")
    try:
        if len(value) % 4 or "-" in value or "_" in value:
            value = value.replace("-", "+").replace("_", "/").rstrip("=")
            value += "=" * (-len(value) % 4)
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        refuse("is not base64")
