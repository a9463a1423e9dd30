"""Whom a policy from a registry must be signed by: a small document of its own, configured beside the program (semantics 27)."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from verifier.formats.yaml import Node
from verifier.policy.document import RootEntry, TrustEntry, TrustKind
from verifier.policy.fields import Fields, duration, fail, one_of
from verifier.policy.requirements import Names, by_names_of
from verifier.policy.trust import read_trust

API_VERSION, KIND = "verifier/v1", "PolicyTrust"


class Bootstrap(Struct, frozen=True, kw_only=True):
    """Trust entries and roots, the names of which one must have signed, and how long a policy may be used that cannot be fetched anew."""

    trust: tuple[TrustEntry, ...]
    roots: tuple[RootEntry, ...]
    by: tuple[str, ...]
    max_stale: timedelta | None


def read_bootstrap(node: Node) -> Bootstrap:
    """Read the document; raises YamlError."""
    fields = Fields(node, "the trust of policies", ("apiVersion", "kind", "trust", "roots", "by", "maxStale"))
    one_of(API_VERSION)(fields.need("apiVersion"))
    one_of(KIND)(fields.need("kind"))
    fields.need("trust")
    trust, roots = read_trust(fields)
    names = Names({entry.name: entry.kind for entry in trust})
    by = by_names_of(fields, names)
    for name in by:
        if names.kinds[name] is TrustKind.OPENPGP:
            fail(fields.need("by"), f"{name} is an OpenPGP keyring, and policies are signed with keys or keyless")
    return Bootstrap(trust=trust, roots=roots, by=by, max_stale=fields.optional("maxStale", duration))
