"""Who may do what in the embedded registry.

    apiVersion: verifier/v1
    kind: RegistryAccess
    htpasswd: htpasswd                      # users with bcrypt passwords (`htpasswd -B`); relative to this file
    tokens:
      - {name: ci, sha256: HEX}             # of a random token, shown as the password of this name, or as a bearer token
    rules:
      - {who: [ci], repositories: ["charts/**"], rights: [pull, push]}
      - {who: ["*"], repositories: ["**"], rights: [pull]}          # whoever is known; `anonymous` is everybody

1. A user is known by a password or a token; one that is shown and wrong is refused, and never taken for anonymous.
2. Rights are joined over all rules that fit the user and the repository; `*` does not cross `/`, `**` does. What no rule gives is refused.
3. A repository that may not be pulled from is not listed, and whether it exists is not told: the answer is the same.
4. The file, and the password file, are read again when they change; one that is broken is told and changes nothing.

Passwords cost bcrypt on purpose; what was right is remembered for some minutes, as a hash under a key that only this process has.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import bcrypt
from msgspec import Struct

from verifier.formats.yaml import Node, YamlError, parse_yaml
from verifier.model import codes, limits
from verifier.model.errors import MisuseError
from verifier.policy.fields import Fields, fail, sequence, text, texts
from verifier.policy.identity import glob_or_exact

RIGHTS = ("pull", "push", "delete")
ANONYMOUS = "anonymous"
_EVERYBODY_KNOWN = "*"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HASH = re.compile(rb"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_REMEMBERED_SECONDS = 300.0
_REMEMBERED = 1024
_AT_ONCE = 4  # bcrypt takes a processor for a tenth of a second: guessing must not take them all
_LOOK_SECONDS = 1.0


class Rule(Struct, frozen=True, kw_only=True):
    """Who may do what where."""

    who: tuple[str, ...]
    repositories: tuple[str, ...]
    rights: tuple[str, ...]

    def gives(self, user: str, repository: str) -> tuple[str, ...]:
        """The rights of a user in a repository by this rule."""
        meant = user in self.who or ANONYMOUS in self.who or (user != ANONYMOUS and _EVERYBODY_KNOWN in self.who)
        return self.rights if meant and any(glob_or_exact(pattern).matches(repository) for pattern in self.repositories) else ()


class Access(Struct, frozen=True, kw_only=True):
    """One state of the file. `passwords` are bcrypt hashes, `tokens` SHA-256 in hex, by name."""

    passwords: dict[str, bytes]
    tokens: dict[str, str]
    rules: tuple[Rule, ...]

    def may(self, user: str, repository: str, right: str) -> bool:
        """2."""
        return any(right in rule.gives(user, repository) for rule in self.rules)


class Gatekeeper:
    """Knows users by the file at `path`, and follows it; safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._guessing = threading.BoundedSemaphore(_AT_ONCE)
        self._right: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._key = secrets.token_bytes(32)
        self._looked = time.monotonic()
        self._access, self._stamp = _load(path)

    @property
    def access(self) -> Access:
        """4."""
        with self._lock:
            if time.monotonic() - self._looked >= _LOOK_SECONDS:
                self._looked = time.monotonic()
                self._follow()
            return self._access

    def _follow(self) -> None:
        found = _stamp(self._stamp.files)
        if found == self._stamp:
            return
        try:
            self._access, self._stamp = _load(self._path)
            self._right.clear()
        except MisuseError as error:
            sys.stderr.write(f"verifier: the changed access file is not used, the old one stays: {error}\n")
            self._stamp = found

    def identify(self, header: str) -> str | None:
        """1: the user of an Authorization header, `anonymous` without one, None for one that is wrong."""
        if not header:
            return ANONYMOUS
        access = self.access
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer":
            return _token_user(access, value.strip())
        try:
            user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if scheme.lower() != "basic" or not colon:
            return None
        if user in access.tokens:
            return user if _token_user(access, password) == user else None
        return self._by_password(access, user, password)

    def _by_password(self, access: Access, user: str, password: str) -> str | None:
        stored = access.passwords.get(user)
        if stored is None:
            return None
        mark = hmac.digest(self._key, b"\0".join((user.encode(), stored, password.encode())), "sha256")
        with self._lock:
            known = self._right.get(mark)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        with self._guessing:
            right = bcrypt.checkpw(password.encode()[:72], stored)  # bcrypt reads no more
        if not right:
            return None
        with self._lock:
            self._right[mark] = (user, time.monotonic() + _REMEMBERED_SECONDS)
            while len(self._right) > _REMEMBERED:
                self._right.popitem(last=False)
        return user


def _token_user(access: Access, token: str) -> str | None:
    found = hashlib.sha256(token.encode()).hexdigest()
    return next((name for name, digest in access.tokens.items() if hmac.compare_digest(found, digest)), None)


# Reading the file


class _Stamp(Struct, frozen=True):
    files: tuple[Path, ...]
    states: tuple[tuple[int, int] | None, ...]


def _stamp(files: tuple[Path, ...]) -> _Stamp:
    return _Stamp(files, tuple((found.st_mtime_ns, found.st_size) if file.is_file() and (found := file.stat()) else None for file in files))


def _load(path: Path) -> tuple[Access, _Stamp]:
    """Raises MisuseError `config-invalid` with the place of the mistake."""
    try:
        fields = Fields(parse_yaml(_read(path)), "the access file", ("apiVersion", "kind", "htpasswd", "tokens", "rules"))
        if (text(fields.need("apiVersion")), text(fields.need("kind"))) != ("verifier/v1", "RegistryAccess"):
            fail(fields.node, "expected apiVersion verifier/v1 and kind RegistryAccess")
        written = fields.get("htpasswd", text, None)
        passwords = path.parent / written if written is not None else None
        stamp = _stamp((path, passwords) if passwords is not None else (path,))
        tokens = dict(fields.get("tokens", lambda node: tuple(_token(item) for item in sequence(node)), ()))
        rules = tuple(_rule(item) for item in sequence(fields.need("rules")))
    except YamlError as error:
        raise MisuseError(codes.CONFIG_INVALID, str(error), where=str(path)) from error
    known = dict(_passwords(passwords)) if passwords is not None else {}
    if ANONYMOUS in known or ANONYMOUS in tokens or known.keys() & tokens.keys():
        raise MisuseError(codes.CONFIG_INVALID, f"a name stands twice, or is {ANONYMOUS!r}", where=str(path))
    return Access(passwords=known, tokens=tokens, rules=rules), stamp


def _token(node: Node) -> tuple[str, str]:
    fields = Fields(node, "a token", ("name", "sha256"))
    digest = text(fields.need("sha256"))
    if not _SHA256.fullmatch(digest):
        fail(fields.need("sha256"), "must be the SHA-256 of the token, 64 lower-case hex digits")
    return text(fields.need("name")), digest


def _rule(node: Node) -> Rule:
    fields = Fields(node, "a rule", ("who", "repositories", "rights"))
    rights = texts(fields.need("rights"))
    for right in rights:
        if right not in RIGHTS:
            fail(fields.need("rights"), f"{right[:40]!r} is no right; known are {', '.join(RIGHTS)}")
    return Rule(who=tuple(texts(fields.need("who"))), repositories=tuple(texts(fields.need("repositories"))), rights=tuple(rights))


def _passwords(path: Path) -> Iterator[tuple[str, bytes]]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        name, colon, stored = line.strip().partition(b":")
        if not colon or not _HASH.fullmatch(stored):
            raise MisuseError(codes.CONFIG_INVALID, f"line {number}: expected USER:BCRYPT, as `htpasswd -B` writes it", where=str(path))
        yield name.decode(), stored


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise MisuseError(codes.CONFIG_INVALID, error.strerror or str(error), where=str(path)) from error
    if len(data) > limits.MIB:
        raise MisuseError(codes.CONFIG_INVALID, "larger than 1 MiB", where=str(path))
    return data
