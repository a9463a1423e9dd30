"""Pull secrets as the cluster holds them: decoded, for what reads them, and as objects of the API."""

from __future__ import annotations

import base64
import json
from typing import Any


def auth(user: str, password: str = "x") -> dict[str, str]:
    """An entry of `auths`."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def secret(
    name: str, auths: dict[str, Any], *, kind: str = "kubernetes.io/dockerconfigjson", value: dict[str, Any] | None = None, raw: bytes | None = None
) -> dict[str, Any]:
    """A Secret whose data are decoded."""
    key, whole = (".dockercfg", auths) if kind.endswith("dockercfg") else (".dockerconfigjson", {"auths": auths})
    data = raw if raw is not None else json.dumps(whole if value is None else value).encode()
    return {"name": name, "type": kind, "data": {key: data}}


def pull_secret(namespace: str, name: str, auths: dict[str, Any]) -> dict[str, Any]:
    """The object."""
    made = secret(name, auths)
    return opaque(namespace, name, made["data"], kind=made["type"])


def opaque(namespace: str, name: str, data: dict[str, bytes], kind: str = "Opaque") -> dict[str, Any]:
    """Any Secret."""
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "type": kind, "data": encoded}
