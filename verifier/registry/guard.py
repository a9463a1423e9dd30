"""What is let through: who asks, what they may, and which tags stay what they are."""

from __future__ import annotations

import asyncio

from msgspec import Struct

from verifier.policy.identity import glob_or_exact
from verifier.registry.access import ANONYMOUS, Gatekeeper
from verifier.registry.http import IncomingRequest, RegistryError

_BASIC = {"WWW-Authenticate": 'Basic realm="verifier", charset="UTF-8"'}
_EVIDENCE = ("sha256-", "sha512-")


class RegistrySettings(Struct, frozen=True, kw_only=True):
    """`read_only` refuses everything that writes; tags in repositories that `immutable` names are never moved or deleted, but for those of evidence.

    Without a `gatekeeper` everybody may do everything.
    """

    read_only: bool = False
    immutable: tuple[str, ...] = ()
    gatekeeper: Gatekeeper | None = None

    async def identify(self, request: IncomingRequest) -> str:
        """The user who asks; raises RegistryError 401 for one who is wrong."""
        if self.gatekeeper is None:
            return ANONYMOUS
        user = await asyncio.to_thread(self.gatekeeper.identify, request.header("authorization"))
        if user is None:
            raise RegistryError(401, "UNAUTHORIZED", "the user or the password is wrong", _BASIC)
        return user

    def welcome(self, user: str) -> None:
        """At the root, clients that want to log in expect to be asked who they are."""
        if user == ANONYMOUS and self.gatekeeper is not None:
            raise RegistryError(401, "UNAUTHORIZED", "log in first", _BASIC)

    def check(self, user: str, repository: str, method: str, kind: str) -> None:
        """Raises RegistryError 401 or 403 where the user may not do this, and 405 where nobody may."""
        writes = method != "GET"
        right = "delete" if method == "DELETE" and kind != "blobs/uploads" else "push" if writes or kind == "blobs/uploads" else "pull"
        self.check_right(user, repository, right)
        if self.read_only and writes:
            raise RegistryError(405, "UNSUPPORTED", "this registry is read-only")

    def check_right(self, user: str, repository: str, right: str) -> None:
        """Raises RegistryError 401 for nobody in particular, 403 for a user."""
        if self.gatekeeper is None or self.gatekeeper.access.may(user, repository, right):
            return
        if user == ANONYMOUS:
            raise RegistryError(401, "UNAUTHORIZED", "log in first", _BASIC)
        raise RegistryError(403, "DENIED", f"{user} may not {right} here")

    def visible(self, user: str, repositories: list[str]) -> list[str]:
        """Those that the user may pull from."""
        if self.gatekeeper is None:
            return repositories
        access = self.gatekeeper.access
        return [name for name in repositories if access.may(user, name, "pull")]

    def may_move(self, repository: str, tag: str) -> bool:
        """Whether a tag that is there may come to name something else, or nothing."""
        return tag.startswith(_EVIDENCE) or not any(glob_or_exact(pattern).matches(repository) for pattern in self.immutable)
