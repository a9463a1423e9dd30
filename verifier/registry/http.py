"""HTTP for the embedded registry: what an ASGI request carries, and answers in the distribution spec's form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct, field

from verifier.formats.json import dump_json

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
_BLOCK = 256 * 1024


class Answer(Struct, frozen=True):
    """Status, headers, body; `stream` is read instead of `body` when it is there."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: tuple[Any, int] | None = None  # an open binary file, and how many bytes of it


class RegistryError(Exception):
    """An error in the distribution spec's vocabulary."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers or {}
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> Answer:
        """As the spec writes it."""
        body = dump_json({"errors": [{"code": self.code, "message": self.message}]})
        return Answer(self.status, {"Content-Type": "application/json", **self.headers}, body)


class IncomingRequest:
    """One request of an ASGI server."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        self._headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        self._receive = receive

    def header(self, name: str) -> str:
        """All lines of a header, joined."""
        return ", ".join(value for key, value in self._headers if key == name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; raises ConnectionError when the client goes away in between."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away")
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body"):
                return

    async def body(self, most: int) -> bytes:
        """The whole body; raises RegistryError over `most` bytes."""
        data = b""
        async for chunk in self.chunks():
            data += chunk
            if len(data) > most:
                raise RegistryError(413, "SIZE_INVALID", f"larger than {most} bytes")
        return data


async def send_answer(answer: Answer, send: Send, *, head: bool) -> None:
    """Send it; for HEAD only the headers, with the length that GET would have."""
    length = answer.stream[1] if answer.stream else len(answer.body)
    headers = {"Content-Length": str(length), "Docker-Distribution-Api-Version": "registry/2.0", "X-Content-Type-Options": "nosniff", **answer.headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    if answer.stream is None or head:
        if answer.stream is not None:
            answer.stream[0].close()
        await send({"type": "http.response.body", "body": b"" if head else answer.body})
        return
    file, left = answer.stream
    with file:
        while left > 0:
            block = file.read(min(_BLOCK, left))
            left -= len(block)
            await send({"type": "http.response.body", "body": block, "more_body": left > 0})
            if not block:
                return
        if length == 0:
            await send({"type": "http.response.body", "body": b""})
