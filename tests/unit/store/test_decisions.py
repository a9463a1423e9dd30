"""The store: what goes in comes out, in order and bounded; what cannot be kept is told; a crash loses nothing that was answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sql
from msgspec.structs import replace

from tests.support.postgres import PASSWORD, Postgres, postgres
from verifier.model.errors import InconclusiveError, MisuseError
from verifier.store.database import open_engine
from verifier.store.decisions import DecisionStore, open_store
from verifier.store.rows import MOST, Kept, Query, Verified

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEPT = Kept(
    id="00000000-0000-0000-0000-000000000001",
    time=NOW,
    outcome="denied",
    code="unsigned",
    reference="oci://reg.test/acme/web:1.4.2",
    digest="sha256:" + "a" * 64,
    namespace="shop",
    rule="ours",
    policy="sha256:" + "b" * 64,
    body=b'{"id":"x"}',
)
CHART = Verified("f" * 64, "reg.test/acme/web", "sha256:" + "a" * 64)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store may be: every promise holds for both."""
    if request.param == "sqlite":
        return str(tmp_path / "decisions.db")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found: Postgres = request.getfixturevalue("server")
    return found.database(f"d{uuid.uuid4().hex}")


@pytest.fixture
def store(place: str) -> Iterator[DecisionStore]:
    with contextlib.closing(open_store(place)) as opened:
        yield opened


def change(place: str, text: str) -> None:
    """Behind the store's back."""
    engine = open_engine(place)
    with engine.begin() as connection:
        connection.execute(sql.text(text))
    engine.dispose()


def number(index: int, **changes: object) -> Kept:
    return replace(KEPT, id=f"id-{index:04}", time=NOW + timedelta(seconds=index), **changes)


def test_what_goes_in_comes_out_and_once(store: DecisionStore, place: str) -> None:
    store.record(KEPT)
    store.record(KEPT)
    assert (store.get(KEPT.id), store.get("none"), store.find(Query())) == (KEPT, None, [KEPT])
    store.close()
    again = open_store(place)
    assert again.find(Query()) == [KEPT], "it outlives the process"
    again.close()


def test_questions(store: DecisionStore) -> None:
    for index in range(10):
        store.record(number(index, outcome="allowed" if index % 2 else "denied", namespace="till" if index > 5 else "shop"))
    assert [item.id for item in store.find(Query(limit=3))] == ["id-0009", "id-0008", "id-0007"]
    assert [item.id for item in store.find(Query(outcome="allowed", namespace="shop"))] == ["id-0005", "id-0003", "id-0001"]
    assert [item.id for item in store.find(Query(since=NOW + timedelta(seconds=8)))] == ["id-0009", "id-0008"]
    assert [item.id for item in store.find(Query(before=NOW + timedelta(seconds=2)))] == ["id-0001", "id-0000"]
    for query in (Query(reference="x"), Query(digest="x"), Query(code="x"), Query(namespace="' OR 1=1 --")):
        assert store.find(query) == []
    assert len(store.find(Query(limit=10**9))) == 10
    assert MOST == 500


def test_charts_are_found_by_what_a_record_shows(store: DecisionStore) -> None:
    other = Verified(CHART.fingerprint, "mirror.test/acme/web", CHART.digest)
    store.record(KEPT, CHART)
    store.record(number(1), CHART)
    store.record(number(2), other)
    assert store.verified(CHART.fingerprint) == [other, CHART]
    assert store.verified("0" * 64) == []


def test_what_is_old_is_forgotten(store: DecisionStore) -> None:
    store.record(number(0), CHART)
    store.record(number(100), CHART)
    assert store.forget(NOW + timedelta(seconds=50)) == 1
    assert ([item.id for item in store.find(Query())], store.verified(CHART.fingerprint)) == (["id-0100"], [CHART])
    assert store.forget(NOW + timedelta(seconds=150)) == 1
    assert store.verified(CHART.fingerprint) == []


def test_many_threads_write_at_once(store: DecisionStore) -> None:
    def write(start: int) -> None:
        for index in range(start, start + 20):
            store.record(number(index), CHART)

    threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 200, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.find(Query(limit=500))) == 200


def test_a_store_that_is_gone_is_told(store: DecisionStore, place: str) -> None:
    change(place, "DROP TABLE decisions")
    for act in (lambda: store.record(KEPT), lambda: store.get("x"), lambda: store.find(Query()), lambda: store.forget(NOW)):
        with pytest.raises(InconclusiveError) as refused:
            act()
        assert refused.value.code.name == "not-recorded"


@pytest.mark.parametrize("content", [b"this is no database, but a text of some length", b"\x00" * 4096])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(MisuseError) as refused:
        open_store(tmp_path / "x.db")
    assert refused.value.code.name == "config-invalid"
    with pytest.raises(MisuseError):
        open_store(tmp_path / "missing" / "x.db")


def test_a_store_of_a_later_version_is_not_touched(store: DecisionStore, place: str) -> None:
    store.close()
    change(place, "UPDATE about SET schema = 99")
    with pytest.raises(MisuseError, match="schema 99"):
        open_store(place)


def test_killed_while_it_writes_everything_that_was_answered_is_there(place: str) -> None:
    """Each line on stdout was answered after it was kept; kill -9 in the middle."""
    script = (
        "import sys\nfrom tests.unit.store.test_decisions import number, CHART\nfrom verifier.store.decisions import open_store\n"
        "store = open_store(sys.argv[1])\n"
        "for index in range(100000):\n    store.record(number(index), CHART)\n    print(index, flush=True)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script, place]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(25)]
    process.kill()
    rest, _ = process.communicate()
    answered = [*seen, *(int(line) for line in rest.split(b"\n")[:-1])]
    with contextlib.closing(open_store(place)) as store:
        assert {store.get(f"id-{index:04}") is not None for index in answered} == {True}


def test_two_servers_share_what_they_keep(store: DecisionStore, place: str) -> None:
    """The same chart at the same moment, from both: neither stands in the other's way."""
    other = open_store(place)

    def write(which: DecisionStore, start: int) -> None:
        for index in range(start, start + 50):
            which.record(number(index), CHART)

    failed: list[BaseException] = []
    threads = [threading.Thread(target=_told(write, failed), args=(which, start)) for which, start in ((store, 0), (other, 50), (store, 0), (other, 100))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert (len(store.find(Query(limit=500))), other.get("id-0000"), store.get("id-0099")) == (150, number(0), number(99))
    assert store.verified(CHART.fingerprint) == other.verified(CHART.fingerprint) == [CHART]
    other.close()


def _told(work: Callable[..., None], failed: list[BaseException]) -> Callable[..., None]:
    def run(*words: object) -> None:
        try:
            work(*words)
        except BaseException as error:  # a thread's fault is the test's
            failed.append(error)

    return run


def test_servers_that_start_at_once_make_one_store(place: str) -> None:
    opened: list[DecisionStore] = []
    failed: list[BaseException] = []
    threads = [threading.Thread(target=_told(lambda: opened.append(open_store(place)), failed)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (failed, len(opened)) == ([], 6)
    for one in opened:
        one.close()


def test_a_database_that_goes_and_comes_back(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is away nothing is kept, so that nothing is allowed; what was kept before a crash of the database is there."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    with contextlib.closing(open_store(server.database("away"))) as store:
        store.record(KEPT)
        server.stop("immediate")
        with pytest.raises(InconclusiveError) as refused:
            store.record(number(1))
        assert (refused.value.code.name, PASSWORD in refused.value.reason) == ("not-recorded", False)
        server.start()
        store.record(number(2))
        assert [item.id for item in store.find(Query())] == ["id-0002", KEPT.id]


def test_where_a_shared_store_may_not_be(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    for where, told in (
        (f"postgresql://keeper:{PASSWORD}@127.0.0.1:{server.port}/x", "a password does not belong here"),
        ("postgresql://keeper@127.0.0.1:port/x", "expected postgresql://"),
        ("postgresql://keeper@127.0.0.1:1/x", "no store of decisions"),
        (f"postgresql://keeper@127.0.0.1:{server.port}/x", "no store of decisions"),
    ):
        monkeypatch.setenv("PGPASSWORD", "wrong")
        with pytest.raises(MisuseError, match=told) as refused:
            open_store(where)
        assert (refused.value.code.name, PASSWORD in str(refused.value)) == ("config-invalid", False)


def test_without_the_extra_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MisuseError) as refused:
        open_store("postgresql://keeper@127.0.0.1/x")
    assert refused.value.code.name == "extra-missing"
