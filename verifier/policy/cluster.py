"""What a policy says of Kubernetes alone: where charts may come from that no field names, what passes unverified, and what a denial does."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from verifier.model.context import Selection


class Source(Struct, frozen=True, kw_only=True):
    """Repositories (`host/path`) below which charts lie whose installer does not say where they come from; see `sources`."""

    repositories: tuple[str, ...] = ()
    context: Selection = ()
    git: bool = False


class Leniency(StrEnum):
    """What a rule lets pass in Kubernetes that nobody could verify (semantics 31, 32); the value is the field's name."""

    UNPINNED = "unsafe_allow_unpinned"
    PARTIAL_RECORDS = "unsafe_allow_partial_records"
    OTHER_VALUES = "unsafe_allow_other_values"


GIT = "unsafe_allow_git"  # of a source, not of a rule


class Whose(StrEnum):
    """Whose credentials a registry is shown for an object (semantics 33): its namespace's, or after those the server's own, too."""

    NAMESPACE = "namespace"
    SERVER = "server"


class Admission(StrEnum):
    """What a denial under a rule does in Kubernetes; on the command line and over HTTP it denies all the same."""

    ENFORCE = "enforce"
    WARN = "warn"
    AUDIT = "audit"
