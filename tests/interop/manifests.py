"""The plain manifests, for whom Helm is no way to install: what the chart renders without registration, certificate and tokens of its own.

`python -m tests.interop.manifests` writes them anew; a test says when that is due.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.peers import BIN

DEPLOY = Path(__file__).parents[2] / "verifier" / "deploy"
PLACE = DEPLOY / "manifests" / "helm-verifier.yaml"
NAME = "helm-verifier"
VALUES = {
    "image": {"repository": "registry.example/platform/helm-verifier", "tag": "0.1.0"},
    "policy": {"existingConfigMap": f"{NAME}-policy"},
    "webhooks": {"enabled": False},
    "tls": {"mode": "secret", "secretName": f"{NAME}-tls"},
    "callers": {"existingSecret": f"{NAME}-callers"},
}
_HEAD = """\
# Generated from the chart (tests/interop/manifests.py); change it with kustomize, as kustomization.yaml beside it does.
# docs/admission-install.md says what goes with it: the policy, a certificate, who may call, and the webhooks' registration.
"""


def rendered(helm: Path) -> list[dict[str, Any]]:
    """What the chart makes of these values, in its namespace."""
    with tempfile.TemporaryDirectory() as home:
        values = Path(home) / "values.json"
        values.write_text(json.dumps(VALUES))
        command = [helm, "template", NAME, DEPLOY / NAME, "-n", NAME, "--kube-version", "1.36.0", "-f", values]
        done = subprocess.run([str(word) for word in command], capture_output=True, check=True, env={"HOME": home, "PATH": ""})
    objects = [value for value in yaml.safe_load_all(done.stdout) if value]
    return [_placed(value) for value in sorted(objects, key=lambda value: (value["kind"], value["metadata"]["name"]))]


def _placed(value: dict[str, Any]) -> dict[str, Any]:
    """In its namespace, and not said to be managed by Helm."""
    labels = {key: label for key, label in value["metadata"]["labels"].items() if key != "app.kubernetes.io/managed-by"}
    space = {} if value["kind"].startswith("ClusterRole") else {"namespace": NAME}
    return {**value, "metadata": {**value["metadata"], "labels": labels, **space}}


def main() -> None:
    """Write the file."""
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(_HEAD + yaml.safe_dump_all(rendered(BIN / "helm-4.3.1"), sort_keys=False, width=160))


if __name__ == "__main__":
    main()
