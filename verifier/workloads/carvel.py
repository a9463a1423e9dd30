"""Carvel's kapp-controller: App, and Package, which holds the template of one.

Source: carvel.dev/kapp-controller docs "App CR spec" and "Package". A `helmTemplate` makes a chart of whatever was fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.loose import get, items, mapping, text
from verifier.workloads.object import Found, Object, Reader
from verifier.workloads.use import ChartUse, from_repository, only, unpinnable, unverifiable

_CHART = frozenset(("name", "version", "repository"))


def _app(item: Object, _: Found) -> Iterator[ChartUse]:
    yield from _of_spec(item, "spec", item.spec)


def _package(item: Object, _: Found) -> Iterator[ChartUse]:
    yield from _of_spec(item, "spec.template.spec", mapping(mapping(item.spec, "template"), "spec"))


def _of_spec(item: Object, path: str, spec: Mapping[str, Any]) -> Iterator[ChartUse]:
    rendered = any(get(step, "helmTemplate") is not None for step in items(get(spec, "template")))
    for index, fetch in enumerate(items(get(spec, "fetch"))):
        place = item.at(f"{path}.fetch[{index}]")
        chart = mapping(fetch, "helmChart")
        if chart:
            yield from only(f"{place}.helmChart", chart, _CHART)
            url = text(get(mapping(chart, "repository"), "url"))
            use = from_repository(f"{place}.helmChart", url, text(get(chart, "name")), text(get(chart, "version")))
            yield unpinnable(use, "helmChart has no field for a digest")
        elif rendered:
            yield unverifiable(
                place, f"{', '.join(sorted(str(key) for key in fetch)) if isinstance(fetch, dict) else 'it'} fetches the chart that helmTemplate renders"
            )


_PIN = "no: `helmChart` has no field for a digest"
READERS = (
    Reader(
        group="kappctrl.k14s.io",
        kind="App",
        versions=("v1alpha1",),
        uses=_app,
        checked="each `spec.fetch[].helmChart`; another fetch is refused where a `helmTemplate` renders it",
        pin=_PIN,
    ),
    Reader(
        group="data.packaging.carvel.dev",
        kind="Package",
        versions=("v1alpha1",),
        uses=_package,
        checked="as App, in `spec.template.spec`",
        pin=_PIN,
    ),
)
