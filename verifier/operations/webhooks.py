"""The webhook's registration, as Kubernetes wants it: what reaches us, and what happens when we cannot be reached.

- Of Secrets and ConfigMaps only those that Helm would take for release records reach us: everything else goes on working without us.
- Namespaces are left out by their names, which nobody can change. There is no label to opt out by, so that there is none to protect.
- `failurePolicy: Fail`: what cannot be judged is not let in. `matchPolicy: Equivalent`: an older API version is judged as well.

Source: kubernetes.io "Dynamic Admission Control"; semantics 31, 32; threats T-18, T-19.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from verifier.workloads.kinds import READERS

_DOMAIN = "helm-verifier.internal"
_SECONDS = 10
_RECORD = (
    "({0} != null && ({0}.metadata.?name.orValue('').startsWith('sh.helm.release.v1.')"
    " || {0}.metadata.?generateName.orValue('').startsWith('sh.helm.release.v1.')"
    " || {0}.metadata.?labels.owner.orValue('') == 'helm' || {0}.?type.orValue('') == 'helm.sh/release.v1'))"
)
_IS_RECORD = f"{_RECORD.format('object')} || {_RECORD.format('oldObject')}"


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where the webhook answers: at a URL, or at a Service NAMESPACE/NAME. `authority` is the CA of its certificate (PEM)."""

    authority: bytes
    url: str | None = None
    service: tuple[str, str] | None = None

    def at(self, path: str) -> dict[str, Any]:
        """A `clientConfig`."""
        bundle = {"caBundle": base64.b64encode(self.authority).decode()}
        if self.service is None:
            return {"url": f"{(self.url or '').rstrip('/')}{path}", **bundle}
        namespace, name = self.service
        return {"service": {"namespace": namespace, "name": name, "path": path, "port": 443}, **bundle}


def registrations() -> dict[str, Any]:
    """What the chart's templates need of both registrations: names, rules and conditions."""
    nowhere = Endpoint(authority=b"", url="")
    known = ("name", "rules", "matchConditions")
    both = {"validating": validating(nowhere, ""), "mutating": mutating(nowhere, "")}
    return {kind: [{key: webhook[key] for key in known if key in webhook} for webhook in made["webhooks"]] for kind, made in both.items()}


def validating(endpoint: Endpoint, name: str, *, unjudged: Sequence[str] = (), unjudged_records: Sequence[str] = ()) -> dict[str, Any]:
    """A ValidatingWebhookConfiguration. Nothing of the namespaces `unjudged` reaches us, and no release record of `unjudged_records`."""
    charts = {"name": f"charts.{_DOMAIN}", "rules": rules(), **_selector(unjudged)}
    conditions = [{"name": "helm-release-records-only", "expression": _IS_RECORD}]
    records = {"name": f"records.{_DOMAIN}", "rules": _record_rules(), "matchConditions": conditions, **_selector((*unjudged, *unjudged_records))}
    shared = _shared(endpoint, "/admission/validate")
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{**charts, **shared}, {**records, **shared}],
    }


def mutating(endpoint: Endpoint, name: str, *, unjudged: Sequence[str] = ()) -> dict[str, Any]:
    """A MutatingWebhookConfiguration for the kinds whose digest can be written.

    It may fail: what it could not pin is denied by the validating webhook, which says why. It is called again when another webhook changes the object.
    """
    webhook = {
        "name": f"pins.{_DOMAIN}",
        "rules": rules(pinned=True),
        **_selector(unjudged),
        **_shared(endpoint, "/admission/mutate"),
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "IfNeeded",
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name}}
    return {**head, "webhooks": [webhook]}


def _shared(endpoint: Endpoint, path: str) -> dict[str, Any]:
    return {
        "clientConfig": endpoint.at(path),
        "admissionReviewVersions": ["v1"],
        "sideEffects": "NoneOnDryRun",  # decisions are kept, where there is a store
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "timeoutSeconds": _SECONDS,
    }


def rules(*, pinned: bool = False) -> list[dict[str, Any]]:
    """The kinds that name charts, or those whose digest can be written; a rule for each group."""
    groups: dict[str, tuple[set[str], set[str]]] = {}
    for reader in READERS:
        if pinned and not reader.pins:
            continue
        versions, resources = groups.setdefault(reader.group, (set(), set()))
        versions.update(reader.versions)
        resources.add(reader.plural)
    return [_rule(group, sorted(versions), sorted(resources)) for group, (versions, resources) in sorted(groups.items())]


def _record_rules() -> list[dict[str, Any]]:
    return [_rule("", ["v1"], ["secrets", "configmaps"])]


def _rule(group: str, versions: Sequence[str], resources: Sequence[str]) -> dict[str, Any]:
    """Every version: one that we do not know is denied, not let through."""
    return {
        "apiGroups": [group],
        "apiVersions": ["*"] if group else list(versions),
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources),
        "scope": "*",
    }


def _selector(names: Sequence[str]) -> Mapping[str, Any]:
    if not names:
        return {}
    return {"namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": list(dict.fromkeys(names))}]}}
