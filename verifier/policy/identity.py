"""Keyless identities: which certified signer a trust entry means (semantics 9).

An identity is compared within its SAN type, the issuer exactly, and every other claim of the certificate that the entry names.
Patterns are full matches: in a glob `*` does not cross `/` or `@` unless written `**`; a regular expression is RE2, which takes
linear time and matches the whole text, whatever anchors it has or lacks.
"""

from __future__ import annotations

import re
from enum import StrEnum

from msgspec import Struct

from verifier.model.claim import CertificateSigner, SanType

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
GITLAB_ISSUER = "https://gitlab.com"
# Issuers whose certificates name a reusable workflow: the SAN alone is shared by everybody who calls it.
_REPOSITORY_HOSTS = {GITHUB_ISSUER: "https://github.com/", GITLAB_ISSUER: "https://gitlab.com/"}
_MAX_TEXT = 4096  # characters of a certified value that are matched; real ones have some hundreds
_MAX_REGEXP_MEMORY = 1 << 20
_EMAIL = re.compile(r"[^@/:\s]+@[^@/:\s]+")
_PLAIN = re.compile(r"[\w.-]+")
_TOKEN = re.compile(r"\*\*|\*|[^*]+")


class How(StrEnum):
    """How a pattern compares."""

    EXACT = "exact"
    GLOB = "glob"
    REGEXP = "regexp"


class Pattern(Struct, frozen=True):
    """A text and how it compares."""

    how: How
    text: str

    def matches(self, value: str) -> bool:
        """Whether the whole value fits."""
        if self.how is How.EXACT:
            return value == self.text
        if len(value) > _MAX_TEXT:
            return False
        import re2  # policies with exact identities do not pay for it

        return re2.fullmatch(self.regexp, value, _options()) is not None

    @property
    def regexp(self) -> str:
        """The RE2 pattern; of a glob, its translation."""
        if self.how is How.REGEXP:
            return self.text
        return "".join({"**": ".*", "*": "[^/@]*"}.get(token) or re.escape(token) for token in _TOKEN.findall(self.text))


class Identity(Struct, frozen=True, kw_only=True):
    """What a keyless trust entry demands; `source_repository` is a URI; `claims` are extensions by their documented names."""

    issuer: str
    san: Pattern
    san_type: SanType
    source_repository: str | None = None
    claims: tuple[tuple[str, Pattern], ...] = ()


def glob_or_exact(text: str) -> Pattern:
    """A pattern as it is written: a glob where it holds a `*`."""
    return Pattern(How.GLOB if "*" in text else How.EXACT, text)


def compiles(text: str) -> str | None:
    """Why a regular expression cannot be used, or None."""
    import re2

    try:
        compiled = re2.compile(text, _options())
    except re2.error as error:
        return f"{text[:80]!r} is not a regular expression of RE2: {error.args[0]!s:.100}"
    if compiled.fullmatch("") is not None:
        return f"{text[:80]!r} also matches nothing at all"
    return None


def san_type(text: str) -> SanType | None:
    """The type that an identity's form tells: a URL, an e-mail address, or None where it could be anything."""
    if "://" in text:
        return SanType.URI
    return SanType.EMAIL if _EMAIL.fullmatch(text) else None


def own_repository(issuer: str, identity: str) -> str | None:
    """The repository that a workflow's identity lies in, where issuer and identity tell it: HOST/OWNER/NAME without a pattern in it."""
    host = repository_host(issuer)
    if host is None or not identity.startswith(host):
        return None
    path = identity.removeprefix(host)
    # GitLab's projects may lie in groups of groups; its identities write `//` behind the project.
    parts = path.partition("//")[0].split("/") if issuer == GITLAB_ISSUER else path.split("/")[:2]
    return f"{host}{'/'.join(parts)}" if len(parts) > 1 and all(_PLAIN.fullmatch(part) for part in parts) else None


def repository_host(issuer: str) -> str | None:
    """Where a short `owner/repository` lies, for issuers whose entries must name the source repository."""
    return _REPOSITORY_HOSTS.get(issuer)


def mismatch(identity: Identity, signer: CertificateSigner) -> str | None:
    """Why a certified signer is not the one that is meant; None if it is."""
    if signer.issuer != identity.issuer:
        return f"issued for {signer.issuer!r}, expected {identity.issuer!r}"
    if signer.san_type is not identity.san_type:
        return f"its identity is of type {signer.san_type}, expected {identity.san_type}"
    if not identity.san.matches(signer.identity):
        return f"its identity is {signer.identity!r}, expected {identity.san.text!r}"
    if identity.source_repository is not None and signer.source_repository != identity.source_repository:
        return f"its source repository is {signer.source_repository!r}, expected {identity.source_repository!r}"
    for name, pattern in identity.claims:
        found = signer.extensions.get(name, "")
        if not found or not pattern.matches(found):
            return f"its {name} is {found!r}, expected {pattern.text!r}"
    return None


def _options() -> object:
    import re2

    options = re2.Options()
    options.max_mem = _MAX_REGEXP_MEMORY
    options.log_errors = False
    options.dot_nl = False
    return options
