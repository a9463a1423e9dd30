"""Archive attacks: each is refused for its own reason (threats T-09, T-16; semantics 7)."""

from __future__ import annotations

import gzip
import tarfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.charts import EPOCH, archive, chart_yaml, evil_archive, member, raw_tar
from verifier.charts import archive as archive_module
from verifier.charts.archive import read_archive
from verifier.charts.packaging import write_archive
from verifier.model import limits
from verifier.model.errors import FailedError

REG = tarfile.REGTYPE


def pax(key: str, value: str) -> bytes:
    info = member("web/x")
    info.pax_headers = {key: value}
    return gzip.compress(raw_tar([(member("web/Chart.yaml"), chart_yaml()), (info, b"x")]))


def only(*members: tuple[str, bytes]) -> bytes:
    return gzip.compress(raw_tar([(member(name), data) for name, data in members]))


def nested(depth: int) -> bytes:
    inner = archive("sub")
    for _ in range(depth):
        inner = archive("sub", files={"charts/sub-1.4.2.tgz": inner})
    return archive(files={"charts/sub-1.4.2.tgz": inner})


ATTACKS = {
    "empty": (b"", "archive-invalid"),
    "not gzip": (b"PK\x03\x04", "archive-invalid"),
    "not a tar": (gzip.compress(b"hello" * 300), "archive-invalid"),
    "truncated gzip": (archive()[:-20], "archive-invalid"),
    "damaged gzip": (archive()[:40] + b"\0\0\0\0" + archive()[44:], "archive-invalid"),
    "an empty tar": (gzip.compress(raw_tar([])), "archive-invalid"),
    "truncated tar": (gzip.compress(raw_tar([(member("web/Chart.yaml"), b"x" * 5000)])[:2000]), "archive-invalid"),
    "data after the gzip stream": (archive() + b"garbage", "archive-trailing"),
    "a second gzip member": (archive() + archive(), "archive-trailing"),
    "data after the tar": (evil_archive(tail=b"\0" * 1024 + b"more"), "archive-trailing"),
    "absolute path": (evil_archive(("/etc/passwd", b"x")), "archive-traversal"),
    "dot-dot": (evil_archive(("web/../../etc/passwd", b"x")), "archive-traversal"),
    "dot-dot inside": (evil_archive(("web/x/../Chart.yaml", b"x")), "archive-traversal"),
    "drive letter": (evil_archive(("c:/x", b"x")), "archive-traversal"),
    "backslash": (evil_archive(("web\\x", b"x")), "archive-ambiguous"),
    "dot segment": (evil_archive(("web/./Chart.yaml", b"x")), "archive-ambiguous"),
    "double slash": (evil_archive(("web//Chart.yaml", b"x")), "archive-ambiguous"),
    "name that begins with dots": (evil_archive(("..web/x", b"x")), "archive-ambiguous"),
    "control character": (evil_archive(("web/a\x1bb", b"x")), "archive-ambiguous"),
    "newline": (evil_archive(("web/a\nb", b"x")), "archive-ambiguous"),
    "the same file twice": (evil_archive(("web/values.yaml", b"evil: true\n")), "archive-ambiguous"),
    "a one-letter file twice": (evil_archive(("web/x", b"1"), ("web/x", b"2")), "archive-ambiguous"),
    "Chart.yaml twice": (evil_archive(("web/Chart.yaml", chart_yaml(version="9.9.9"))), "archive-ambiguous"),
    "twice but for case": (evil_archive(("web/Values.yaml", b"x")), "archive-ambiguous"),
    "a second top directory": (evil_archive(("evil/Chart.yaml", chart_yaml("evil"))), "archive-ambiguous"),
    "a top directory of another name": (write_archive("evil", {"Chart.yaml": chart_yaml("web")}, epoch=EPOCH), "archive-ambiguous"),
    "a file outside the directory": (evil_archive(("stray", b"x")), "archive-invalid"),
    "symbolic link": (evil_archive(("web/link", b""), kind=tarfile.SYMTYPE, link="/etc/passwd"), "archive-entry"),
    "hard link": (evil_archive(("web/link", b""), kind=tarfile.LNKTYPE, link="web/values.yaml"), "archive-entry"),
    "fifo": (evil_archive(("web/pipe", b""), kind=tarfile.FIFOTYPE), "archive-entry"),
    "device": (evil_archive(("web/null", b""), kind=tarfile.CHRTYPE), "archive-entry"),
    "PAX size": (pax("size", "1"), "archive-entry"),
    "PAX link path": (pax("linkpath", "/etc/passwd"), "archive-entry"),
    "PAX sparse": (pax("GNU.sparse.major", "1"), "archive-entry"),
    "no Chart.yaml": (only(("web/values.yaml", b"{}")), "archive-invalid"),
    "Chart.yaml in another case": (only(("web/chart.yaml", chart_yaml())), "archive-invalid"),
    "Chart.yaml only below": (only(("web/x/Chart.yaml", chart_yaml())), "archive-invalid"),
    "requirements.yaml in a v2 chart": (archive(files={"requirements.yaml": b"name: evil\nversion: 7.7.7\n"}), "archive-ambiguous"),
    "requirements.lock in a v2 chart": (archive(files={"requirements.lock": b"x: y\n"}), "archive-ambiguous"),
    "Requirements.YAML in a v2 chart": (archive(files={"Requirements.YAML": b"x: y\n"}), "archive-ambiguous"),
    "a nested chart that is evil": (archive(files={"charts/sub-1.tgz": evil_archive(("/x", b""))}), "archive-traversal"),
    "a nested chart that is no archive": (archive(files={"charts/sub-1.tgz": b"text"}), "archive-invalid"),
    "charts nested too deep": (nested(7), "archive-limit"),
    "a path too long": (evil_archive(("web/" + "a" * 600, b"x")), "archive-limit"),
}


@pytest.mark.parametrize("data, code", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FailedError) as caught:
        read_archive(data, where="web-1.4.2.tgz")
    assert caught.value.code.name == code, caught.value.reason
    assert caught.value.where.startswith("web-1.4.2.tgz")


def test_a_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = gzip.compress(b"\0" * (limits.ARCHIVE_UNPACKED_BYTES + 1), 9)
    with pytest.raises(FailedError) as caught:
        read_archive(bomb, where="bomb.tgz")
    assert caught.value.code.name == "archive-limit"


def test_limits_on_count_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_ENTRIES", 3)
    many = archive(files={f"f{index}": b"" for index in range(9)})
    with pytest.raises(FailedError) as caught:
        archive_module._read(many, "x", archive_module._Budget(entries=3), depth=0)
    assert caught.value.code.name == "archive-limit"
    monkeypatch.setattr(limits, "ARCHIVE_BYTES", 10)
    with pytest.raises(FailedError) as caught:
        read_archive(archive(), where="x")
    assert caught.value.code.name == "archive-limit"


def test_nested_charts_share_one_budget() -> None:
    inner = archive("sub", files={"big": b"\0" * 60_000_000})
    with pytest.raises(FailedError) as caught:
        read_archive(archive(files={"charts/a-1.tgz": inner, "charts/b-1.tgz": inner.replace(b"", b"")}), where="x")
    assert caught.value.code.name == "archive-limit"


def test_a_sound_chart_is_read() -> None:
    read = read_archive(archive(files={"charts/sub-1.4.2.tgz": archive("sub"), "charts/_skip.tgz": b"not loaded"}), where="x")
    assert (read.facts.name, read.facts.version, read.facts.label) == ("web", "1.4.2", "web-1.4.2")
    assert set(read.files) == {"Chart.yaml", "values.yaml", "charts/sub-1.4.2.tgz", "charts/_skip.tgz"}


def test_directories_are_skipped() -> None:
    info = member("web/templates/", tarfile.DIRTYPE)
    data = gzip.compress(raw_tar([(member("web/Chart.yaml"), chart_yaml()), (info, b"")]))
    assert set(read_archive(data, where="x").files) == {"Chart.yaml"}


@given(st.binary(max_size=400))
def test_no_bytes_are_more_than_refused(data: bytes) -> None:
    for candidate in (data, zlib.compress(data), gzip.compress(data)):
        with pytest.raises(FailedError):
            read_archive(candidate, where="x")


@given(st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_changed_archive_is_read_or_refused_but_never_crashes(position: int, patch: bytes) -> None:
    data = bytearray(gzip.decompress(archive()))
    data[position * 8 : position * 8 + len(patch)] = patch
    try:
        read_archive(gzip.compress(bytes(data)), where="x")
    except FailedError as error:
        assert error.code.name.startswith(("archive-", "metadata-"))


def test_a_budget_that_is_spent_to_the_last_byte_is_spent() -> None:
    """zlib takes a limit of 0 for none: a chart that fills the budget exactly could bring a bomb along in charts/."""
    inner = archive("inner", "1.0.0", {"zeros": b"\0" * 5_000_000})
    outer = archive("web", "1.4.2", {"charts/inner-1.0.0.tgz": inner})
    spent = len(gzip.decompress(outer))
    with pytest.raises(FailedError) as refused:
        archive_module._read(outer, "web", archive_module._Budget(unpacked=spent), depth=0)
    assert refused.value.code.name == "archive-limit"
    assert archive_module._read(outer, "web", archive_module._Budget(unpacked=spent + len(gzip.decompress(inner))), depth=0).facts.subcharts
