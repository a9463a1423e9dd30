"""A Kubernetes API that knows Secrets, and their version: enough for kubectl-like clients and for cosign."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.simulators.keepers import Answer, Keeper, Question

TOKEN = "canary-b7f3-secret"
_MAGIC = b"k8s\x00"
_SECRETS = re.compile(r"/api/v1/namespaces/([a-z0-9-]+)/secrets(?:/([a-z0-9.-]+))?")


@dataclass
class Secrets:
    """Holds them, by namespace and name; pass `answer` to `kept`."""

    held: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    authorizations: list[str] = field(default_factory=list)

    def answer(self, keeper: Keeper, question: Question) -> Answer:
        self.authorizations.append(question.headers.get("authorization", ""))
        if self.authorizations[-1] != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        path = question.path.partition("?")[0]
        if path == "/version":
            return Answer(200, {"major": "1", "minor": "36", "gitVersion": "v1.36.3"})
        found = _SECRETS.fullmatch(path)
        if found is None:
            return _status(404, "NotFound", "the server could not find the requested resource")
        if question.method == "POST":
            sent: dict[str, Any] = _from_protobuf(question.body) if question.body.startswith(_MAGIC) else question.json
            self.held[found[1], sent["metadata"]["name"]] = sent
            return Answer(201, sent)
        if (held := self.held.get((found[1], found[2]))) is None:
            return _status(404, "NotFound", f'secrets "{found[2]}" not found')
        return Answer(200, held)


def _from_protobuf(body: bytes) -> dict[str, Any]:
    """A Secret as Go's clients send it: k8s.io/api/core/v1 generated.proto, in an envelope of apimachinery's."""
    raw = dict(_fields(body[len(_MAGIC) :]))[2]
    metadata = dict(_fields(dict(_fields(raw))[1]))
    entries = [dict(_fields(value)) for number, value in _fields(raw) if number == 2]
    data = {entry[1].decode(): base64.b64encode(entry.get(2, b"")).decode() for entry in entries}
    return secret(metadata[3].decode(), metadata[1].decode(), data)


def _fields(data: bytes) -> list[tuple[int, bytes]]:
    """Number and bytes of each field; of numbers the bytes are empty."""
    found, position = [], 0
    while position < len(data):
        key, position = _varint(data, position)
        value, position = _varint(data, position)
        if key & 7 == 2:
            found.append((key >> 3, data[position : position + value]))
            position += value
        else:
            found.append((key >> 3, b""))
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def secret(namespace: str, name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def kubeconfig(url: str, path: Path, *, ca: Path | None = None, token: str = TOKEN) -> dict[str, str]:
    authority = f', certificate-authority: "{ca}"' if ca else ""
    path.write_text(
        f"""apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "{url}"{authority}}}}}]
users: [{{name: me, user: {{token: {token}}}}}]
"""
    )
    return {"KUBECONFIG": str(path)}


def _status(code: int, reason: str, message: str) -> Answer:
    return Answer(code, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
