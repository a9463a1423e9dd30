"""A policy that is being put together from somebody else's: trust names, rules by scope, and what could not be carried over.

Several demands on the same charts are joined: all must hold, as in the programs that they come from. What is imported is never wider than what
it was: a pattern that matched a part of a text must match the whole, and what approved without evidence is left out and said.
"""

from __future__ import annotations

import re
from typing import Any

from verifier.attest.predicates import predicate_uri
from verifier.model.errors import MisuseError
from verifier.model.reference import parse_image
from verifier.policy.identity import compiles, own_repository, repository_host, san_type
from verifier.policy.scopes import parse_scope

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_ESCAPE = re.compile(r"\\(.)")
_SPECIAL = re.compile(r"[*+?()\[\]{}|^$]")
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)

Requirement = dict[str, Any]


class Draft:
    """What was found so far; `document` is the policy, `notes` what a person must look at."""

    def __init__(self, name: str) -> None:
        self.name = _NAME.sub("-", name).strip("-") or "imported"
        self.notes: list[str] = []
        self._trust: dict[str, dict[str, Any]] = {}
        self._rules: dict[tuple[str, ...], tuple[str, list[Requirement]]] = {}

    @property
    def document(self) -> dict[str, Any]:
        """The policy as a value; without rules there is none."""
        rules = [{"name": name, "charts": list(scopes), "require": all_of(self._joined(scopes, demands))} for scopes, (name, demands) in self._rules.items()]
        return {"apiVersion": "verifier/v1", "kind": "ChartPolicy", "metadata": {"name": self.name}, "trust": self._trust, "rules": rules}

    @property
    def empty(self) -> bool:
        """Whether nothing came of it."""
        return not self._rules

    def _joined(self, scopes: tuple[str, ...], demands: list[Requirement]) -> list[Requirement]:
        """With what wider rules for some of the same charts demand: here only the most specific rule is asked."""
        mine = [parse_scope(text) for text in scopes]
        joined = list(demands)
        for others, (_, theirs) in self._rules.items():
            wider = [other for other in map(parse_scope, others) for scope in mine if others != scopes and scope.overlaps(other) and other.rank <= scope.rank]
            joined += [demand for demand in theirs if wider and demand not in joined]
        return joined

    def note(self, what: str) -> None:
        """Something that could not be carried over."""
        if what not in self.notes:
            self.notes.append(what)

    def trust(self, name: str, entry: dict[str, Any]) -> str:
        """A trust name for an entry: the same for the same entry, another one where the name is taken."""
        for known, value in self._trust.items():
            if value == entry:
                return known
        base = _NAME.sub("-", name).strip("-.") or "signer"
        candidate, number = base, 2
        while candidate in self._trust:
            candidate, number = f"{base}-{number}", number + 1
        self._trust[candidate] = entry
        return candidate

    def rule(self, name: str, scopes: list[str], requirement: Requirement | None) -> None:
        """A rule; one with the same scopes is joined to what is there."""
        if requirement is None or not scopes:
            return
        key = tuple(sorted(set(scopes)))
        taken = {known for known, _ in self._rules.values()}
        _, demands = self._rules.setdefault(key, (name if name not in taken else f"{name} {len(taken) + 1}", []))
        if requirement not in demands:
            demands.append(requirement)

    def keys(self, text: str, name: str) -> list[str]:
        """The trust names of all public keys in a text."""
        return [self.trust(name, {"key": {"pem": pem + "\n"}}) for pem in _PEM.findall(text)]

    def missing_key(self, name: str, where: str) -> str:
        """A trust name for a key that lies elsewhere: its file is to be put beside the policy."""
        base = _NAME.sub("-", name).strip("-.") or "signer"
        self.note(f"the key of {where} is not in the input: write its public half to {base}.pub beside the policy (verifier keys show --pem KEYREF)")
        return self.trust(base, {"key": {"file": f"{base}.pub"}})

    def keyless(self, name: str, identity: dict[str, Any], where: str) -> str | None:
        """A trust name for a keyless identity with `issuer` or `issuerRegExp`, and `subject` or `subjectRegExp`."""
        issuer = str(identity.get("issuer") or "") or literal(str(identity.get("issuerRegExp") or ""))
        subject, pattern = str(identity.get("subject") or ""), str(identity.get("subjectRegExp") or "")
        plain = subject or literal(pattern)
        if not issuer or not issuer.startswith("http"):
            self.note(f"{where}: an identity without one issuer cannot be carried over: any issuer could certify the same words")
            return None
        if not plain and not pattern.strip(".*^$"):
            self.note(f"{where}: an identity that anybody has is left out")
            return None
        entry: dict[str, Any] = {"issuer": issuer, **(self._glob(plain) if plain else self._regexp(pattern, where))}
        host = repository_host(issuer)
        if host is not None:
            told = own_repository(issuer, plain or "") or own_repository(issuer, _ESCAPE.sub(r"\1", pattern).lstrip("^"))
            if told is None:
                self.note(f"{where}: which repository's workflows are meant cannot be told, and a reusable workflow is everybody's: add the entry by hand")
                return None
            entry["sourceRepository"] = told.removeprefix(host)
        return self.trust(name, {"keyless": entry})

    def _glob(self, subject: str) -> dict[str, Any]:
        kind = san_type(subject)
        return {"identity": subject, **({} if kind is not None else {"identityType": "other"})}

    def _regexp(self, pattern: str, where: str) -> dict[str, Any]:
        if not (pattern.startswith("^") and pattern.endswith("$")):
            self.note(f"{where}: {pattern!r} was not anchored, here it must match the whole identity")
        problem = compiles(pattern)
        if problem is not None:
            self.note(f"{where}: {problem}")
        return {"identityRegexp": pattern, "identityType": "uri" if "/" in pattern else "email"}


def all_of(demands: list[Requirement]) -> Requirement:
    """One requirement of several that must all hold."""
    return demands[0] if len(demands) == 1 else {"all": demands}


def any_of(branches: list[Requirement]) -> Requirement | None:
    """One requirement of several of which one is enough; None of none."""
    if not branches:
        return None
    return branches[0] if len(branches) == 1 else {"any": branches}


def signed(by: list[str]) -> Requirement:
    """A signature by one of the names."""
    return {"signed": {"by": by[0] if len(by) == 1 else by}}


def attested(predicate_type: str, by: list[str], draft: Draft, where: str) -> Requirement | None:
    """An attestation; None, with a note, for a type that is no URI and no alias."""
    if predicate_uri(predicate_type) is None:
        draft.note(f"{where}: {predicate_type!r} is no predicate type that is known")
        return None
    return {"attested": {"type": predicate_type, "by": by[0] if len(by) == 1 else by}}


def scope_of(glob: str, draft: Draft, where: str, *, crosses: bool) -> str | None:
    """A scope of an image glob; `crosses`: a `*` of theirs also stands for slashes. None, with a note, where the host is a pattern."""
    name = glob.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        name = head
        if tag.strip("*"):
            draft.note(f"{where}: the tag of {glob!r} is left out: rules speak of repositories, and chart.version of versions")
    if ("*" in name.partition("/")[0] and "/" in name) or not name.strip("*/"):
        draft.note(f"{where}: {glob!r} has a pattern where the host stands, which a rule never has: name the registries")
        return None
    path = "/".join(_segment(segment, crosses) for segment in name.split("/"))
    try:
        reference = parse_image(path.replace("*", "zqz"))
        return parse_scope(f"oci://{reference.name.replace('zqz', '*')}").text
    except (MisuseError, ValueError) as error:
        draft.note(f"{where}: {glob!r} is no scope: {error}")
        return None


def _segment(segment: str, crosses: bool) -> str:
    """A run of wildcards alone is one segment or any number; inside a segment ours never crosses a slash."""
    if segment.strip("*"):
        return re.sub(r"\*+", "*", segment)
    return "**" if segment and (crosses or len(segment) > 1) else segment


def literal(pattern: str) -> str | None:
    """The one text that a regular expression is meant for: unescaped dots are dots; None where it is a real pattern."""
    text = pattern.removeprefix("^").removesuffix("$")
    if not text or _SPECIAL.search(_ESCAPE.sub("", text)):
        return None
    return _ESCAPE.sub(r"\1", text)
