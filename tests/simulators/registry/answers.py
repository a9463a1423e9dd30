"""Answers, before they are put on a line."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What is said, unless a fault gets in between."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def value(body: Any, media_type: str = "application/json", headers: dict[str, str] | None = None) -> Answer:
    """200 with JSON."""
    return Answer(200, json.dumps(body).encode(), {"Content-Type": media_type, **(headers or {})})


def error(status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> Answer:
    """An error as the specification writes it."""
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def html(status: int = 200) -> Answer:
    """A page for people."""
    return Answer(status, b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"})
