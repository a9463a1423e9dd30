"""The repositories of a registry, where it lists them. Source: distribution docs/content/spec/api.md "Listing Repositories".

Not part of the OCI specification: many hosted registries refuse it, or show only what the caller owns. What it says is a hint.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from verifier.model import codes, limits
from verifier.model.errors import InconclusiveError
from verifier.oci.repository import Repository

_PAGE = 500


def repositories_below(path: Repository) -> Iterator[str]:
    """The names right below a path, as far as the registry tells; raises InconclusiveError when it does not, or not all.

    The list begins after `PATH/`, since registries sort it, and ends when a page has passed all that could begin like that.
    """
    prefix = f"{path.name}/" if path.name else ""
    start = f"&last={quote(prefix, safe='')}" if prefix else ""
    for page in path.pages(f"{path.session.base(path.registry)}_catalog?n={_PAGE}{start}", limits.CATALOG_PAGES, "list of repositories"):
        names = page.get("repositories") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InconclusiveError(codes.REGISTRY_NONSENSE, "repositories is not a list of names", where=path.where)
        yield from (name for name in names if name.startswith(prefix) and "/" not in name[len(prefix) :])
        if prefix and names and names[-1] > f"{prefix}\uffff":
            return
