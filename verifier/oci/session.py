"""A session with registries: one request at a time, with authorization, redirects and translated errors.

1. Send; on 401 answer the challenge and send again, with each credential that there is until one will do. What was answered is remembered per
   origin, repository and identity; a token that has ended is replaced before it is shown. Where all are refused, what helpers and clouds gave a while
   ago is got anew, once.
2. Follow redirects of GET and HEAD by hand: at most five, never from https to http, and the Authorization header is
   dropped when the origin (scheme, host, port) changes.
3. Statuses that the caller did not expect become errors with the registry's own words.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.formats.json import parse_json
from verifier.model import codes, limits
from verifier.model.errors import FailedError, InconclusiveError
from verifier.model.reference import DOCKER_HUB
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress, Route
from verifier.net.transport import Observer, Request, Response, TlsSettings, Transport, origin_of
from verifier.oci.credentials import Credential, Keychain

if TYPE_CHECKING:
    from verifier.oci.authorization import Answer, Authorizer
    from verifier.oci.challenge import Challenge
    from verifier.oci.journal import Journal

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LEARNT_SECONDS = 600.0
_REMEMBERED = 4096
_REDIRECTS = (301, 302, 303, 307, 308)
_ENDED = re.compile(r"expired", re.IGNORECASE)  # ECR answers 403 to a password that has ended
_INVALID = re.compile(r'error="?invalid_token', re.IGNORECASE)  # RFC 6750 section 3.1
_WARNING = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')
_MOST_WARNINGS, _WARNING_LENGTH = 20, 500
_Key = tuple[str, str, str]  # origin, repository, identity


class SessionSettings(Struct, frozen=True, kw_only=True):
    """`plain_http`: hosts that are spoken to without TLS beside loopback ones; `loopback_tls`: loopback speaks TLS too.

    `observe` hears of token calls; `journal` keeps what is attached where there is only the fallback tag; `warned` hears what registries warn of, each
    text once.
    """

    egress: Egress
    tls: TlsSettings = field(default_factory=TlsSettings)
    plain_http: bool = False
    loopback_tls: bool = False
    observe: Observer | None = None
    journal: Journal | None = None
    warned: Observer | None = None


class Answered(Struct, frozen=True):
    """A registry asked who we are; None: nobody in particular."""

    credential: Credential | None


class _Known(Struct, frozen=True):
    """What was answered to a challenge, with what it was made of."""

    answer: Answer
    challenge: Challenge
    credential: Credential | None


class _Asked(Struct, frozen=True):
    """A request that was refused, and what it showed."""

    key: _Key
    registry: str
    request: Request
    deadline: Deadline
    limit: int
    shown: _Known | None


class Learnt:
    """Which registries offer the referrers API: learnt once, forgotten after ten minutes, since registries are upgraded."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, registry: str) -> bool | None:
        """None: unknown."""
        with self._lock:
            supported, ends = self._known.get(registry, (None, 0.0))
        return supported if ends > time.monotonic() else None

    def learn(self, registry: str, supported: bool) -> None:
        """Remember an answer."""
        with self._lock:
            self._known[registry] = (supported, time.monotonic() + _LEARNT_SECONDS)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


class _Memory:
    """What sessions under several identities share."""

    def __init__(self) -> None:
        self.authorizer: Authorizer | None = None
        self.answers: OrderedDict[_Key, _Known] = OrderedDict()
        self.lock = threading.Lock()
        self.referrers_api = Learnt()
        self.warnings: set[str] = set()


class Session:
    """Shared by all repositories of a process: connections, tokens, and what was learnt about each registry."""

    def __init__(self, transport: Transport, credentials: Keychain, settings: SessionSettings, memory: _Memory | None = None, *, writes: bool = False) -> None:
        self._writes = writes
        self._transport = transport
        self.credentials = credentials
        self._settings = settings
        self._memory = memory or _Memory()

    def under(self, credentials: Keychain) -> Session:
        """The same connections, with other credentials; neither session uses what a registry answered to the other."""
        return Session(self._transport, credentials, self._settings, self._memory, writes=self._writes)

    def for_writing(self) -> Session:
        """The same, asking for a token to write with at once, where a token to read with would be asked for first and do for half of the way."""
        return Session(self._transport, self.credentials, self._settings, self._memory, writes=True)

    @property
    def referrers_api(self) -> Learnt:
        """Which registries offer the referrers API."""
        return self._memory.referrers_api

    def base(self, registry: str) -> str:
        """The URL of a registry's API root."""
        host = "registry-1.docker.io" if registry == DOCKER_HUB else registry
        plain = self._settings.plain_http or (_is_loopback(host) and not self._settings.loopback_tls)
        return f"{'http' if plain else 'https'}://{host}/v2/"

    def speaks_plain(self, host: str) -> bool:
        """Whether `host[:port]` may be spoken to without TLS where it is named so."""
        return self._settings.plain_http or _is_loopback(host)

    def send(self, registry: str, repository: str, request: Request, deadline: Deadline, limit: int) -> Response:
        """Steps 1 and 2; the response may have any status. Raises InconclusiveError."""
        key = (origin_of(request.url), repository, self.credentials.identity(registry, repository))
        known = self._known(key, request.url, deadline)
        response = self._follow(_authorized(request, known.answer.header if known else None), deadline, limit)
        if response.status == 403 and known is not None and _ENDED.search(registry_words(response)):
            return self._answer_challenge(_Asked(key, registry, request, deadline, limit, known), known.challenge) or response
        if response.status != 401:
            return response
        from verifier.oci.challenge import choose  # an anonymous registry never asks

        challenge = choose(response.headers.get("www-authenticate", ""))
        if challenge is None or origin_of(response.url) != key[0]:
            return response
        if self._writes:
            challenge = _widened(challenge, repository)
        return self._answer_challenge(_Asked(key, registry, request, deadline, limit, known), challenge) or response

    def answered_as(self, registry: str, repository: str) -> Answered | None:
        """As whom a challenge of this registry was met for this repository; None where it did not ask."""
        key = (origin_of(self.base(registry)), repository, self.credentials.identity(registry, repository))
        with self._memory.lock:
            known = self._memory.answers.get(key)
        return Answered(known.credential) if known is not None else None

    def route(self, registry: str) -> Route:
        """The way to a registry; raises InconclusiveError."""
        split = urlsplit(self.base(registry))
        return self._settings.egress.route(split.scheme, split.hostname or "", split.port or (443 if split.scheme == "https" else 80))

    @property
    def journal(self) -> Journal | None:
        """Where attachments are noted."""
        return self._settings.journal

    @property
    def tls(self) -> TlsSettings:
        """What certificates are believed."""
        return self._settings.tls

    def _known(self, key: _Key, url: str, deadline: Deadline) -> _Known | None:
        """What was answered here before; a token that has ended is replaced without asking the registry to refuse it first."""
        with self._memory.lock:
            known = self._memory.answers.get(key)
        if known is None or known.answer.ends > time.monotonic():
            return known
        try:
            answer = self._authorization().answer(known.challenge, url, known.credential, deadline)
        except InconclusiveError:
            answer = None
        if answer is None:
            self._forget(key, known)
            return None
        known = replace(known, answer=answer)
        self._remember(key, known)
        return known

    def _answer_challenge(self, asked: _Asked, challenge: Challenge) -> Response | None:
        if asked.shown is not None:
            self._forget(asked.key, asked.shown)
        response = self._try_each(asked, challenge)
        refused = response is None or response.status in (401, 403)
        if refused and self.credentials.refresh(asked.registry, asked.key[1]):
            return self._try_each(asked, challenge)
        return response

    def _try_each(self, asked: _Asked, challenge: Challenge) -> Response | None:
        """With each credential until one will do; the last trouble counts, but "not permitted" says more than a login that gave nothing."""
        outcome: Response | InconclusiveError | None = None
        for offer in self._offers(asked):
            if not isinstance(offer, InconclusiveError):
                outcome = self._try(asked, challenge, offer) or outcome
            elif not isinstance(outcome, Response) or outcome.status != 403:
                outcome = offer
            if isinstance(outcome, Response) and outcome.status not in (401, 403):
                return outcome
        if isinstance(outcome, InconclusiveError):
            raise outcome
        return outcome

    def _offers(self, asked: _Asked) -> Iterator[Credential | InconclusiveError | None]:
        """Each credential, or nobody's where there is none; what everybody may read needs no login, so that a failed one comes after nobody."""
        none_yet = True
        try:
            for credential in self.credentials.candidates(asked.registry, asked.key[1]):
                none_yet = False
                yield credential
        except InconclusiveError as error:
            if none_yet and error.code is codes.LOGIN_FAILED:
                yield None
            yield error
            return
        if none_yet:
            yield None

    def _try(self, asked: _Asked, challenge: Challenge, credential: Credential | None) -> Response | InconclusiveError | None:
        try:
            answer = self._authorization().answer(challenge, asked.request.url, credential, asked.deadline)
            if answer is None:
                return None
            response = self._follow(_authorized(asked.request, answer.header), asked.deadline, asked.limit)
            if response.status == 401 and _INVALID.search(response.headers.get("www-authenticate", "")):
                self._authorization().forget(answer.header)  # it ended on the way, or another replica has not heard of it
                answer = self._authorization().answer(challenge, asked.request.url, credential, asked.deadline) or answer
                response = self._follow(_authorized(asked.request, answer.header), asked.deadline, asked.limit)
        except InconclusiveError as error:
            return error
        if response.status not in (401, 403):
            self._remember(asked.key, _Known(answer, challenge, credential))
        return response

    def _tell_warnings(self, response: Response, warned: Observer) -> None:
        """Shown once, never acted on."""
        for text in _warnings(response.headers["warning"]):
            line = f"{urlsplit(response.url).hostname} warns: {text[:_WARNING_LENGTH]}"
            with self._memory.lock:
                new = line not in self._memory.warnings and len(self._memory.warnings) < _MOST_WARNINGS
                self._memory.warnings.add(line) if new else None
            if new:
                warned(line)

    def _forget(self, key: _Key, stale: _Known) -> None:
        """What was refused; what another thread got in its place meanwhile stays."""
        with self._memory.lock:
            if self._memory.answers.get(key) is stale:
                del self._memory.answers[key]
        self._authorization().forget(stale.answer.header)

    def _remember(self, key: _Key, known: _Known) -> None:
        with self._memory.lock:
            self._memory.answers[key] = known
            while len(self._memory.answers) > _REMEMBERED:
                self._memory.answers.popitem(last=False)

    def _authorization(self) -> Authorizer:
        from verifier.net.web import WebClient
        from verifier.oci.authorization import Authorizer

        with self._memory.lock:
            if self._memory.authorizer is None:
                self._memory.authorizer = Authorizer(WebClient(egress=self._settings.egress, tls=self._settings.tls, observe=self._settings.observe))
            return self._memory.authorizer

    def _follow(self, request: Request, deadline: Deadline, limit: int) -> Response:
        response = self._transport.send(request, deadline, limit)
        if "warning" in response.headers and self._settings.warned is not None:
            self._tell_warnings(response, self._settings.warned)
        for _ in range(limits.REDIRECTS):
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location or request.method not in ("GET", "HEAD"):
                return response
            request = _redirected(request, urljoin(request.url, location))
            response = self._transport.send(request, deadline, limit)
        if response.status in _REDIRECTS:
            raise InconclusiveError(codes.REGISTRY_NONSENSE, f"more than {limits.REDIRECTS} redirects", where=request.origin)
        return response


def _is_loopback(host: str) -> bool:
    name = host if host.startswith("[") and host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOOPBACK


def _warnings(header: str) -> list[str]:
    """The texts of `299 - "..."`; others are not ours (distribution-spec "Warnings")."""
    found = _WARNING.findall(header[: limits.ERROR_BYTES])
    return [re.sub(r"\\(.)", r"\1", text) for text in found]


def _widened(challenge: Challenge, repository: str) -> Challenge:
    """A right to read this repository becomes one to read and write; a token server gives as much of it as there is (token.md)."""
    scope = challenge.parameters.get("scope")
    if scope != f"repository:{repository}:pull":
        return challenge
    return replace(challenge, parameters={**challenge.parameters, "scope": f"{scope},push"})


def _authorized(request: Request, answer: str | None) -> Request:
    return replace(request, headers={**request.headers, "Authorization": answer}) if answer else request


def _redirected(request: Request, url: str) -> Request:
    target = urlsplit(url)
    if target.scheme not in ("http", "https") or not target.hostname or target.username is not None:
        raise InconclusiveError(codes.REGISTRY_NONSENSE, f"a redirect to {url[:200]!r}", where=request.origin)
    if target.scheme == "http" and request.url.startswith("https:"):
        raise InconclusiveError(codes.REGISTRY_NONSENSE, "a redirect from https to http", where=request.origin)
    headers = request.headers
    if origin_of(url) != request.origin:
        headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    return replace(request, url=url, headers=headers)


def refusal(response: Response, what: str) -> InconclusiveError:
    """The error for a status that `what` cannot go on with."""
    words = registry_words(response)
    match response.status:
        case 401:
            lacking = ", or without the right to do this" if "insufficient_scope" in response.headers.get("www-authenticate", "") else ""
            return InconclusiveError(codes.UNAUTHORIZED, f"{what}: not logged in{lacking}{words}", where=origin_of(response.url))
        case 403:
            return InconclusiveError(codes.FORBIDDEN, f"{what}: not permitted{words}", where=origin_of(response.url))
        case 404:
            return InconclusiveError(codes.NOT_FOUND, f"{what}: not found{words}", where=origin_of(response.url))
        case 405 | 501:
            return InconclusiveError(codes.UNSUPPORTED, f"{what}: not offered by this registry{words}", where=origin_of(response.url))
        case 429:
            wait = retry_after(response.headers)
            return InconclusiveError(codes.RATE_LIMITED, f"{what}: too many requests{words}", where=origin_of(response.url), retry_after=wait)
        case status:
            wait = retry_after(response.headers)
            return InconclusiveError(codes.REGISTRY_ERROR, f"{what}: status {status}{words}", where=origin_of(response.url), retry_after=wait)


def registry_words(response: Response) -> str:
    """What the registry said itself, bounded and on one line; empty when it said nothing."""
    code, message = registry_error(response)
    text = " ".join(f"{code} {message}".split())[:300]
    return f" (the registry says: {text})" if text else ""


def registry_error(response: Response) -> tuple[str, str]:
    """Code and message of the first error in a distribution-spec error body."""
    try:
        value = parse_json(response.body[: limits.ERROR_BYTES], where="error body") if response.body else None
    except FailedError:
        return "", ""
    errors = value.get("errors") if isinstance(value, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    return (str(first.get("code", "")), str(first.get("message", ""))) if isinstance(first, dict) else ("", "")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header in its numeric form, at most an hour."""
    text = headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None
