"""The store: what goes in comes out, in order and bounded; what cannot be kept is told; a crash loses nothing that was answered."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from verifier.model.errors import InconclusiveError, MisuseError
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


@pytest.fixture
def store(tmp_path: Path) -> DecisionStore:
    return open_store(tmp_path / "decisions.db")


def number(index: int, **changes: object) -> Kept:
    return replace(KEPT, id=f"id-{index:04}", time=NOW + timedelta(seconds=index), **changes)


def test_what_goes_in_comes_out_and_once(store: DecisionStore, tmp_path: Path) -> None:
    store.record(KEPT)
    store.record(KEPT)
    assert (store.get(KEPT.id), store.get("none"), store.find(Query())) == (KEPT, None, [KEPT])
    store.close()
    again = open_store(tmp_path / "decisions.db")
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
    store.close()


def test_charts_are_found_by_what_a_record_shows(store: DecisionStore) -> None:
    other = Verified(CHART.fingerprint, "mirror.test/acme/web", CHART.digest)
    store.record(KEPT, CHART)
    store.record(number(1), CHART)
    store.record(number(2), other)
    assert store.verified(CHART.fingerprint) == [other, CHART]
    assert store.verified("0" * 64) == []
    store.close()


def test_what_is_old_is_forgotten(store: DecisionStore) -> None:
    store.record(number(0), CHART)
    store.record(number(100), CHART)
    assert store.forget(NOW + timedelta(seconds=50)) == 1
    assert ([item.id for item in store.find(Query())], store.verified(CHART.fingerprint)) == (["id-0100"], [CHART])
    assert store.forget(NOW + timedelta(seconds=150)) == 1
    assert store.verified(CHART.fingerprint) == []
    store.close()


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
    store.close()


def test_a_store_that_is_gone_is_told(store: DecisionStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "decisions.db") as connection:
        connection.execute("DROP TABLE decisions")
    for act in (lambda: store.record(KEPT), lambda: store.get("x"), lambda: store.find(Query()), lambda: store.forget(NOW)):
        with pytest.raises(InconclusiveError) as refused:
            act()
        assert refused.value.code.name == "not-recorded"
    store.close()


@pytest.mark.parametrize("content", [b"this is no database, but a text of some length", b"\x00" * 4096])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(MisuseError) as refused:
        open_store(tmp_path / "x.db")
    assert refused.value.code.name == "config-invalid"
    with pytest.raises(MisuseError):
        open_store(tmp_path / "missing" / "x.db")


def test_a_store_of_a_later_version_is_not_touched(store: DecisionStore, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "decisions.db") as connection:
        connection.execute("UPDATE about SET schema = 99")
    with pytest.raises(MisuseError, match="schema 99"):
        open_store(tmp_path / "decisions.db")


def test_killed_while_it_writes_everything_that_was_answered_is_there(tmp_path: Path) -> None:
    """Each line on stdout was answered after it was kept; kill -9 in the middle."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.unit.store.test_decisions import number, CHART\nfrom verifier.store.decisions import open_store\n"
        "store = open_store(Path(sys.argv[1]))\n"
        "for index in range(100000):\n    store.record(number(index), CHART)\n    print(index, flush=True)\n"
    )
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script, str(tmp_path / "d.db")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    assert process.stdout is not None
    seen = [int(process.stdout.readline()) for _ in range(25)]
    process.kill()
    rest, _ = process.communicate()
    answered = [*seen, *(int(line) for line in rest.split(b"\n")[:-1])]
    store = open_store(tmp_path / "d.db")
    assert {store.get(f"id-{index:04}") is not None for index in answered} == {True}
    store.close()
