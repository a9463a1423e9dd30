"""Opening the database: a SQLite file, or PostgreSQL where several servers share what they keep.

Both are durable: what `record` has returned from survives a crash (SQLite: WAL and synchronous=FULL; PostgreSQL: its own default). Nobody waits for
either for ever. Source: sqlite.org pragma.html, postgresql.org "Database Connection Control Functions".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from verifier.model import codes
from verifier.model.errors import MisuseError

_SCHEMES = ("postgresql://", "postgres://")
_SECONDS = 5
_CONNECTIONS = 16
_OPENING = 7_140_119  # the lock under which a server makes the tables, so that two that start at once do not both


def is_shared(where: str | Path) -> bool:
    """Whether a place is one that several servers can share."""
    return isinstance(where, str) and where.startswith(_SCHEMES)


def shown(where: str | Path) -> str:
    """The place, for people."""
    return make_url(str(where)).render_as_string(hide_password=True) if is_shared(where) else str(where)


def open_engine(where: str | Path) -> sql.Engine:
    """Raises MisuseError `config-invalid` or `extra-missing`; nothing is connected yet."""
    return _postgres(str(where)) if is_shared(where) else _sqlite(Path(where))


def alone(connection: sql.Connection) -> None:
    """Nobody else makes tables until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sql.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _OPENING})
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _sqlite(path: Path) -> sql.Engine:
    engine = sql.create_engine(f"sqlite:///{path}")
    sql.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_SECONDS * 1_000}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgres(where: str) -> sql.Engine:
    try:
        url = make_url(where)
    except (ArgumentError, ValueError) as error:
        raise MisuseError(codes.CONFIG_INVALID, "expected postgresql://USER@HOST[:PORT]/DATABASE", where="--store") from error
    if url.password is not None:  # it would stand in the list of processes
        raise MisuseError(
            codes.CONFIG_INVALID, "a password does not belong here: give it by PGPASSWORD or PGPASSFILE", where=url.render_as_string(hide_password=True)
        )
    try:
        import psycopg  # noqa: F401  # whether the extra is there
    except ImportError as error:
        raise MisuseError(codes.EXTRA_MISSING, "a store in PostgreSQL takes the extra 'postgres'") from error
    arguments: Mapping[str, Any] = {"connect_timeout": _SECONDS, "options": f"-c statement_timeout={_SECONDS * 1_000} -c timezone=UTC"}
    driven = url.set(drivername="postgresql+psycopg")
    return sql.create_engine(driven, pool_size=_CONNECTIONS, max_overflow=0, pool_timeout=_SECONDS, pool_pre_ping=True, connect_args=dict(arguments))
