"""Request bodies are bounded before anything parses them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from verifier.formats.json import dump_json

_BYTES = 64 * 1024
_REVIEW_BYTES = 8 * 1024 * 1024  # an object of Kubernetes may have 3 MiB, and an update holds two
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BodyLimit:
    """ASGI middleware: reads at most 64 KiB, of an AdmissionReview 8 MiB, then answers 413."""

    def __init__(self, app: Asgi) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Take the body in, then pass it on as one message."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = _REVIEW_BYTES if scope["path"].startswith("/admission/") else _BYTES
        parts: list[bytes] = []
        more, size = True, 0
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > most:
                await _refuse(send, most)
                return
        body = b"".join(parts)
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


async def _refuse(send: Send, most: int) -> None:
    body = dump_json({"type": "urn:verifier:code:usage", "title": "usage", "status": 413, "detail": f"a body of more than {most} bytes"})
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
