"""One version in a chart repository's index: cut out of a large one, or read out of a small one of any layout."""

from __future__ import annotations

import contextlib
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.chart_repository import entry, index_of
from tests.support.charts import archive
from verifier.charts.repository_index import find_version
from verifier.model import codes, limits
from verifier.model.errors import InconclusiveError

WHERE = "https://charts.acme.test/index.yaml"
WEB, OLD, API = archive("web", "1.4.2"), archive("web", "v1.3.0"), archive("api", "2.0.0+build.7")
ENTRIES = [
    entry(WEB, "web-1.4.2.tgz"),
    entry(OLD, "web-v1.3.0.tgz"),
    entry(API, "https://elsewhere.test/api-2.0.0.tgz"),
    entry(archive("web-ui", "1.4.2"), "ui.tgz"),
]
INDEX = index_of(ENTRIES)


def refused(index: bytes, name: str = "web", version: str = "1.4.2") -> InconclusiveError:
    with pytest.raises(InconclusiveError) as caught:
        find_version(index, name, version, where=WHERE)
    assert caught.value.where == WHERE
    return caught.value


def nested(name: str) -> bytes:
    """JSON, as some servers write an index, and as `yaml` reads it."""
    return json.dumps({"apiVersion": "v1", "entries": {name: [item for item in ENTRIES if item["name"] == name]}}).encode()


def test_a_version_is_found_with_its_place_and_what_is_said_of_its_digest() -> None:
    found = find_version(INDEX, "web", "1.4.2", where=WHERE)
    assert (found.version, found.url) == ("1.4.2", "web-1.4.2.tgz")
    assert found.digest is not None
    assert found.digest.matches(WEB)
    assert find_version(INDEX, "api", "2.0.0+build.7", where=WHERE).url == "https://elsewhere.test/api-2.0.0.tgz"
    assert find_version(INDEX, "web-ui", "1.4.2", where=WHERE).url == "ui.tgz"


def test_a_v_before_the_version_makes_no_difference_but_what_is_written_alike_comes_first() -> None:
    assert find_version(INDEX, "web", "1.3.0", where=WHERE).version == "v1.3.0"
    assert find_version(INDEX, "web", "v1.4.2", where=WHERE).version == "1.4.2"
    both = index_of([entry(archive("web", "v1.0.0"), "with.tgz"), entry(archive("web", "1.0.0"), "without.tgz")])
    assert find_version(both, "web", "1.0.0", where=WHERE).url == "without.tgz"
    assert find_version(both, "web", "v1.0.0", where=WHERE).url == "with.tgz"


@pytest.mark.parametrize("version", ["1.4", "1.4.3", "1.4.2+other", "2.0.0"])
def test_a_version_that_is_not_listed_is_not_found(version: str) -> None:
    error = refused(INDEX, "web", version)
    assert (error.code, version in error.reason, "2 versions" in error.reason) == (codes.NOT_FOUND, True, True)


@pytest.mark.parametrize("name", ["nothing", "we", "web-", "eb", "entries", "version", "w.b"])
def test_a_chart_that_is_not_listed_is_not_found(name: str) -> None:
    error = refused(INDEX, name)
    assert (error.code, "no chart" in error.reason) == (codes.NOT_FOUND, True)


@pytest.mark.parametrize(
    "index",
    [
        nested("web"),
        b"\xef\xbb\xbf" + INDEX,
        INDEX.replace(b"\n", b"\r\n"),
        b"# made by hand\n" + INDEX + b"# the end\n",
        INDEX.replace(b"  web:", b'  "web":'),
        INDEX.replace(b"  web:", b"  'web':"),
        INDEX.replace(b"entries:\n", b"entries:   # all of them\n\n# web:\n"),
        b"entries: {web: [{version: 1.4.2, urls: [web-1.4.2.tgz]}]}\n",
        b"entries:\n  web: [{version: 1.4.2, urls: [web-1.4.2.tgz]}]\n",
        b"entries:\n    api:\n        - version: 2.0.0\n    web:\n        - urls:\n            - web-1.4.2.tgz\n          version: 1.4.2\n",
        b"---\nentries:\n  web:\n  -\n    version: 1.4.2\n    urls:\n    - web-1.4.2.tgz\ngenerated: now\n",
        b"entries:\n  evil:\n  - description: |\n      web:\n      - version: 1.4.2\n        urls: [evil.tgz]\n  web:\n  - version: 1.4.2\n    urls: [web-1.4.2.tgz]\n",
    ],
)
def test_layouts_that_people_and_servers_write(index: bytes) -> None:
    assert find_version(index, "web", "1.4.2", where=WHERE).url == "web-1.4.2.tgz"


@pytest.mark.parametrize(
    "index", [b"entries: {}\n", b"entries:\n", b"apiVersion: v1\nentries:\ngenerated: now\n", b'{"entries": {}}', b"entries: {other: []}\n"]
)
def test_an_empty_index_lists_nothing(index: bytes) -> None:
    assert refused(index).code is codes.NOT_FOUND


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b"", "no index"),
        (b"<!doctype html><title>Log in</title>", "a web page"),
        (b"\n  <html>", "a web page"),
        (b"404: Not Found", "no index"),
        (b"[]", "no entries"),
        (b"{", "no index"),
        (b'{"entries": {}, "entries": {}}', "no index"),
        (b"entries: &a {web: *a}\n", "no index"),
        (b"entries:\n  web:\n  - &a {version: 1.4.2}\n", "anchors"),
        (b"entries:\n  web:\n  - version: 1.4.2\n    urls: []\n", "says nowhere"),
        (b"entries:\n  web:\n  - version: 1.4.2\n", "says nowhere"),
        (b"entries:\n  web:\n  - version: 1.4.2\n    urls: [{a: b}]\n", "says nowhere"),
        (b"entries:\n  web:\n  - version: 1.4.2\n    urls: [\xff\xfe]\n", "UTF-8"),
        (b"entries: {web: " + b"[" * 200 + b"]" * 200 + b"}", "deeper"),
    ],
)
def test_what_is_no_index_is_told(index: bytes, words: str) -> None:
    error = refused(index)
    assert error.code is codes.REGISTRY_NONSENSE
    assert words in error.reason


@pytest.mark.parametrize(
    "index", [b"entries:\n  web: nothing\n", b"entries:\n  web:\n  - 1.4.2\n", b"entries:\n  web:\n  - version: {a: b}\n", b"entries: 7\n"]
)
def test_what_lists_no_versions_lists_none(index: bytes) -> None:
    assert refused(index).code is codes.NOT_FOUND


def test_a_large_index_is_no_trouble_and_a_large_chart_in_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    others = b"".join(b"  chart-%d:\n  - version: 1.0.0\n    urls:\n    - c.tgz\n" % number for number in range(20_000))
    index = b"apiVersion: v1\nentries:\n" + others + INDEX[INDEX.index(b"  web:") :]
    assert find_version(index, "web", "1.4.2", where=WHERE).url == "web-1.4.2.tgz"
    monkeypatch.setattr(limits, "INDEX_ENTRY_BYTES", 300)
    assert refused(index).code is codes.RESPONSE_LIMIT
    assert refused(b"entries: {web: [{version: 1.4.2, urls: [a]}]}" + b" " * 300).code is codes.RESPONSE_LIMIT, "what cannot be cut is read as a whole"


@pytest.mark.parametrize("said", ["", "sha256", "0" * 63, "A" * 64, "md5:" + "0" * 32, 7])
def test_a_digest_that_is_none_says_nothing(said: object) -> None:
    index = json.dumps({"entries": {"web": [{"version": "1.4.2", "urls": ["w.tgz"], "digest": said}]}}).encode()
    assert find_version(index, "web", "1.4.2", where=WHERE).digest is None


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(blacklist_categories=("Cs", "Cc"), whitelist_characters="\n"), max_size=40)
VERSIONS = st.builds("{}.{}.{}".format, *[st.integers(0, 3)] * 3)
LISTED = st.lists(st.fixed_dictionaries({"version": VERSIONS, "urls": st.lists(TEXT, max_size=2), "description": TEXT, "digest": TEXT}), max_size=4)


@given(st.dictionaries(NAMES, LISTED, max_size=5), NAMES, VERSIONS, st.booleans())
def test_what_is_cut_out_is_what_is_there(charts: dict[str, list[dict[str, object]]], name: str, version: str, flow: bool) -> None:
    """The same as a reader of the whole document finds, whatever stands in descriptions beside it."""
    index = yaml.safe_dump({"apiVersion": "v1", "entries": charts}, default_flow_style=None if flow else False, allow_unicode=True).encode()
    for asked in (name, *charts):
        expected = next((item for item in charts.get(asked, []) if item["version"] == version), None)
        try:
            found = find_version(index, asked, version, where=WHERE).url
        except InconclusiveError as error:
            assert expected is None or not expected["urls"] or not expected["urls"][0], error  # type: ignore[index]
        else:
            assert expected is not None
            assert found == expected["urls"][0]  # type: ignore[index]


@given(st.binary(max_size=200) | st.builds(lambda before, after: before + b"entries:\n" + after, st.binary(max_size=20), st.binary(max_size=150)))
def test_no_bytes_are_more_than_refused(index: bytes) -> None:
    with contextlib.suppress(InconclusiveError):
        find_version(index, "web", "1.4.2", where=WHERE)
