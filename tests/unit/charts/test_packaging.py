"""Packaging is reproducible, honours .helmignore, and refuses what the reader would refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.charts import chart_yaml
from verifier.charts.archive import read_archive
from verifier.charts.ignore import parse_ignore
from verifier.charts.packaging import package_directory
from verifier.charts.version import parse_range, parse_version
from verifier.model import limits
from verifier.model.errors import MisuseError


def directory(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "Chart.yaml").write_bytes(chart_yaml())
    for name, text in files.items():
        target = path / name.replace("__", "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return path


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one = directory(tmp_path / "one", templates__a="x", templates__b="y")
    two = directory(tmp_path / "two", templates__b="y", templates__a="x")
    os.utime(two / "Chart.yaml", (1, 1))
    (two / "Chart.yaml").chmod(0o600)
    assert package_directory(one)[1] == package_directory(two)[1]
    assert package_directory(one, epoch=1)[1] != package_directory(one)[1]


def test_what_we_write_we_read(tmp_path: Path) -> None:
    archive, data = package_directory(directory(tmp_path / "c", templates__a="x"))
    assert read_archive(data, where="x") == archive
    assert list(archive.files) == ["Chart.yaml", "templates/a"]


def test_helmignore(tmp_path: Path) -> None:
    path = directory(tmp_path / "c", keep="1", notes__x="2", a_txt="3")
    (path / ".helmignore").write_text("# comment\nnotes/\n*_txt\n.helmignore\n")
    assert set(package_directory(path)[0].files) == {"Chart.yaml", "keep"}


@pytest.mark.parametrize(
    "pattern, path, is_directory, ignored",
    [
        ("*.bak", "a/b.bak", False, True),
        ("/a.txt", "a.txt", False, True),
        ("a/*.txt", "a/b.txt", False, True),
        ("a/*.txt", "x/a/b.txt", False, False),
        ("dir/", "dir", False, False),
        ("dir/", "dir", True, True),
        ("[ab].x", "a.x", False, True),
        ("[ab].x", "c.x", False, False),
        ("\\*.x", "*.x", False, True),
        ("?", "ab", False, False),
        ("x", "templates/.hidden", False, True),
        ("!keep", "other", False, True),
        ("!keep", "keep", False, False),
    ],
)
def test_ignore_patterns(pattern: str, path: str, is_directory: bool, ignored: bool) -> None:
    assert parse_ignore(pattern).ignores(path, is_directory=is_directory) is ignored


@pytest.mark.parametrize("pattern", ["**/x", "[ab"])
def test_ignore_patterns_that_helm_refuses(pattern: str) -> None:
    with pytest.raises(MisuseError) as caught:
        parse_ignore(pattern)
    assert caught.value.code.name == "chart-invalid"


def test_what_cannot_be_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> MisuseError:
        with pytest.raises(MisuseError) as caught:
            package_directory(path)
        assert caught.value.code.name in ("chart-invalid", "file-unreadable")
        return caught.value

    assert "no Chart.yaml" in refused(tmp_path).reason
    linked = directory(tmp_path / "linked")
    (linked / "link").symlink_to("/etc/passwd")
    assert "is a link" in refused(linked).reason
    pipe = directory(tmp_path / "pipe")
    os.mkfifo(pipe / "fifo")
    assert "neither a file" in refused(pipe).reason
    broken = directory(tmp_path / "broken")
    (broken / "Chart.yaml").write_text("name: [")
    assert "metadata-invalid" in refused(broken).reason
    evil = directory(tmp_path / "evil", requirements__yaml="x")
    (evil / "requirements.yaml").write_text("name: evil\n")
    assert "archive-ambiguous" in refused(evil).reason
    monkeypatch.setattr(limits, "ARCHIVE_UNPACKED_BYTES", 10)
    assert "more than" in refused(directory(tmp_path / "large")).reason


@pytest.mark.parametrize(
    "text, inside, outside",
    [
        (">=1.4.0", ["1.4.0", "2.0.0"], ["1.3.9", "1.5.0-rc.1"]),
        ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("1.x", ["1.0.0", "1.9.9"], ["2.0.0"]),
        ("1.2 - 1.4.5", ["1.2.0", "1.4.5"], ["1.4.6"]),
        (">1.2, <2 || 3.0.0", ["1.3.0", "3.0.0"], ["1.2.0", "2.0.0", "3.0.1"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        (">=1.0.0-0", ["1.0.0-rc.1"], ["0.9.0"]),
        ("*", ["0.0.1", "9.9.9"], ["1.0.0-a"]),
        ("=1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        (">1", ["2.0.0"], ["1.5.0"]),
    ],
)
def test_ranges(text: str, inside: list[str], outside: list[str]) -> None:
    wanted = parse_range(text)
    for version in inside:
        parsed = parse_version(version)
        assert parsed is not None
        assert wanted.admits(parsed), version
    for version in outside:
        parsed = parse_version(version)
        assert parsed is not None
        assert not wanted.admits(parsed), version


@pytest.mark.parametrize("text", ["", "latest", ">=", "1.2.3.4", "|| 1", ">=1.0.0 latest", "1" * 300])
def test_broken_ranges(text: str) -> None:
    with pytest.raises(ValueError):
        parse_range(text)


def test_versions_are_ordered() -> None:
    texts = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "v2", "10.0.0"]
    versions = [parse_version(text) for text in texts]
    assert versions == sorted(versions)  # type: ignore[type-var]
    assert parse_version("01.0.0") is None
    assert parse_version("1.0.0\n") is None
