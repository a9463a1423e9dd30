"""Strict readers: what two readers could read differently is refused."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from verifier.formats.go_yaml import load_go_values
from verifier.formats.json import dump_go_json, dump_json, parse_json, parse_object
from verifier.formats.yaml import YamlError, dump_yaml, load_values, parse_yaml, plain
from verifier.model.errors import FailedError

BAD_JSON = {
    "duplicate keys": b'{"a": 1, "a": 2}',
    "duplicate keys deep": b'{"a": [{"b": 1, "b": 2}]}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "not UTF-8": b'"\xff"',
    "trailing data": b"{} {}",
    "a huge integer": b"1" * 40,
    "a number out of range": b"1e999",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "nested too deep": b"[" * 500 + b"]" * 500,
    "nested far too deep": b"[" * 100_000,
    "empty": b"",
    "half": b'{"a": ',
    "a comment": b"{} // x",
}


@pytest.mark.parametrize("data", BAD_JSON.values(), ids=BAD_JSON.keys())
def test_bad_json_is_refused(data: bytes) -> None:
    with pytest.raises(FailedError) as caught:
        parse_json(data, where="doc")
    assert caught.value.code.name == "json-invalid"
    assert caught.value.where == "doc"


def test_brackets_in_text_do_not_count() -> None:
    assert parse_json(json.dumps("[" * 500 + '\\"' + "{" * 500).encode(), where="x")


def test_an_object_is_an_object() -> None:
    with pytest.raises(FailedError, match="expected an object, found list"):
        parse_object(b"[]", where="x")


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(values)
def test_what_is_written_is_read(value: object) -> None:
    assert parse_json(dump_json(value), where="x") == value
    assert parse_json(dump_go_json(value), where="x") == value


@pytest.mark.parametrize(("text", "written"), [("C:\\foo\\bar", rb"C:\\foo\\bar"), ("\b\f\x01\x7f", rb"\b\f\u0001" + b"\x7f")])
def test_a_backslash_before_a_letter_is_not_an_escape(text: str, written: bytes) -> None:
    assert dump_go_json(text) == b'"' + written + b'"'


def test_go_escapes() -> None:
    assert dump_go_json({"a": "<&>\u2028"}) == b'{"a":"\\u003c\\u0026\\u003e\\u2028"}'


BAD_YAML = {
    "tabs": "a:\n\t- b",
    "two documents": "a: b\n---\nc: d\n",
    "a complex key": "? [a]\n: b\n",
    "duplicate keys": "a: 1\na: 2\n",
    "aliases": "a: &x 1\nb: *x\n",
    "tags": "a: !!python/object:os.system x\n",
    "deep": "[" * 30_000,
    "an event bomb": "[" + "a," * 210_000 + "]",
    "an unclosed quote": 'a: "b\n',
    "a null key": "~: a\n",
    "a control character": "a: \x07",
}


@pytest.mark.parametrize("text", BAD_YAML.values(), ids=BAD_YAML.keys())
def test_bad_yaml_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        parse_yaml(text.encode())


def test_scalars_follow_the_core_schema() -> None:
    text = "a: 1\nb: 1.5\nc: true\nd: null\ne: yes\nf: 2027-01-01\ng: '1'\nh: 0777\ni: 1e3\n"
    assert plain(parse_yaml(text.encode())) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": None,
        "e": "yes",
        "f": "2027-01-01",
        "g": "1",
        "h": "0777",
        "i": 1000.0,
    }


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=8),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20),
        max_size=4,
    )
)
def test_dumped_yaml_is_read_alike_by_others(value: dict[str, str]) -> None:
    assert yaml.safe_load(dump_yaml(value)) == value


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        parse_yaml(text.encode("utf-8", "surrogatepass"))
    except YamlError as error:
        assert str(error)


def layered(first: str, layer: str, layers: int) -> bytes:
    """Each line names the one before it nine times."""
    lines = [f"a0: &a0 {first}"]
    lines += [f"a{number}: &a{number} {layer % ', '.join([f'*a{number - 1}'] * 9)}" for number in range(1, layers)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("read", [lambda data: list(load_values(data)), load_go_values], ids=["values", "go"])
def test_merges_of_merges_are_counted_before_they_are_copied(read: Callable[[bytes], list[object]]) -> None:
    """A kilobyte of them would take hours and gigabytes: a chart's values are whatever its author wrote."""
    keys = "{" + ", ".join(f"k{number}: v" for number in range(9)) + "}"
    with pytest.raises(YamlError, match="merges more than is looked at"):
        read(layered(keys, "{<<: [%s]}", 12))
    assert read(layered(keys, "{<<: [%s]}", 3)) == [{f"a{number}": {f"k{key}": "v" for key in range(9)} for number in range(3)}]


def test_aliases_of_aliases_are_not_written_out_without_end() -> None:
    with pytest.raises(YamlError, match="aliases that stand for more"):
        load_go_values(layered("[1, 2]", "[%s]", 14))
    assert load_go_values(layered("[1]", "[%s]", 2)) == [{"a0": [1.0], "a1": [[1.0]] * 9}]


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {<<: *a, b: 1}"])
def test_what_names_itself_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        load_go_values(text.encode())
