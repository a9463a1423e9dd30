"""The images that a chart names: in its values, by the forms that charts use, or in what Helm renders of it.

In values (no template is run, so what templates add is not seen):

1. `image: TEXT`, also under keys that end in `Image` or `image`; with a `tag`, `imageTag` or `digest` beside it, these are appended.
2. `{registry, repository, tag, digest}` with a repository and one of the others, or under such a key. A `global.imageRegistry`
   replaces the registry, a missing tag is the chart's appVersion: what the scaffold of `helm create` and most charts do.

In rendered manifests: every text under a key `image`, and `image.reference` of image volumes. Images in arguments, environment variables or
annotations are not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verifier.formats.yaml import load_values
from verifier.model import limits
from verifier.model.artifact import Image
from verifier.model.errors import MisuseError
from verifier.model.reference import parse_image

_TAGS = ("tag", "imageTag")


class TooMuchError(Exception):
    """There is more to look at than is looked at."""


def images_in_values(values: bytes, app_version: str, *, where: str) -> tuple[Image, ...]:
    """Images in one values.yaml; raises YamlError, or TooMuchError."""
    budget = _Budget()
    found: dict[str, Image] = {}
    for document in load_values(values):
        top = document if isinstance(document, dict) else {}
        shared = top.get("global")
        registry = _text(shared.get("imageRegistry")) if isinstance(shared, dict) else ""
        for path, written in _in_values(top, "", budget, (registry, app_version)):
            found.setdefault(written, image(written, f"{where}: {path}"))
    return tuple(found.values())


def images_in_manifests(rendered: bytes) -> tuple[Image, ...]:
    """Images in rendered manifests; raises YamlError, or TooMuchError."""
    budget = _Budget()
    found: dict[str, Image] = {}
    for document in load_values(rendered):
        for path, written in _in_manifest(document, "", budget):
            named = f"{_text(document.get('kind'))} {_name(document)}: {path}" if isinstance(document, dict) else path
            found.setdefault(written, image(written, named))
    return tuple(found.values())


def image(written: str, where: str) -> Image:
    """The image with its reference, or with what is wrong about it."""
    try:
        return Image(written=written, where=where, reference=parse_image(written))
    except MisuseError as error:
        return Image(written=written, where=where, problem=error.reason)


class _Budget:
    """Aliases make small documents large; what is looked at is counted."""

    def __init__(self) -> None:
        self._left = limits.VALUES_NODES

    def spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuchError


def _in_values(value: Any, path: str, budget: _Budget, shared: tuple[str, str]) -> Iterator[tuple[str, str]]:
    budget.spend()
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _in_values(inner, f"{path}[{index}]", budget, shared)
    if not isinstance(value, dict):
        return
    written = _composed(value, _is_image_key(path.rpartition(".")[2]), *shared)
    if written:
        yield path, written
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if _is_image_key(str(key)) and (text := _text(inner)):
            budget.spend()
            yield here, _with_tag(text, value)
        elif isinstance(inner, dict | list):
            yield from _in_values(inner, here, budget, shared)


def _composed(value: Mapping[str, Any], named: bool, registry: str, app_version: str) -> str:  # 2
    repository = _text(value.get("repository"))
    own, tag, digest = (_text(value.get(key)) for key in ("registry", "tag", "digest"))
    if not repository or "://" in repository or not (named or any(key in value for key in ("registry", "tag", "digest"))):
        return ""
    host = registry or own
    name = f"{host.rstrip('/')}/{repository}" if host else repository
    tag = tag or ("" if digest else app_version)
    return f"{name}{f':{tag}' if tag else ''}{f'@{digest}' if digest else ''}"


def _with_tag(text: str, beside: Mapping[str, Any]) -> str:  # 1
    tag = next((_text(beside.get(key)) for key in _TAGS if _text(beside.get(key))), "")
    digest = _text(beside.get("digest"))
    has_tag = ":" in text.rpartition("/")[2] or "@" in text
    text = f"{text}:{tag}" if tag and not has_tag else text
    return f"{text}@{digest}" if digest and "@" not in text else text


def _in_manifest(value: Any, path: str, budget: _Budget) -> Iterator[tuple[str, str]]:
    budget.spend()
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _in_manifest(inner, f"{path}[{index}]", budget)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key == "image" and (text := _text(inner)):
            budget.spend()
            yield here, text
        elif key == "image" and isinstance(inner, dict) and (text := _text(inner.get("reference"))):
            yield f"{here}.reference", text
        else:
            yield from _in_manifest(inner, here, budget)


def _is_image_key(key: str) -> bool:
    return key == "image" or key.endswith(("Image", "_image"))


def _text(value: Any) -> str:
    """As Helm would print it; truth values and nothing are no text."""
    return "" if value is None or isinstance(value, bool | dict | list) else str(value).strip()


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return _text(metadata.get("name")) if isinstance(metadata, dict) else ""
