"""Importing notation's trust policy (trustpolicy.json, trustpolicy.oci.json).

Its scopes become rules, and each of its policies a key that is still to be made: signatures of notation are not read here, so the charts must be
signed anew. Source: notaryproject/specifications specs/trust-store-trust-policy.md.
"""

from __future__ import annotations

from typing import Any

from verifier.policy.importers.draft import Draft, scope_of, signed


def import_notation(value: Any, draft: Draft) -> bool:
    """Read a trust policy into the draft; whether it was one."""
    policies = value.get("trustPolicies") if isinstance(value, dict) else None
    if not isinstance(policies, list):
        return False
    for item in policies:
        if isinstance(item, dict):
            _policy(item, draft)
    return True


def _policy(item: dict[str, Any], draft: Draft) -> None:
    name = str(item.get("name") or "notation")
    verification = item.get("signatureVerification")
    level = str(verification.get("level") or "strict") if isinstance(verification, dict) else "strict"
    if level == "skip":
        draft.note(f"{name}: level skip approves without a signature and is left out")
        return
    written = item.get("registryScopes")
    scopes = [scope for one in (written if isinstance(written, list) else []) if (scope := scope_of(str(one), draft, name, crosses=False))]
    if not scopes:
        return
    key = draft.missing_key(name, f"{name}, which stands for {', '.join(map(str, item.get('trustedIdentities') or ['nobody']))}")
    draft.note(f"{name}: notation's signatures are not read: sign these charts anew, with this key or keyless")
    requirement = signed([key])
    draft.rule(name, scopes, {**requirement, "action": "warn"} if level == "audit" else requirement)
