"""What a registry can do, and who we are there: one line for each thing that must hold, with what to do where it does not.

1. The way: an address, or a proxy. 2. The registry answers on /v2/, over TLS that verifies. 3. Its clock and ours agree. 4. Who we are to it, and by
which credential. 5. The repository can be read. 6. An upload can be begun (and is given up at once). 7. The referrers API is offered, or its fallback is used.
What only writing shows, whether tags can be moved and whether what is attached is listed, is tried by `operations.trial`.

Nothing is left behind by these seven. A line that could not be told is `unknown`, never `ok`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from verifier.model import codes, limits
from verifier.model.codes import Code
from verifier.model.digest import Digest
from verifier.model.errors import InconclusiveError, VerifierError
from verifier.model.mistakes import advise
from verifier.net.deadline import Deadline
from verifier.net.transport import Request, Response
from verifier.oci.credentials import Basic, Credential, IdentityToken
from verifier.oci.manifest import INDEX
from verifier.oci.referrers import offers_referrers
from verifier.oci.repository import Repository, read_answer
from verifier.oci.session import Session, refusal, registry_error

_CLOCK_NOTE, _CLOCK_WRONG = 60.0, 300.0  # seconds; tokens and timestamps allow for some
_LOGIN = (codes.UNAUTHORIZED, codes.LOGIN_FAILED, codes.AUTH_REFUSED, codes.CONFIG_INVALID)
_NOBODY = Digest("sha256", "0" * 64)
Sources = Callable[[str, str], Iterator[tuple[str, Credential]]]


class State(Enum):
    """Of one line."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


class Line(Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    topic: str
    state: State
    text: str
    code: Code | None = None
    advice: str = ""


class Patient(Struct, frozen=True, kw_only=True):
    """A registry, and a repository of it where one was named; `sources` tells where credentials come from."""

    session: Session
    registry: str
    repository: str
    deadline: Deadline
    sources: Sources

    @property
    def place(self) -> Repository:
        """The repository, to be asked."""
        return Repository(self.session, self.registry, self.repository, self.deadline)


def examine(patient: Patient, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[Line]:
    """All lines, as they are found; what cannot be looked at after a failure is left out."""
    try:
        yield _way(patient)  # 1
        root = patient.session.send(
            patient.registry, "", Request(method="GET", url=patient.session.base(patient.registry)), patient.deadline, limits.ERROR_BYTES
        )
    except VerifierError as error:
        yield wrong("login" if error.code in _LOGIN else "registry", error)
        return
    answering = _registry(patient, root)  # 2
    yield answering
    if answering.state is State.WRONG:
        return
    yield _clock(root, now())  # 3
    if not patient.repository:
        yield _who(patient, root)
        yield Line(topic="repository", state=State.SKIPPED, text="none was named: HOST/PATH/NAME says more")
        return
    yield from _repository(patient)


def _way(patient: Patient) -> Line:
    route = patient.session.route(patient.registry)
    if route.proxy is not None:
        return Line(topic="way", state=State.OK, text=f"through the proxy {route.proxy.url}, which resolves the name")
    return Line(topic="way", state=State.OK, text=f"at {route.address}")


def _registry(patient: Patient, root: Response) -> Line:
    plain = root.url.startswith("http:")
    how = "without TLS" if plain else "the certificate is not checked" if not patient.session.tls.verify else "over TLS"
    if "html" in root.media_type:
        return wrong("registry", InconclusiveError(codes.REGISTRY_NONSENSE, "a web page instead of a registry", where=patient.registry))
    if root.status not in (200, 401, 403):
        return wrong("registry", refusal(root, "GET /v2/"))
    state = State.OK if not plain or patient.registry.startswith(("127.", "localhost", "[::1]")) else State.NOTE
    return Line(topic="registry", state=state if patient.session.tls.verify else State.NOTE, text=f"answers, {how}")


def _clock(root: Response, now: datetime) -> Line:
    try:
        ahead = (parsedate_to_datetime(root.headers.get("date", "")) - now).total_seconds()
    except (ValueError, TypeError):
        return Line(topic="clock", state=State.UNKNOWN, text="the registry does not say what time it has")
    if abs(ahead) < _CLOCK_NOTE:
        return Line(topic="clock", state=State.OK, text="agrees with this machine's")
    text = f"is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} this machine's"
    state = State.WRONG if abs(ahead) > _CLOCK_WRONG else State.NOTE
    return Line(topic="clock", state=state, text=text, advice="Set the clocks by NTP: tokens, certificates and timestamps are judged by them.")


def _who(patient: Patient, answer: Response) -> Line:
    """4; `answer` is of the place that was asked."""
    answered = patient.session.answered_as(patient.registry, patient.repository)
    if answer.status == 401:
        return wrong("login", refusal(answer, "asking who we are"))
    if answered is None:
        return Line(topic="login", state=State.OK, text="nobody is asked who they are")
    if answered.credential is None:
        return Line(topic="login", state=State.NOTE, text="as nobody: no credential was found, and what everybody may do is let through")
    return Line(topic="login", state=State.OK, text=f"as {_name(answered.credential)}, by {_source(patient, answered.credential)}")


def _name(credential: Credential) -> str:
    match credential:
        case Basic(username=username):
            return repr(username)
        case IdentityToken():
            return "whoever the identity token is of"
        case _:
            return "whoever the token is of"


def _source(patient: Patient, credential: Credential) -> str:
    for source, found in patient.sources(patient.registry, patient.repository):
        if found == credential:
            return source
    return "what was found a moment ago"


def _repository(patient: Patient) -> Iterator[Line]:
    place = patient.place
    try:
        tags = place.send(Request(method="GET", url=place.url("tags/list?n=1000")), limits.MANIFEST_BYTES)
    except InconclusiveError as error:
        yield wrong("login", error)
        return
    yield _who(patient, tags)
    if tags.status == 401:
        return
    yield _pull(tags)  # 5
    yield _push(place)  # 6
    yield _referrers(place)  # 7


def _pull(tags: Response) -> Line:
    if tags.status == 200:
        try:
            found = read_answer(tags).get("tags") or []
        except InconclusiveError as nonsense:
            return wrong("pull", nonsense)
        more = " or more" if "link" in tags.headers else ""
        return Line(topic="pull", state=State.OK, text=f"the repository can be read: {len(found)}{more} tag{'s' if len(found) != 1 or more else ''}")
    error = refusal(tags, "reading the tags")
    missing = registry_error(tags)[0] == "NAME_UNKNOWN"
    return replace(wrong("pull", error), state=State.NOTE, text="the repository is not there, or may not be seen") if missing else wrong("pull", error)


def _push(place: Repository) -> Line:
    try:
        place.begin_and_abandon_upload()
    except InconclusiveError as error:
        return replace(wrong("push", error), state=State.NOTE, text=f"not possible, which is enough to verify and not to sign: {error.reason}")
    return Line(topic="push", state=State.OK, text="an upload was begun and given up")


def _referrers(place: Repository) -> Line:
    try:
        response = place.send(Request(method="GET", url=place.url(f"referrers/{_NOBODY}"), headers={"Accept": INDEX}), limits.MANIFEST_BYTES)
        offered = offers_referrers(response)
    except InconclusiveError as error:
        return wrong("referrers", error)
    if offered is None:
        return Line(topic="referrers", state=State.UNKNOWN, text="the registry says of a repository that is not there no more than that")
    if offered:
        return Line(topic="referrers", state=State.OK, text="the API is offered: signatures are listed by the registry")
    return Line(
        topic="referrers",
        state=State.NOTE,
        text="the API is not offered: signatures are listed under the tag sha256-HEX, where the last writer wins",
        advice="Let one job at a time sign a chart, and exclude the tags `sha256-*` from immutability; `verifier registry repair` restores a list.",
    )


def wrong(topic: str, error: VerifierError) -> Line:
    """An error as a line."""
    text = f"{error.where}: {error.reason}" if error.where else error.reason
    return Line(topic=topic, state=State.WRONG, text=text, code=error.code, advice=advise(error.code, error.where, error.reason))
