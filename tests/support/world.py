"""Connections, charts in registries, and policies, with the fewest words."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.charts.archive import read_archive
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest
from verifier.model.reference import AnyReference, parse, parse_oci
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.transport import HttpTransport
from verifier.oci.credentials import Credential
from verifier.oci.keychain import Credentials
from verifier.oci.manifest import MANIFEST
from verifier.oci.repository import Repository
from verifier.oci.session import Session, SessionSettings
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy, with_trust
from verifier.operations.push import build_manifest
from verifier.operations.signing import Attachment, attach
from verifier.operations.verification import Options, verify
from verifier.policy.loader import load_policy
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.key import LocalKey
from verifier.signers.public import public_pem

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def connect(credential: Credential | None = None, host: str = "") -> Connections:
    egress = Egress(allow_private=True)
    return Connections(Session(HttpTransport(egress=egress), Credentials(given=(host, credential) if credential else None), SessionSettings(egress=egress)))


def repository(host: str, name: str = "acme/web", credential: Credential | None = None, seconds: float = 20.0) -> Repository:
    return Repository(connect(credential, host).session, host, name, Deadline.after(seconds))


def publish(connections: Connections, host: str, data: bytes, *, name: str = "acme/web", tag: str = "1.4.2", prov: bytes | None = None) -> Digest:
    target = connections.target(parse_oci(f"oci://{host}/{name}:{tag}"), Deadline.after(20))
    manifest, blobs = build_manifest(read_archive(data, where="chart").facts, data, prov, created=NOW)
    for blob in blobs:
        target.push_blob(blob)
    return target.push_manifest(manifest, MANIFEST, tag)


def sign(connections: Connections, host: str, digest: Digest, key: LocalKey, *, name: str = "acme/web", said: str | None = None) -> Digest:
    target = connections.target(parse_oci(f"oci://{host}/{name}"), Deadline.after(20))
    bundle = sign_digest(digest, key, name=said if said is not None else f"oci://{host}/{name}")
    (attached,) = attach(target, target.manifest(digest).descriptor, Attachment(payload=bundle, media_type=BUNDLE))
    return attached


def policy(text: str, base: Path) -> LoadedPolicy:
    return with_trust(load_policy(text.encode(), where="policy.yaml"), base=base)


def key_policy(host: str, key: LocalKey, extra: str = "", rule: str = "") -> LoadedPolicy:
    """Charts below HOST/acme signed by one key."""
    pem = public_pem(key.public).decode().replace("\n", "\n        ")
    return policy(
        f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: test}}
trust:
  ci:
    key:
      pem: |
        {pem}
{extra}
rules:
  - name: ours
    charts: ["oci://{host}/acme/*"]
    require: {{signed: {{by: ci}}}}
{rule}
""",
        Path(),
    )


def ask(reference: str | AnyReference, loaded: LoadedPolicy, connections: Connections, options: Options | None = None, **context: str) -> Decision:
    parsed = parse(reference) if isinstance(reference, str) else reference
    request = Request(reference=parsed, context=Context(asserted_by="test", **context))
    return verify(request, loaded, connections, options or Options(seconds=20))


def code_names(decision: Decision) -> set[str]:
    """Every code that the decision carries."""
    found = {decision.check.code.name} if decision.check.code else set()
    return found | {item.code.name for item in decision.rejections} | {item.code.name for item in decision.gaps}
