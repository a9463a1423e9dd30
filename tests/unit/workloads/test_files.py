"""Which charts files name: each kind of file, and what cannot be verified as it is named."""

from __future__ import annotations

import pytest

from verifier.model import limits
from verifier.model.errors import MisuseError
from verifier.workloads.files import charts_in
from verifier.workloads.use import Named, Unverifiable, from_repository, pinnable

DIGEST = "sha256:" + "a" * 64
HELMFILE = """\
repositories:
  - {name: acme, url: reg.test/charts, oci: true}
  - {name: old, url: https://charts.example.test}
releases:
  - {name: a, chart: acme/web, version: 1.4.2}
  - {name: b, chart: oci://reg.test/charts/db, version: 1.0.0}
  - {name: c, chart: old/x, version: 1.0.0}
  - {name: d, chart: ./local}
  - {name: e, chart: acme/web}
  - {name: f, chart: acme/web, version: ~1.4}
  - {name: g, chart: acme/web, version: "{{ .Values.v }}"}
  - {name: h, chart: acme/gone, version: 9.9.9, installed: false}
"""
ARGO = """\
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: one}
spec: {source: {repoURL: reg.test/charts, chart: web, targetRevision: 1.4.2}}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: several}
spec:
  sources:
    - {repoURL: oci://reg.test/charts/db, targetRevision: 1.0.0, path: .}
    - {repoURL: https://git.example.test/x.git, path: deploy, targetRevision: main}
    - {repoURL: https://charts.example.test, chart: x, targetRevision: 1.0.0}
    - {repoURL: reg.test/charts, chart: web, targetRevision: 1.*}
---
apiVersion: argoproj.io/v1alpha1
kind: ApplicationSet
metadata: {name: set}
spec: {template: {spec: {source: {repoURL: reg.test/charts, chart: web, targetRevision: "{{version}}"}}}}
"""
FLUX = f"""\
apiVersion: v1
kind: List
items:
  - apiVersion: source.toolkit.fluxcd.io/v1
    kind: HelmRepository
    metadata: {{name: acme, namespace: flux-system}}
    spec: {{type: oci, url: oci://reg.test/charts}}
  - apiVersion: source.toolkit.fluxcd.io/v1
    kind: OCIRepository
    metadata: {{name: pinned, namespace: flux-system}}
    spec: {{url: oci://reg.test/charts/db, ref: {{tag: 1.0.0, digest: "{DIGEST}"}}}}
  - apiVersion: source.toolkit.fluxcd.io/v1
    kind: OCIRepository
    metadata: {{name: range, namespace: flux-system}}
    spec: {{url: oci://reg.test/charts/db, ref: {{semver: ">=1"}}}}
  - apiVersion: source.toolkit.fluxcd.io/v1
    kind: OCIRepository
    metadata: {{name: manifests, namespace: flux-system}}
    spec: {{url: oci://reg.test/manifests, ref: {{tag: v1}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: a, namespace: apps}}
spec: {{chart: {{spec: {{chart: web, version: 1.4.2, sourceRef: {{kind: HelmRepository, name: acme, namespace: flux-system}}}}}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: b, namespace: flux-system}}
spec: {{chartRef: {{kind: OCIRepository, name: pinned}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: c, namespace: flux-system}}
spec: {{chartRef: {{kind: OCIRepository, name: range}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: d, namespace: apps}}
spec: {{chart: {{spec: {{chart: web, version: 1.4.2, sourceRef: {{kind: HelmRepository, name: acme}}}}}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: e}}
spec: {{chart: {{spec: {{chart: ./charts/x, sourceRef: {{kind: GitRepository, name: git}}}}}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: f}}
spec: {{}}
"""


def named(text: str, name: str = "f.yaml", lock: dict[str, str] | None = None) -> tuple[list[str], list[str]]:
    """References, and problems."""
    uses = charts_in({name: text.encode()}, {name: lock or {}})
    return [use.reference for use in uses if isinstance(use, Named)], [use.problem for use in uses if isinstance(use, Unverifiable)]


def test_a_chart_s_dependencies_by_its_lock() -> None:
    text = """\
apiVersion: v2
name: parent
version: 0.1.0
dependencies:
  - {name: web, version: ~1.4, repository: oci://reg.test/charts}
  - {name: db, version: 1.0.0, repository: verified+oci://reg.test/charts}
  - {name: old, version: 1.0.0, repository: https://charts.example.test}
  - {name: beside, version: 1.0.0, repository: file://../beside}
  - {name: alias, version: 1.0.0, repository: "@acme"}
"""
    references, problems = named(text, "Chart.yaml", {"web": "1.4.2"})
    assert references == ["oci://reg.test/charts/web:1.4.2", "oci://reg.test/charts/db:1.0.0", "https://charts.example.test/old:1.0.0"]
    assert [part in problem for part, problem in zip(("lies beside the chart", "only this machine"), problems, strict=True)] == [True] * 2
    assert "'~1.4', which is not one version" in named(text, "Chart.yaml")[1][0]


def test_a_helmfile() -> None:
    references, problems = named(HELMFILE)
    assert references == ["oci://reg.test/charts/web:1.4.2", "oci://reg.test/charts/db:1.0.0", "https://charts.example.test/x:1.0.0"]
    wanted = ("local directory", "names no version", "not one version", "is a template")
    assert [part in problem for part, problem in zip(wanted, problems, strict=True)] == [True] * 4
    assert "another helmfile" in named("helmfiles: [a.yaml]\n")[1][0]
    assert "not one version" in named("releases: [{name: a, chart: oci://reg.test/web, version: 1.10}]\n")[1][0], "a number is not guessed at"


def test_a_kustomization() -> None:
    text = """\
kind: Kustomization
helmCharts:
  - {name: web, repo: oci://reg.test/charts, version: 1.4.2}
  - {name: here}
helmChartInflationGenerator:
  - {chartName: old, chartRepoUrl: https://charts.example.test, chartVersion: 1.0.0}
"""
    references, problems = named(text)
    assert references == ["oci://reg.test/charts/web:1.4.2", "https://charts.example.test/old:1.0.0"]
    assert ["lies beside" in problem for problem in problems] == [True]


def test_argo_cd() -> None:
    references, problems = named(ARGO)
    assert references == ["oci://reg.test/charts/web:1.4.2", "oci://reg.test/charts/db:1.0.0", "https://charts.example.test/x:1.0.0"]
    assert [part in problem for part, problem in zip(("not one version", "is a template"), problems, strict=True)] == [True] * 2


@pytest.mark.parametrize(
    ("repository", "name", "version", "why"),
    [
        ("https://charts.example.test", "web", "", "names no version"),
        ("https://charts.example.test", "web", "^1.4", "not one version"),
        ("https://charts.example.test", "web", "latest", "not one version"),
        ("https://{{ .Values.host }}", "web", "1.4.2", "is a template"),
        ("https://charts.example.test", "web", "${VERSION}", "is a template"),
        ("https://charts.example.test/web-1.4.2.tgz", "", "1.4.2", "no registry and no chart repository"),
        ("s3://charts", "web", "1.4.2", "no registry and no chart repository"),
        ("git+https://git.example.test/x", "web", "1.4.2", "no registry and no chart repository"),
    ],
)
def test_a_chart_of_a_chart_repository_in_one_version(repository: str, name: str, version: str, why: str) -> None:
    found = from_repository("here", repository, name, version)
    assert isinstance(found, Unverifiable)
    assert why in found.problem
    good = from_repository("here", "https://charts.example.test/stable/", "web", "1.4.2")
    assert isinstance(good, Named)
    assert good.reference == "https://charts.example.test/stable/web:1.4.2"
    pinned = pinnable(good, "spec", "digest")
    assert isinstance(pinned, Named)
    assert (pinned.pin, "takes no digest" in pinned.unpinnable) == (None, True)


def test_flux_joined_over_documents() -> None:
    references, problems = named(FLUX)
    assert references == ["oci://reg.test/charts/web:1.4.2", f"oci://reg.test/charts/db@{DIGEST}"]
    wanted = ("(semver)", "in none of the files", "lies in a GitRepository", "neither chart nor chartRef")
    assert [part in problem for part, problem in zip(wanted, problems, strict=True)] == [True] * 4


def test_flux_joined_over_files() -> None:
    source, release = FLUX.split("---\n")[:2]
    uses = charts_in({"sources.yaml": source.encode(), "release.yaml": release.encode()}, {})
    assert [use.reference for use in uses if isinstance(use, Named)] == ["oci://reg.test/charts/web:1.4.2"]
    (alone,) = charts_in({"release.yaml": release.encode()}, {})
    assert isinstance(alone, Unverifiable)
    assert (alone.code.name, "in none of the files" in alone.problem) == ("origin-missing", True)


def test_an_oci_repository_of_charts_alone() -> None:
    text = FLUX.split("---\n")[0].replace("ref: {tag: v1}", "ref: {tag: v1}, layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip}")
    assert named(text)[0] == ["oci://reg.test/manifests:v1"]


def test_a_list() -> None:
    text = (
        f"# what we deploy\noci://reg.test/charts/web:1.4.2  # the shop\n\noci://reg.test/charts/db@{DIGEST}\noci://reg.test/charts/x\ncharts/own-1.0.0.tgz\n"
    )
    references, problems = named(text, "charts.txt")
    assert references == ["oci://reg.test/charts/web:1.4.2", f"oci://reg.test/charts/db@{DIGEST}", "charts/own-1.0.0.tgz"]
    assert "names no version" in problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "a: 1\n",
        "[]\n",
        "apiVersion: v2\nname: alone\nversion: 1.0.0\n",
        "kind: Deployment\napiVersion: apps/v1\nmetadata: {name: x}\n",
        "releases: []\n",
        "kind: Kustomization\nresources: [a.yaml]\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: x}\nspec: {source: {repoURL: https://git.example.test/x.git, path: x}}\n",
    ],
)
def test_a_file_that_names_no_chart_is_misuse(text: str) -> None:
    with pytest.raises(MisuseError, match=r"f\.yaml: it names no chart") as refused:
        named(text)
    assert refused.value.code.name == "no-chart"


@pytest.mark.parametrize("text", ["releases:\n{{ range .Values.x }}\n  - a\n{{ end }}\n", "a: [\n", "\xff\xfe: 1", "a: &a [*a]\nb: *c\n", "[" * 5000])
def test_a_file_that_is_neither_yaml_nor_a_list(text: str) -> None:
    with pytest.raises(MisuseError) as refused:
        named(text)
    assert refused.value.code.name in ("file-unreadable", "no-chart")


def test_it_is_bounded() -> None:
    many = "".join(f"oci://reg.test/charts/c{number}:1.0.0\n" for number in range(limits.NAMED_CHARTS + 1))
    with pytest.raises(MisuseError, match="at most 1000 are verified") as refused:
        named(many)
    assert refused.value.code.name == "usage"


def test_aliases_do_not_make_few_bytes_many_objects() -> None:
    text = "a: &a {kind: List, items: [" + ", ".join(["{kind: X}"] * 1000) + "]}\nkind: List\nitems: [" + ", ".join(["*a"] * 1000) + "]\n"
    with pytest.raises(MisuseError, match="more than 20000 objects"):
        named(text)


@pytest.mark.parametrize("value", ["1", "null", "x", "[1]", "{}", "{a: {b: [null]}}"])
@pytest.mark.parametrize("field", ["dependencies", "releases", "helmCharts", "spec", "items", "repositories"])
def test_odd_shapes_never_end_in_a_traceback(field: str, value: str) -> None:
    for head in (
        "apiVersion: v2\nname: a\nversion: 1.0.0\n",
        "kind: List\n",
        "apiVersion: argoproj.io/v1\nkind: Application\n",
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n",
    ):
        try:
            named(f"{head}{field}: {value}\n")
        except MisuseError as refused:
            assert refused.code.name in ("no-chart", "file-unreadable")
