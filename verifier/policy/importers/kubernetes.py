"""Importing what other programs keep as Kubernetes objects.

- ClusterImagePolicy (policy.sigstore.dev v1alpha1, v1beta1): authorities are alternatives; several policies for one image must all hold.
- ClusterPolicy and Policy with verifyImages (kyverno.io/v1, v2beta1), ImageValidatingPolicy (policies.kyverno.io): attestors must all hold, of the
  entries of each as many as `count` says.
- Flux: OCIRepository, HelmChart and HelmRelease with `verify`, joined with HelmRepository and Secret objects in the same input.
- Sveltos: `helmCharts` with signatureVerification or provenanceVerification.

Sources: sigstore/policy-controller pkg/apis/policy, kyverno/kyverno api/kyverno/v1/image_verification_types.go, fluxcd/source-controller api/v1,
projectsveltos/addon-controller api/v1beta1.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from verifier.formats.loose import get, items, mapping
from verifier.policy.importers.draft import Draft, Requirement, all_of, any_of, attested, scope_of, signed

Object = Mapping[str, Any]


def import_objects(objects: Sequence[Any], draft: Draft) -> bool:
    """Read all objects of kinds that are known into the draft; whether there were any."""
    found = False
    for value in objects:
        for item in items(value.get("items")) if isinstance(value, dict) and value.get("kind") == "List" else [value]:
            reader = _READERS.get((_group(item), str(get(item, "kind"))))
            if reader is not None:
                found = True
                reader(item, draft, _Around(objects))
    return found


class _Around:
    """The other objects of the input, for what an object only names."""

    def __init__(self, objects: Sequence[Any]) -> None:
        self._objects = objects

    def secret(self, name: str) -> str:
        """All that a Secret holds, as text; empty where it is not in the input."""
        for item in self._named("Secret", name):
            texts = [str(value) for value in mapping(item, "stringData").values()]
            return "\n".join([*texts, *(_decoded(value) for value in mapping(item, "data").values())])
        return ""

    def repository(self, name: str) -> str:
        """The URL of a HelmRepository; empty where it is not in the input."""
        return next((str(mapping(item, "spec").get("url") or "") for item in self._named("HelmRepository", name)), "")

    def _named(self, kind: str, name: str) -> Iterator[Object]:
        return (item for item in self._objects if isinstance(item, dict) and item.get("kind") == kind and mapping(item, "metadata").get("name") == name)


# cosign's policy-controller


def _cluster_image_policy(item: Object, draft: Draft, around: _Around) -> None:
    name, spec = _name(item), mapping(item, "spec")
    scopes = [scope for image in items(spec.get("images")) if (scope := scope_of(str(get(image, "glob") or ""), draft, name, crosses=False))]
    branches = [branch for index, one in enumerate(items(spec.get("authorities"))) if (branch := _authority(one, index, name, draft, around)) is not None]
    requirement = any_of(branches)
    if not items(spec.get("authorities")):
        draft.note(f"{name}: it has no authorities, which means any signature of the public instance: left out")
    if spec.get("policy"):
        draft.note(
            f"{name}: its policy in {mapping(spec, 'policy').get('type') or 'CUE or Rego'} is not carried over: write conditions under attested, or an expr"
        )
    if spec.get("match"):
        draft.note(f"{name}: match by kinds and labels of objects is not carried over; rules select by environment, cluster and namespace")
    if spec.get("mode") == "warn" and requirement is not None:
        requirement = {**requirement, "action": "warn"}
    draft.rule(name, scopes, requirement)


def _authority(one: Any, index: int, policy: str, draft: Draft, around: _Around) -> Requirement | None:
    label = str(get(one, "name") or f"{policy}-{index}")
    where = f"{policy}, authority {label}"
    if get(one, "static"):
        action = mapping(one, "static").get("action")
        draft.note(f"{where}: static {action} {'approves without evidence and' if action == 'pass' else 'denies always and'} is left out")
        return None
    by = _authority_names(one, label, where, draft, around)
    if not by:
        return None
    for field in ("source", "rfc3161timestamp", "signatureFormat"):
        if get(one, field):
            draft.note(f"{where}: {field} is not carried over")
    demands = []
    for item in items(get(one, "attestations")):
        demand = attested(str(get(item, "predicateType") or ""), by, draft, where)
        demands += [demand] if demand is not None else []
        if get(item, "policy"):
            draft.note(f"{where}: what it demands of {get(item, 'name') or 'the predicate'} in CUE or Rego is not carried over")
    if items(get(one, "attestations")) and not demands:
        return None
    return all_of(demands) if demands else signed(by)


def _authority_names(one: Any, label: str, where: str, draft: Draft, around: _Around) -> list[str]:
    key, keyless, by = mapping(one, "key"), mapping(one, "keyless"), list[str]()
    if key:
        inline = str(key.get("data") or "") or around.secret(str(mapping(key, "secretRef").get("name") or ""))
        by += draft.keys(inline, label) or [draft.missing_key(label, f"{where} ({key.get('kms') or 'its secret'})")]
        if mapping(one, "ctlog"):
            draft.note(f"{where}: a log entry is demanded; say `tlog: required` under the key if its signatures are logged")
    for identity in items(keyless.get("identities")):
        entry = draft.keyless(label, identity if isinstance(identity, dict) else {}, where)
        by += [entry] if entry else []
    if keyless and not items(keyless.get("identities")):
        draft.note(f"{where}: keyless without identities trusts whoever has an account: left out")
    if keyless.get("ca-cert") or keyless.get("trustRootRef") or mapping(one, "ctlog").get("trustRootRef"):
        draft.note(f"{where}: its own CA or trust root is not carried over: name it under roots, and say `root:` in the entry")
    return list(dict.fromkeys(by))


# Kyverno


def _kyverno(item: Object, draft: Draft, around: _Around) -> None:
    spec = mapping(item, "spec")
    audit = str(spec.get("validationFailureAction") or "").lower() == "audit"
    for rule in items(spec.get("rules")):
        for index, check in enumerate(items(get(rule, "verifyImages"))):
            if not isinstance(check, dict):
                continue
            name = f"{_name(item)} {get(rule, 'name') or index}"
            warns = audit or str(check.get("failureAction") or "").lower() == "audit"
            _verify_images(name, check, draft, around, warns=warns)


def _verify_images(name: str, check: Object, draft: Draft, around: _Around, *, warns: bool) -> None:
    scopes = [scope for glob in items(check.get("imageReferences")) if (scope := scope_of(str(glob), draft, name, crosses=True))]
    if str(check.get("type") or "") == "Notary":
        draft.note(f"{name}: notation's signatures are not read: sign anew, and write the rule by hand")
        return
    for field in ("skipImageReferences", "repository", "annotations", "imageRegistryCredentials"):
        if check.get(field):
            draft.note(f"{name}: {field} is not carried over")
    demands = [demand for one in items(check.get("attestors")) if (demand := _attestor(one, name, draft, around)) is not None]
    for item in items(check.get("attestations")):
        predicate = str(get(item, "type") or get(item, "predicateType") or "")
        by = [entry for one in items(get(item, "attestors")) for names in _entries(one, name, draft, around) for entry in names]
        demand = attested(predicate, by, draft, name) if by else None
        demands += [demand] if demand is not None else []
        if items(get(item, "conditions")):
            draft.note(f"{name}: the conditions on {predicate} are not carried over: write conditions under attested, or an expr")
    requirement = all_of(demands) if demands else None
    if requirement is not None and check.get("verifyDigest", True) is not False and not warns:
        requirement = {"all": [*requirement.get("all", [requirement]), {"chart": {"pinned": True}}]}
    draft.rule(name, scopes, {**requirement, "action": "warn"} if requirement is not None and warns else requirement)


def _attestor(one: Any, where: str, draft: Draft, around: _Around) -> Requirement | None:
    entries = _entries(one, where, draft, around)
    count = get(one, "count")
    if not entries:
        return None
    branches = [signed(names) for names in entries]
    if isinstance(count, int) and 0 < count < len(branches):
        return {"atLeast": {"count": count, "of": branches}} if count > 1 else any_of(branches)
    return all_of(branches)


def _entries(one: Any, where: str, draft: Draft, around: _Around) -> list[list[str]]:
    found: list[list[str]] = []
    for entry in items(get(one, "entries")):
        keys, keyless = mapping(entry, "keys"), mapping(entry, "keyless")
        if keys:
            text = str(keys.get("publicKeys") or "")
            text = text if "BEGIN" in text else around.secret(text.rpartition("/")[2] or str(mapping(keys, "secret").get("name") or ""))
            names = draft.keys(text, where)
            found += [[name] for name in names] or [[draft.missing_key(where, where)]]
        if keyless:
            name = draft.keyless(where, dict(keyless), where)
            found += [[name]] if name else []
        if get(entry, "certificates"):
            draft.note(f"{where}: certificates are not carried over: name their CA as a root, or the key in them")
        for nested in [mapping(entry, "attestor")] if get(entry, "attestor") else []:
            found += _entries(nested, where, draft, around)
        if get(entry, "annotations"):
            draft.note(f"{where}: annotations of signatures are not carried over")
    return found


def _image_validating_policy(item: Object, draft: Draft, _: _Around) -> None:
    name, spec = _name(item), mapping(item, "spec")
    globs = [get(one, "glob") for one in items(spec.get("matchImageReferences"))]
    scopes = [scope for glob in globs if glob and (scope := scope_of(str(glob), draft, name, crosses=True))]
    by: list[str] = []
    for one in items(spec.get("attestors")):
        cosign, label = mapping(one, "cosign"), f"{name}-{get(one, 'name') or 'attestor'}"
        by += draft.keys(str(mapping(cosign, "key").get("data") or ""), label)
        names = [draft.keyless(label, identity, name) for identity in items(mapping(cosign, "keyless").get("identities")) if isinstance(identity, dict)]
        by += [entry for entry in names if entry]
        if get(one, "notary"):
            draft.note(f"{name}: notation's signatures are not read")
    if items(spec.get("validations")):
        draft.note(f"{name}: its validations in CEL are not carried over: which attestors they demand together must be written by hand; here one is enough")
    draft.rule(name, scopes, signed(list(dict.fromkeys(by))) if by else None)


# Flux


def _oci_repository(item: Object, draft: Draft, around: _Around) -> None:
    spec = mapping(item, "spec")
    _flux(_name(item), str(spec.get("url") or ""), mapping(spec, "verify"), draft, around)


def _helm_chart(item: Object, draft: Draft, around: _Around) -> None:
    spec = mapping(item, "spec")
    _flux(_name(item), _joined(spec, around, draft, _name(item)), mapping(spec, "verify"), draft, around)


def _helm_release(item: Object, draft: Draft, around: _Around) -> None:
    spec = mapping(mapping(mapping(item, "spec"), "chart"), "spec")
    _flux(_name(item), _joined(spec, around, draft, _name(item)), mapping(spec, "verify"), draft, around)


def _joined(spec: Object, around: _Around, draft: Draft, where: str) -> str:
    if not spec.get("verify"):
        return ""
    base = around.repository(str(mapping(spec, "sourceRef").get("name") or ""))
    if not base:
        draft.note(f"{where}: its HelmRepository is not in the input, so its charts cannot be named")
    return f"{base.rstrip('/')}/{spec.get('chart')}" if base else ""


def _flux(name: str, url: str, verify: Object, draft: Draft, around: _Around) -> None:
    if not verify or not url:
        return
    if not url.startswith("oci://"):
        draft.note(f"{name}: {url} is a chart repository over https, whose charts Flux does not verify either")
        return
    if verify.get("provider") == "notation":
        draft.note(f"{name}: notation's signatures are not read: sign anew, and write the rule by hand")
        return
    by = []
    secret = str(mapping(verify, "secretRef").get("name") or "")
    if secret:
        by += draft.keys(around.secret(secret), name) or [draft.missing_key(name, f"the Secret {secret}")]
    for identity in items(verify.get("matchOIDCIdentity")):
        entry = draft.keyless(name, {"issuerRegExp": get(identity, "issuer"), "subjectRegExp": get(identity, "subject")}, name)
        by += [entry] if entry else []
    if not secret and not items(verify.get("matchOIDCIdentity")):
        draft.note(f"{name}: it takes any keyless signature, whoever made it: left out")
    if verify.get("trustedRootSecretRef"):
        draft.note(f"{name}: its trusted root is not carried over: name it under roots, and say `root:` in the entry")
    scope = scope_of(url.removeprefix("oci://"), draft, name, crosses=False)
    draft.rule(name, [scope] if scope else [], signed(list(dict.fromkeys(by))) if by else None)


# Sveltos


def _sveltos(item: Object, draft: Draft, around: _Around) -> None:
    spec = mapping(item, "spec")
    inner = mapping(spec, "clusterProfileSpec") or mapping(spec, "profileSpec") or spec
    for chart in items(inner.get("helmCharts")):
        url, name = str(get(chart, "repositoryURL") or ""), f"{_name(item)} {get(chart, 'chartName')}"
        signatures, provenance = mapping(chart, "signatureVerification"), mapping(chart, "provenanceVerification")
        if provenance:
            draft.note(f"{name}: provenanceVerification is not carried over: import its keyring (verifier policy import KEYRING --charts SCOPE)")
        if signatures and not url.startswith("oci://"):
            draft.note(f"{name}: signatureVerification of a chart over https is ignored by Sveltos, and not carried over")
        elif signatures:
            path = str(get(chart, "chartName") or "").rpartition("/")[2]
            whole = url if url.rstrip("/").endswith(f"/{path}") else f"{url.rstrip('/')}/{path}"
            _flux(name, whole, signatures, draft, around)


_READERS: dict[tuple[str, str], Callable[[Object, Draft, _Around], None]] = {
    ("policy.sigstore.dev", "ClusterImagePolicy"): _cluster_image_policy,
    ("kyverno.io", "ClusterPolicy"): _kyverno,
    ("kyverno.io", "Policy"): _kyverno,
    ("policies.kyverno.io", "ImageValidatingPolicy"): _image_validating_policy,
    ("source.toolkit.fluxcd.io", "OCIRepository"): _oci_repository,
    ("source.toolkit.fluxcd.io", "HelmChart"): _helm_chart,
    ("helm.toolkit.fluxcd.io", "HelmRelease"): _helm_release,
    **{("config.projectsveltos.io", kind): _sveltos for kind in ("ClusterProfile", "Profile", "ClusterSummary", "ClusterPromotion")},
    ("lib.projectsveltos.io", "EventTrigger"): _sveltos,
}


def _group(item: Any) -> str:
    return str(get(item, "apiVersion") or "").rpartition("/")[0]


def _name(item: Object) -> str:
    return str(mapping(item, "metadata").get("name") or item.get("kind"))


def _decoded(value: Any) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
    except (ValueError, binascii.Error):
        return ""
