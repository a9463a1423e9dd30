"""What attestations say: predicate types by short names, and build provenance in one shape.

Sources: slsa.dev/spec/v0.2 and v1 provenance; the aliases of `cosign attest --type`; in-toto/attestation spec/predicates. An alias
stands for exactly one URI (semantics 8).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from verifier.formats.loose import get, mapping, text

SLSA_02 = "https://slsa.dev/provenance/v0.2"
SLSA_1 = "https://slsa.dev/provenance/v1"
TYPES = {
    "slsaprovenance": SLSA_02,
    "slsaprovenance02": SLSA_02,
    "slsaprovenance1": SLSA_1,
    "spdx": "https://spdx.dev/Document",
    "spdxjson": "https://spdx.dev/Document",
    "cyclonedx": "https://cyclonedx.org/bom",
    "openvex": "https://openvex.dev/ns",
    "vuln": "https://cosign.sigstore.dev/attestation/vuln/v1",
    "vsa": "https://slsa.dev/verification_summary/v1",
    "link": "https://in-toto.io/Link/v1",
    "custom": "https://cosign.sigstore.dev/attestation/v1",
}
PROVENANCE = (SLSA_02, SLSA_1)
_MAX_PARAMETERS = 1_000
_MAX_DEPTH = 20


class Provenance(Struct, frozen=True, kw_only=True):
    """Who built, how, and of what; empty text where the predicate does not say. `parameters` are external, by dotted path."""

    builder: str
    build_type: str
    source_repository: str
    ref: str
    parameters: Mapping[str, str]


def predicate_uri(written: str) -> str | None:
    """The URI of an alias or of a URI; None for a word that is neither."""
    return TYPES.get(written) or (written if "://" in written else None)


def read_provenance(predicate_type: str, predicate: Any) -> Provenance | None:
    """Build provenance in one shape; None where it is malformed or of another type."""
    if not isinstance(predicate, dict):
        return None
    match predicate_type:
        case "https://slsa.dev/provenance/v1":
            return _slsa_1(predicate)
        case "https://slsa.dev/provenance/v0.2":
            return _slsa_02(predicate)
        case _:
            return None


def _slsa_1(predicate: dict[str, Any]) -> Provenance | None:
    definition, run = mapping(predicate, "buildDefinition"), mapping(predicate, "runDetails")
    external = mapping(definition, "externalParameters")
    workflow, source = mapping(external, "workflow"), external.get("source")
    built_of = _dependency(definition)
    uri = text(get(workflow, "repository")) or (source if isinstance(source, str) else text(get(mapping(external, "source"), "uri"))) or built_of
    repository, ref = split_source(uri)
    if not ref and split_source(built_of)[0] == repository:
        ref = split_source(built_of)[1]
    parameters = _flat(external)
    if parameters is None:
        return None
    return Provenance(
        builder=text(get(mapping(run, "builder"), "id")),
        build_type=text(get(definition, "buildType")),
        source_repository=repository,
        ref=text(get(workflow, "ref")) or ref,
        parameters=parameters,
    )


def _slsa_02(predicate: dict[str, Any]) -> Provenance | None:
    invocation = mapping(predicate, "invocation")
    repository, ref = split_source(text(get(mapping(invocation, "configSource"), "uri")))
    parameters = _flat(mapping(invocation, "parameters"))
    if parameters is None:
        return None
    return Provenance(
        builder=text(get(mapping(predicate, "builder"), "id")),
        build_type=text(get(predicate, "buildType")),
        source_repository=repository,
        ref=ref,
        parameters=parameters,
    )


def _dependency(definition: dict[str, Any]) -> str:
    """The first resolved dependency that is a git repository."""
    found = definition.get("resolvedDependencies")
    uris = [text(get(item, "uri")) for item in found[:_MAX_PARAMETERS] if isinstance(item, dict)] if isinstance(found, list) else []
    return next((uri for uri in uris if uri.startswith("git+")), "")


def split_source(uri: str) -> tuple[str, str]:
    """`git+https://HOST/OWNER/NAME.git@REF` as a repository's URL and a ref."""
    plain = uri.removeprefix("git+")
    scheme, separator, rest = plain.partition("://")
    path, _, ref = rest.partition("@")
    return f"{scheme}{separator}{path.removesuffix('.git').rstrip('/')}", ref


def _flat(value: dict[str, Any]) -> dict[str, str] | None:
    """Leaves by dotted path; None when there are too many to look at."""
    found: dict[str, str] = {}
    for path, leaf in _leaves(value, "", 0):
        found[path] = leaf
        if len(found) > _MAX_PARAMETERS:
            return None
    return found


def _leaves(value: Any, path: str, depth: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and depth < _MAX_DEPTH:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{index}", depth + 1)
    elif value is not None:
        yield path, ("true" if value else "false") if isinstance(value, bool) else str(value)
