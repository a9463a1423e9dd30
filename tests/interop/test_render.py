"""Images of a chart as real Helms render it, and a chart that they refuse as we do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.conftest import program
from tests.interop.test_helm import HELMS, MakePeer
from tests.support.charts import archive, chart_file, chart_yaml
from verifier.model.errors import InconclusiveError
from verifier.operations.parts import list_images
from verifier.policy.document import ImageSource
from verifier.policy.parts import missing_dependency

POD = b"""apiVersion: v1
kind: Pod
metadata: {name: {{ .Release.Name }}}
spec:
  containers:
    - {name: web, image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"}
    - {name: fixed, image: quay.io/fixed/in-template@sha256:%s}
""" % (b"a" * 64)
JOB = (
    b"apiVersion: batch/v1\nkind: Job\nmetadata: {name: test, annotations: {helm.sh/hook: test}}\nspec: {template: {spec: {containers: [{image: busybox}]}}}\n"
)
CRD = b"apiVersion: example.test/v1\nkind: Operator\nmetadata: {name: op}\nspec: {image: ghcr.io/acme/operator:1}\n"
FILES = {
    "values.yaml": b"image: {repository: ghcr.io/acme/web, tag: ''}\n",
    "templates/pod.yaml": POD,
    "templates/tests/job.yaml": JOB,
    "crds/op.yaml": CRD,
}


@pytest.mark.parametrize("helm", HELMS)
def test_what_helm_renders(helm: str) -> None:
    chart = chart_file(archive(files=FILES, extra="appVersion: 1.10.0\n"))
    found = list_images(chart, ImageSource.RENDERED, str(program(helm)))
    expected = {"ghcr.io/acme/web:1.10.0", f"quay.io/fixed/in-template@sha256:{'a' * 64}", "busybox", "ghcr.io/acme/operator:1"}
    assert {item.written for item in found} == expected
    assert {item.written for item in list_images(chart, ImageSource.VALUES, "none")} == {"ghcr.io/acme/web:1.10.0"}


@pytest.mark.parametrize("helm", HELMS)
def test_a_chart_that_does_not_render(helm: str) -> None:
    chart = chart_file(archive(files={"templates/x.yaml": b'{{ required "say who you are" .Values.nobody }}'}))
    with pytest.raises(InconclusiveError) as caught:
        list_images(chart, ImageSource.RENDERED, str(program(helm)))
    assert caught.value.code.name == "images-unknown"
    assert "say who you are" in caught.value.reason


@pytest.mark.parametrize("helm", HELMS)
def test_helm_refuses_a_chart_whose_dependencies_do_not_lie_in_it(helm: str, peer: MakePeer, tmp_path: Path) -> None:
    """The condition that turns a dependency off changes nothing about that."""
    extra = 'dependencies: [{name: db, version: 1.0.0, repository: "https://charts.example.test", condition: db.enabled}]\n'
    without, whole = archive(extra=extra), archive(extra=extra, files={"charts/db/Chart.yaml": chart_yaml("db", "1.0.0")})
    for data, missing in ((without, "db"), (whole, None)):
        path = tmp_path / "web.tgz"
        path.write_bytes(data)
        assert missing_dependency(chart_file(data).facts) == missing
        done = peer(helm)("template", "x", path, "--set", "db.enabled=false", check=False)
        assert (done.returncode == 0) is (missing is None), done.stderr.decode()
        assert missing is None or b"missing in charts/ directory: db" in done.stderr
