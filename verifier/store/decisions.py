"""The store of decisions: which answers were given, whole, and which charts were verified, by what of them a release record shows.

One module for every database (`database`). A decision that enforces and cannot be kept is not given: whoever asks why something was let in must find an
answer. Only this room knows SQLAlchemy; its errors become `not-recorded`, or `config-invalid` while opening.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from verifier.model import codes
from verifier.model.errors import InconclusiveError, MisuseError, first_line
from verifier.store.database import alone, open_engine, shown
from verifier.store.rows import MOST, Kept, Query, Verified

SCHEMA = 1

_metadata = sql.MetaData()
_about = sql.Table("about", _metadata, sql.Column("schema", sql.Integer, nullable=False))
_decisions = sql.Table(
    "decisions",
    _metadata,
    sql.Column("id", sql.String(64), primary_key=True),
    sql.Column("time", sql.DateTime, nullable=False, index=True),
    sql.Column("outcome", sql.String(16), nullable=False),
    sql.Column("code", sql.String(64)),
    sql.Column("reference", sql.Text, nullable=False, index=True),
    sql.Column("digest", sql.String(160), index=True),
    sql.Column("namespace", sql.String(253), index=True),
    sql.Column("rule", sql.Text),
    sql.Column("policy", sql.String(160)),
    sql.Column("body", sql.LargeBinary, nullable=False),
)
_charts = sql.Table(
    "charts",
    _metadata,
    sql.Column("fingerprint", sql.String(64), primary_key=True),
    sql.Column("repository", sql.Text, primary_key=True),
    sql.Column("digest", sql.String(160), primary_key=True),
    sql.Column("seen", sql.DateTime, nullable=False, index=True),
)


class DecisionStore:
    """Open until `close`; safe to share between threads."""

    def __init__(self, engine: sql.Engine) -> None:
        self._engine = engine
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def record(self, kept: Kept, verified: Verified | None = None) -> None:
        """Keep a decision, and the chart that it allowed; one that is there already stays. Raises InconclusiveError `not-recorded`."""
        values = {name: getattr(kept, name) for name in kept.__struct_fields__} | {"time": _plain(kept.time)}
        with self._writing() as connection:
            connection.execute(self._insert(_decisions).values(**values).on_conflict_do_nothing())
            if verified is not None:
                key = {name: getattr(verified, name) for name in verified.__struct_fields__}
                seen = {"seen": _plain(kept.time)}
                connection.execute(self._insert(_charts).values(**key, **seen).on_conflict_do_update(index_elements=list(key), set_=seen))

    def get(self, identifier: str) -> Kept | None:
        """A decision by its id; raises InconclusiveError `not-recorded`."""
        with self._reading() as connection:
            row = connection.execute(sql.select(_decisions).where(_decisions.c.id == identifier)).mappings().first()
        return _kept(row) if row is not None else None

    def find(self, query: Query) -> list[Kept]:
        """Decisions, newest first, at most MOST; raises InconclusiveError `not-recorded`."""
        wanted = sql.select(_decisions).order_by(_decisions.c.time.desc(), _decisions.c.id).limit(max(1, min(query.limit, MOST)))
        for name in ("outcome", "reference", "digest", "namespace", "code"):
            value = getattr(query, name)
            if value is not None:
                wanted = wanted.where(_decisions.c[name] == value)
        if query.since is not None:
            wanted = wanted.where(_decisions.c.time >= _plain(query.since))
        if query.before is not None:
            wanted = wanted.where(_decisions.c.time < _plain(query.before))
        with self._reading() as connection:
            return [_kept(row) for row in connection.execute(wanted).mappings()]

    def verified(self, fingerprint: str) -> list[Verified]:
        """Charts that were allowed once and have this fingerprint; whether they are now is another question."""
        with self._reading() as connection:
            rows = connection.execute(sql.select(_charts).where(_charts.c.fingerprint == fingerprint).order_by(_charts.c.seen.desc()).limit(MOST))
            return [Verified(row.fingerprint, row.repository, row.digest) for row in rows]

    def forget(self, before: datetime) -> int:
        """Remove what is older; returns how many decisions. A chart is kept as long as it was seen since."""
        with self._writing() as connection:
            connection.execute(sql.delete(_charts).where(_charts.c.seen < _plain(before)))
            gone: int = connection.execute(sql.delete(_decisions).where(_decisions.c.time < _plain(before))).rowcount
            return gone

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sql.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _lost(error) from error

    @contextmanager
    def _reading(self) -> Iterator[sql.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _lost(error) from error


def open_store(where: str | Path) -> DecisionStore:
    """The store in a SQLite file or a PostgreSQL database (`postgresql://USER@HOST/DATABASE`), made if it is not there.

    Raises MisuseError `config-invalid` or `extra-missing`.
    """
    engine = open_engine(where)
    try:
        with engine.begin() as connection:
            alone(connection)
            _metadata.create_all(connection)
            found = connection.execute(sql.select(_about.c.schema)).scalar()
            if found is None:
                connection.execute(sql.insert(_about).values(schema=SCHEMA))
            elif found != SCHEMA:
                raise MisuseError(codes.CONFIG_INVALID, f"the store has schema {found}, this version knows {SCHEMA}", where=shown(where))
    except SQLAlchemyError as error:
        engine.dispose()
        raise MisuseError(codes.CONFIG_INVALID, f"no store of decisions: {first_line(error)}", where=shown(where)) from error
    except MisuseError:
        engine.dispose()
        raise
    return DecisionStore(engine)


def _kept(row: sql.RowMapping) -> Kept:
    return Kept(**{name: row[name] for name in Kept.__struct_fields__} | {"time": row["time"].replace(tzinfo=UTC)})


def _plain(moment: datetime) -> datetime:
    """SQLite keeps no time zone; all are UTC."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def _lost(error: SQLAlchemyError) -> InconclusiveError:
    return InconclusiveError(codes.NOT_RECORDED, first_line(error))
