"""What the store keeps, as values: for those who speak of it without paying for a database."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

MOST = 500  # rows of one answer


class Kept(Struct, frozen=True, kw_only=True):
    """One decision as it was given; `body` is its published JSON. `time` is in UTC."""

    id: str
    time: datetime
    outcome: str
    code: str | None
    reference: str
    digest: str | None
    namespace: str | None
    rule: str | None
    policy: str
    body: bytes


class Verified(Struct, frozen=True):
    """A chart that was allowed: its fingerprint (`charts.fingerprint`), and where it lies as `HOST/PATH` and digest."""

    fingerprint: str
    repository: str
    digest: str


class Query(Struct, frozen=True, kw_only=True):
    """Which decisions, newest first; None asks nothing. `before` is a time, to go on from the last row of an answer."""

    outcome: str | None = None
    reference: str | None = None
    digest: str | None = None
    namespace: str | None = None
    code: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    limit: int = 100
