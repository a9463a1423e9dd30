"""The story: a release that is allowed, ten attacks that are not, and the HTTP endpoint that says the same.

Every step checks its own outcome and code; one that turns out otherwise ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, field

from verifier.demo.stage import Signers, Stage, chart_archive
from verifier.model import codes
from verifier.model.codes import Code
from verifier.model.decision import Decision, Outcome
from verifier.model.digest import Digest
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.transport import HttpTransport, Request
from verifier.operations.policies import LoadedPolicy
from verifier.registry.app import RegistryApp
from verifier.registry.running import running
from verifier.registry.store import RegistryStore
from verifier.report.text import explain

Say = Callable[[str], None]


class Telling(Struct):
    """Who listens, what was shown, and what did not turn out as told."""

    say: Say
    shown: int = 0
    wrong: list[str] = field(default_factory=list)


class Attack(Struct, frozen=True, kw_only=True):
    """`prepare` does the evil; `reference` is then asked for, and `code` must be what denies it."""

    title: str
    prepare: Callable[[], str]
    code: Code


class _Cast(Struct, frozen=True, kw_only=True):
    """Who and what the story is about."""

    stage: Stage
    team: Signers
    stranger: Signers
    web: bytes
    release: Digest


def tell(say: Say) -> int:
    """Run the demo; the exit code is 0 when everything turned out as told."""
    started = time.monotonic()
    score = Telling(say)
    with _stage() as stage:
        say(f"A registry on {stage.host}, made for this demo; keys made for this demo; nothing of yours is touched.\n")
        cast, loaded = _release(stage, score)
        for number, attack in enumerate(_attacks(cast), start=1):
            _show(attack, number, cast, loaded, score)
        _over_http(cast, score)
        stage.connections.close()
    say(f"\n{score.shown} decisions in {time.monotonic() - started:.1f} s, {len(score.wrong)} not as told.")
    for line in score.wrong:
        say(f"  WRONG  {line}")
    return 1 if score.wrong else 0


@contextmanager
def _stage() -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="verifier-demo-", ignore_cleanup_errors=True) as directory:
        root, work = Path(directory) / "registry", Path(directory) / "work"
        work.mkdir()
        store = RegistryStore(root)
        store.prepare()
        with running(RegistryApp(store)) as host:
            yield Stage.at(host, root, work)


def _release(stage: Stage, score: Telling) -> tuple[_Cast, LoadedPolicy]:
    say = score.say
    team, stranger, web = Signers.new("release-team"), Signers.new("stranger"), chart_archive("web", "1.4.2")
    say("1. Package web 1.4.2, sign its .prov with OpenPGP, push both.")
    release = stage.publish("web", "1.4.2", web, team.provenance(web))
    say("2. Sign the pushed digest with a key pair, attach the signature as a referrer.")
    stage.sign("web", release, team)
    leaky = chart_archive("web", "1.4.5", {"secret.txt": b"hunter2\n"})
    denied = stage.publish("web", "1.4.5", leaky, team.provenance(leaky))
    stage.sign("web", denied, team)
    say("3. Decide, under a policy that demands both signatures and at least version 1.4.0:\n")
    loaded = stage.policy(team, denied)
    decision = stage.decide("web:1.4.2", loaded)
    say(_indented(explain(decision)))
    _expect(score, "the release", decision, Outcome.ALLOWED, None)
    say("\n4. Pull exactly the bytes that were verified.")
    path = stage.work / "web-1.4.2.tgz"
    path.write_bytes(decision.artifact.archive if decision.artifact else b"")
    say(f"   {path.name}: {len(path.read_bytes())} bytes, {decision.artifact.archive_digest if decision.artifact else 'none'}")
    say("\nNow the attacks. Each is shown with the code that denies it.\n")
    return _Cast(stage=stage, team=team, stranger=stranger, web=web, release=release), loaded


def _attacks(cast: _Cast) -> list[Attack]:
    evil = _Evil(cast)
    return [
        Attack(title="an unsigned chart", prepare=evil.unsigned, code=codes.UNSIGNED),
        Attack(title="one byte changed in the registry's storage", prepare=evil.tampered, code=codes.DIGEST_MISMATCH),
        Attack(title="signed by a stranger", prepare=lambda: evil.signed("1.4.12", cast.stranger), code=codes.OPENPGP_UNKNOWN_KEY),
        Attack(title="another chart's signature copied over", prepare=evil.copied, code=codes.SUBJECT_MISMATCH),
        Attack(title="the tag moved to another, validly signed version", prepare=evil.moved, code=codes.VERSION_MISMATCH),
        Attack(title="renamed under the same signer", prepare=evil.renamed, code=codes.NAME_MISMATCH),
        Attack(title="the .prov of another file", prepare=evil.other_prov, code=codes.PROVENANCE_MISMATCH),
        Attack(title="rolled back to an old, validly signed version", prepare=lambda: evil.signed("1.3.0", cast.team), code=codes.VERSION_REFUSED),
        Attack(title="config and archive disagree", prepare=evil.disagreeing, code=codes.CONFIG_MISMATCH),
        Attack(title="validly signed, but on the deny list", prepare=lambda: "web:1.4.5", code=codes.DENY_LISTED),
    ]


class _Evil(Struct, frozen=True):
    """Each method does one evil, and says what to ask for."""

    cast: _Cast

    def signed(self, version: str, by: Signers) -> str:
        stage, archive = self.cast.stage, chart_archive("web", version)
        stage.sign("web", stage.publish("web", version, archive, by.provenance(archive)), by)
        return f"web:{version}"

    def unsigned(self) -> str:
        self.cast.stage.publish("web", "1.4.10", chart_archive("web", "1.4.10"), None)
        return "web:1.4.10"

    def tampered(self) -> str:
        reference = self.signed("1.4.11", self.cast.team)
        self.cast.stage.corrupt("web", chart_archive("web", "1.4.11"))
        return reference

    def copied(self) -> str:
        archive = chart_archive("web", "1.4.13")
        goal = self.cast.stage.publish("web", "1.4.13", archive, self.cast.team.provenance(archive))
        self.cast.stage.copy_signature("web", self.cast.release, goal)
        return "web:1.4.13"

    def moved(self) -> str:
        self.signed("1.4.14", self.cast.team)
        newer = chart_archive("web", "1.5.0")
        digest = self.cast.stage.publish("web", "1.4.14", newer, self.cast.team.provenance(newer))
        self.cast.stage.sign("web", digest, self.cast.team)
        return "web:1.4.14"

    def renamed(self) -> str:
        digest = self.cast.stage.publish("payments", "1.4.2", self.cast.web, self.cast.team.provenance(self.cast.web))
        self.cast.stage.sign("payments", digest, self.cast.team)
        return "payments:1.4.2"

    def other_prov(self) -> str:
        archive = chart_archive("web", "1.4.16")
        digest = self.cast.stage.publish("web", "1.4.16", archive, self.cast.team.provenance(self.cast.web))
        self.cast.stage.sign("web", digest, self.cast.team)
        return "web:1.4.16"

    def disagreeing(self) -> str:
        archive = chart_archive("web", "1.4.18")
        self.cast.stage.publish("web", "1.4.18", archive, self.cast.team.provenance(archive), config_from=self.cast.web)
        return "web:1.4.18"


def _show(attack: Attack, number: int, cast: _Cast, loaded: LoadedPolicy, score: Telling) -> None:
    decision = cast.stage.decide(attack.prepare(), loaded)
    score.say(f"{number:2}. {attack.title}")
    score.say(f"    {decision.outcome.value.upper()} [{attack.code.name}]  {_reason(decision, attack.code)}")
    _expect(score, attack.title, decision, Outcome.DENIED, attack.code)


def _reason(decision: Decision, code: Code) -> str:
    for rejection in decision.rejections:
        if rejection.code is code:
            return rejection.reason
    return decision.check.reason


def _expect(score: Telling, title: str, decision: Decision, outcome: Outcome, code: Code | None) -> None:
    score.shown += 1
    found = {decision.check.code, *(rejection.code for rejection in decision.rejections)}
    if decision.outcome is not outcome or (code is not None and code not in found):
        names = ", ".join(sorted(item.name for item in found if item))
        score.wrong.append(f"{title}: expected {outcome.value} {code.name if code else ''}, found {decision.outcome.value} {names}")


def _over_http(cast: _Cast, score: Telling) -> None:
    say = score.say
    from verifier.server.build import ServerSettings, build_app

    say("\nThe same over HTTP (`verifier serve`):\n")
    settings = ServerSettings(policy=cast.stage.work / "policy.yaml", allowed_hosts=frozenset({cast.stage.host}))
    transport = HttpTransport(egress=Egress(allow_private=True))
    with running(build_app(settings)) as address:
        for name, status in ((f"web@{cast.release}", 200), ("web:1.4.10", 403)):
            body = json.dumps({"reference": str(cast.stage.reference(name))}).encode()
            request = Request(method="POST", url=f"http://{address}/v1/verify", headers={"Content-Type": "application/json"}, body=body)
            response = transport.send(request, Deadline.after(30), 1024 * 1024)
            answer = json.loads(response.body)
            say(f"   POST /v1/verify {name[:28]:28} -> {response.status} {answer['outcome']} {answer['code'] or ''}")
            score.shown += 1
            if response.status != status:
                score.wrong.append(f"HTTP {name}: expected {status}, found {response.status}")
    transport.close()


def _indented(text: str) -> str:
    return "\n".join(f"   {line}" for line in text.splitlines())
