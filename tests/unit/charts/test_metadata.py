"""Chart.yaml as Helm reads it, and what is refused because two readers could differ (semantics 7)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.charts import chart_yaml
from verifier.charts.metadata import chart_facts, read_chart_yaml, read_metadata_json, read_metadata_yaml, sanitise
from verifier.model.errors import FailedError

HEAD = "apiVersion: v2\nname: web\nversion: 1.4.2\n"

BAD = {
    "an anchor": "apiVersion: &a v2\nname: web\nversion: 1.4.2\n",
    "an alias": "apiVersion: v2\nname: web\nversion: *v\n",
    "a tag": "apiVersion: v2\nname: !!str web\nversion: 1.4.2\n",
    "a merge": HEAD + "annotations: {<<: {a: b}}\n",
    "two documents": HEAD + "---\nname: evil\n",
    "duplicate keys": HEAD + "name: evil\n",
    "keys that differ by case": HEAD + "Name: evil\n",
    "a key in another case": "apiVersion: v2\nname: web\nVersion: 1.4.2\n",
    "a version that is a number": "apiVersion: v2\nname: web\nversion: 1.10\n",
    "a name that is a number": "apiVersion: v2\nname: 123\nversion: 1.4.2\n",
    "a name that is a truth value": "apiVersion: v2\nname: yes\nversion: 1.4.2\n",
    "no name": "apiVersion: v2\nversion: 1.4.2\n",
    "no version": "apiVersion: v2\nname: web\n",
    "no apiVersion": "name: web\nversion: 1.4.2\n",
    "a version that is none": "apiVersion: v2\nname: web\nversion: latest\n",
    "a name with a slash": "apiVersion: v2\nname: a/b\nversion: 1.4.2\n",
    "a name that is a dot": "apiVersion: v2\nname: '.'\nversion: 1.4.2\n",
    "a name that is two dots": "apiVersion: v2\nname: '..'\nversion: 1.4.2\n",
    "an unknown type": HEAD + "type: operator\n",
    "a list instead of text": "apiVersion: v2\nname: [web]\nversion: 1.4.2\n",
    "text instead of a list": HEAD + "keywords: web\n",
    "a list of documents": "- a\n",
    "an octal number": HEAD + "appVersion: 0o17\n",
    "a dependency's alias that is a path": HEAD + "dependencies: [{name: a, version: '1', repository: '', alias: '../x'}]\n",
    "deprecated in words": HEAD + "deprecated: maybe\n",
    "not UTF-8": b"name: \xff\n",
    "brackets without end": "name: " + "[" * 50_000,
    "empty": "",
    "a key that is no text": HEAD + "1: x\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_bad_metadata_is_refused(text: str | bytes) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(FailedError) as caught:
        chart_facts(read_metadata_yaml(data, where="Chart.yaml"), where="Chart.yaml")
    assert caught.value.code.name == "metadata-invalid"


def test_a_mistake_has_its_line() -> None:
    with pytest.raises(FailedError, match="line 4"):
        read_metadata_yaml((HEAD + "keywords: web\n").encode(), where="Chart.yaml")


def test_helms_normalisation() -> None:
    text = (
        HEAD
        + "appVersion: 1.10\nunknown: dropped\nannotations: {b: 1, a: true}\ndeprecated: yes\nkeywords: [x, null]\nmaintainers: [{name: Ann, email: a@b}]\n"
    )
    metadata = read_metadata_yaml(text.encode(), where="x")
    assert metadata["appVersion"] == "1.1"
    assert metadata["annotations"] == {"a": "true", "b": "1"}
    assert metadata["deprecated"] is True
    assert metadata["keywords"] == ["x", ""]
    assert "unknown" not in metadata
    assert list(metadata) == ["name", "version", "keywords", "maintainers", "apiVersion", "appVersion", "deprecated", "annotations"]


def test_config_and_chart_yaml_meet() -> None:
    metadata = read_metadata_yaml((HEAD + "sources: [a]\ndependencies: [{name: db, version: 1.0.0, repository: '', tags: [t]}]\n").encode(), where="x")
    assert read_metadata_json(json.dumps(metadata).encode(), where="y") == metadata


@pytest.mark.parametrize("text", ['{"name": "a", "name": "b"}', '{"name": "a", "Name": "b"}', "[]", "{", '{"name": 1e999}', "\ufeff{}"])
def test_a_bad_config_is_refused(text: str) -> None:
    with pytest.raises(FailedError) as caught:
        read_metadata_json(text.encode(), where="config")
    assert caught.value.code.name in ("json-invalid", "metadata-invalid")


def test_sanitising() -> None:
    assert sanitise("a\tb\u200b\x07c\u00a0d") == "a b" + "c d"


def test_requirements_of_a_v1_chart() -> None:
    v1 = chart_yaml().replace(b"v2", b"v1")
    good = {"Chart.yaml": v1, "requirements.yaml": b"dependencies: [{name: db, version: 1.0.0, repository: 'https://x.test'}]\n"}
    assert read_chart_yaml(good, where="x").metadata["dependencies"][0]["name"] == "db"
    for evil in (b"name: evil\n", b"- a\n"):
        with pytest.raises(FailedError) as caught:
            read_chart_yaml({"Chart.yaml": v1, "requirements.yaml": evil}, where="x")
        assert caught.value.code.name == "metadata-invalid"


def test_a_byte_order_mark_is_skipped_as_helm_does() -> None:
    assert read_metadata_yaml(b"\xef\xbb\xbf" + HEAD.encode(), where="x")["name"] == "web"


@given(st.text(max_size=80))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        read_metadata_yaml(text.encode("utf-8", "surrogatepass"), where="x")
    except FailedError as error:
        assert error.code.name == "metadata-invalid"
