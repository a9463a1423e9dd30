"""The charts inside a chart are seen, whether they are declared or not, packed or not."""

from __future__ import annotations

import pytest

from tests.support.charts import archive, chart_yaml
from tests.unit.policy.test_engine import by_alice, chart, judged, policy
from verifier.charts.archive import read_archive
from verifier.model.artifact import ChartFacts, Subchart
from verifier.model.digest import sha256
from verifier.model.errors import FailedError
from verifier.model.limits import ARCHIVE_DEPTH
from verifier.report.codec import encode
from verifier.report.text import explain

DEEP = archive("deep", "0.0.9")
DEP = archive("dep", "0.3.1", files={"charts/deep-0.0.9.tgz": DEEP})
DECLARED = 'dependencies: [{name: dep, version: 0.3.1, repository: "oci://ghcr.io/acme/charts"}]\n'


def facts(files: dict[str, bytes], extra: str = "") -> ChartFacts:
    return read_archive(archive(extra=extra, files=files), where="web.tgz").facts


def test_a_packed_chart_and_what_lies_in_it() -> None:
    (dep,) = facts({"charts/dep-0.3.1.tgz": DEP}, DECLARED).subcharts
    assert (dep.path, dep.name, dep.version, dep.digest, dep.repository) == ("charts/dep-0.3.1.tgz", "dep", "0.3.1", sha256(DEP), "oci://ghcr.io/acme/charts")
    assert [(item.name, item.digest, item.repository) for item in dep.subcharts] == [("deep", sha256(DEEP), None)]


def test_an_unpacked_chart_and_what_lies_in_it() -> None:
    files = {
        "charts/dep/Chart.yaml": chart_yaml("dep", "0.3.1"),
        "charts/dep/charts/deep/Chart.yaml": chart_yaml("deep", "0.0.9"),
        "charts/dep/values.yaml": b"a: 1\n",
    }
    (dep,) = facts(files, DECLARED).subcharts
    assert (dep.path, dep.name, dep.digest, dep.problem) == ("charts/dep", "dep", None, None)
    assert [item.name for item in dep.subcharts] == ["deep"]


def test_a_packed_chart_in_an_unpacked_one_is_seen_and_obeys_the_rules_of_archives() -> None:
    files = {"charts/dep/Chart.yaml": chart_yaml("dep", "0.3.1"), "charts/dep/charts/deep-0.0.9.tgz": DEEP}
    (dep,) = facts(files).subcharts
    assert [(item.path, item.digest) for item in dep.subcharts] == [("charts/deep-0.0.9.tgz", sha256(DEEP))]
    for path in ("charts/dep/charts/deep-0.0.9.tgz", "charts/deep.tgz"):
        with pytest.raises(FailedError) as caught:
            facts({**files, path: DEEP[:-20]})
        assert caught.value.code.name == "archive-invalid"
    assert facts({**files, "charts/_dep/charts/deep.tgz": b"not loaded", "templates/charts/x.tgz": b"nor this"}).subcharts == (dep,)


def test_what_helm_leaves_out_and_what_cannot_be_read() -> None:
    files = {
        "charts/_off/Chart.yaml": chart_yaml("off"),
        "charts/.git/x": b"",
        "charts/README.md": b"",
        "charts/bad/Chart.yaml": b"a: [",
        "charts/none/values.yaml": b"",
    }
    found = {item.path: item.problem for item in facts(files).subcharts}
    assert set(found) == {"charts/bad", "charts/none"}
    assert all(found.values())


def test_the_depth_is_bounded() -> None:
    path, files = "", {}
    for level in range(ARCHIVE_DEPTH + 3):
        path += f"charts/c{level}/"
        files[f"{path}Chart.yaml"] = chart_yaml(f"c{level}")
    item: Subchart = facts(files).subcharts[0]
    depth = 1
    while item.subcharts:
        item, depth = item.subcharts[0], depth + 1
    assert (depth, "nested deeper" in str(item.problem)) == (ARCHIVE_DEPTH + 1, True)


def test_a_decision_shows_the_tree_and_says_that_it_is_not_judged() -> None:
    """A chart that is vendored without being declared is one, too."""
    composed = chart(files={"charts/dep-0.3.1.tgz": DEP})
    decision = judged(policy(), composed, by_alice())
    assert "subcharts: not judged" in decision.warnings
    text = explain(decision)
    assert f"charts/dep-0.3.1.tgz: dep 0.3.1, archive {sha256(DEP).short}..., not declared; not judged" in text
    value = encode(decision)
    assert (value["subcharts"], value["artifact"]["subcharts"][0]["subcharts"][0]["name"]) == ("not judged", "deep")
    plain = encode(judged(policy(), chart(), by_alice()))
    assert (plain["subcharts"], plain["artifact"]["subcharts"]) == ("none", [])
