"""The story: a release that is allowed, ten attacks that are not, and the HTTP endpoint that says the same.

Every step checks its own outcome and code; one that turns out otherwise ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass(slots=True)
class Score:
    """What was shown, and what did not turn out as told."""

    shown: int = 0
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """`prepare` does the evil; `reference` is then asked for, and `code` must be what denies it."""

    title: str
    prepare: Callable[[], str]
    code: Code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cast:
    """Who and what the story is about."""

    stage: Stage
    team: Signers
    stranger: Signers
    web: bytes
    release: Digest


def tell(say: Say) -> int:
    """Run the demo; the exit code is 0 when everything turned out as told."""
    started = time.monotonic()
    score = Score()
    with _stage() as stage:
        say(f"A registry on {stage.host}, made for this demo; keys made for this demo; nothing of yours is touched.\n")
        cast, loaded = _release(stage, say, score)
        for number, attack in enumerate(_attacks(cast), start=1):
            _show(attack, number, cast, loaded, say, score)
        _over_http(cast, say, score)
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


def _release(stage: Stage, say: Say, score: Score) -> tuple[_Cast, LoadedPolicy]:
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
    stage, team, stranger = cast.stage, cast.team, cast.stranger

    def signed(name: str, tag: str, archive: bytes, by: Signers) -> str:
        digest = stage.publish(name, tag, archive, by.provenance(archive))
        stage.sign(name, digest, by)
        return f"{name}:{tag}"

    def unsigned() -> str:
        stage.publish("web", "1.4.10", chart_archive("web", "1.4.10"), None)
        return "web:1.4.10"

    def tampered() -> str:
        archive = chart_archive("web", "1.4.11")
        reference = signed("web", "1.4.11", archive, team)
        stage.corrupt("web", archive)
        return reference

    def copied() -> str:
        archive = chart_archive("web", "1.4.13")
        goal = stage.publish("web", "1.4.13", archive, team.provenance(archive))
        stage.copy_signature("web", cast.release, goal)
        return "web:1.4.13"

    def moved() -> str:
        signed("web", "1.4.14", chart_archive("web", "1.4.14"), team)
        newer = chart_archive("web", "1.5.0")
        digest = stage.publish("web", "1.4.14", newer, team.provenance(newer))
        stage.sign("web", digest, team)
        return "web:1.4.14"

    def renamed() -> str:
        digest = stage.publish("payments", "1.4.2", cast.web, team.provenance(cast.web))
        stage.sign("payments", digest, team)
        return "payments:1.4.2"

    def other_prov() -> str:
        archive = chart_archive("web", "1.4.16")
        digest = stage.publish("web", "1.4.16", archive, team.provenance(cast.web))
        stage.sign("web", digest, team)
        return "web:1.4.16"

    def disagreeing() -> str:
        archive = chart_archive("web", "1.4.18")
        stage.publish("web", "1.4.18", archive, team.provenance(archive), config_from=cast.web)
        return "web:1.4.18"

    return [
        Attack(title="an unsigned chart", prepare=unsigned, code=codes.UNSIGNED),
        Attack(title="one byte changed in the registry's storage", prepare=tampered, code=codes.DIGEST_MISMATCH),
        Attack(title="signed by a stranger", prepare=lambda: signed("web", "1.4.12", chart_archive("web", "1.4.12"), stranger), code=codes.OPENPGP_UNKNOWN_KEY),
        Attack(title="another chart's signature copied over", prepare=copied, code=codes.SUBJECT_MISMATCH),
        Attack(title="the tag moved to another, validly signed version", prepare=moved, code=codes.VERSION_MISMATCH),
        Attack(title="renamed under the same signer", prepare=renamed, code=codes.NAME_MISMATCH),
        Attack(title="the .prov of another file", prepare=other_prov, code=codes.PROVENANCE_MISMATCH),
        Attack(
            title="rolled back to an old, validly signed version",
            prepare=lambda: signed("web", "1.3.0", chart_archive("web", "1.3.0"), team),
            code=codes.VERSION_REFUSED,
        ),
        Attack(title="config and archive disagree", prepare=disagreeing, code=codes.CONFIG_MISMATCH),
        Attack(title="validly signed, but on the deny list", prepare=lambda: "web:1.4.5", code=codes.DENY_LISTED),
    ]


def _show(attack: Attack, number: int, cast: _Cast, loaded: LoadedPolicy, say: Say, score: Score) -> None:
    decision = cast.stage.decide(attack.prepare(), loaded)
    say(f"{number:2}. {attack.title}")
    say(f"    {decision.outcome.value.upper()} [{attack.code.name}]  {_reason(decision, attack.code)}")
    _expect(score, attack.title, decision, Outcome.DENIED, attack.code)


def _reason(decision: Decision, code: Code) -> str:
    for rejection in decision.rejections:
        if rejection.code is code:
            return rejection.reason
    return decision.check.reason


def _expect(score: Score, title: str, decision: Decision, outcome: Outcome, code: Code | None) -> None:
    score.shown += 1
    found = {decision.check.code, *(rejection.code for rejection in decision.rejections)}
    if decision.outcome is not outcome or (code is not None and code not in found):
        names = ", ".join(sorted(item.name for item in found if item))
        score.wrong.append(f"{title}: expected {outcome.value} {code.name if code else ''}, found {decision.outcome.value} {names}")


def _over_http(cast: _Cast, say: Say, score: Score) -> None:
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
