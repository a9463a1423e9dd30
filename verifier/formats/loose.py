"""Looking into JSON and YAML that others wrote in whatever shape: what is not of the shape that is asked for is empty, and never an error."""

from __future__ import annotations

from typing import Any


def get(value: Any, key: str) -> Any:
    """A field of what may be an object."""
    return value.get(key) if isinstance(value, dict) else None


def mapping(value: Any, key: str) -> dict[str, Any]:
    """A field that is an object, else an empty one."""
    found = get(value, key)
    return found if isinstance(found, dict) else {}


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def texts(value: Any, *keys: str) -> tuple[str, ...]:
    """Several fields, each if it is text, else empty."""
    return tuple(text(get(value, key)) for key in keys)


def text(value: Any) -> str:
    """The value if it is text, else an empty one."""
    return value if isinstance(value, str) else ""
