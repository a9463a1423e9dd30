"""The stage of the demo: a temporary registry, keys made on the spot, charts, and a policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from verifier.attest.bundle import MEDIA_TYPE as BUNDLE
from verifier.charts.archive import read_archive
from verifier.charts.packaging import write_archive
from verifier.charts.provenance import write_provenance
from verifier.model.context import Context, Request
from verifier.model.decision import Decision
from verifier.model.digest import Digest, sha256
from verifier.model.reference import Reference, parse_oci
from verifier.net.deadline import Deadline
from verifier.net.egress import Egress
from verifier.net.transport import HttpTransport
from verifier.oci.keychain import Credentials
from verifier.oci.manifest import MANIFEST, Manifest, read_manifest
from verifier.oci.session import Session, SessionSettings
from verifier.operations.connections import Connections
from verifier.operations.policies import LoadedPolicy, load
from verifier.operations.push import build_manifest
from verifier.operations.resolve import read_chart, resolve
from verifier.operations.signing import Attachment, attach
from verifier.operations.verification import Options, verify
from verifier.schemes.openpgp.generate import NewKey, generate_key
from verifier.schemes.openpgp.sign import SecretKey, sign_text
from verifier.schemes.sigstore.sign import sign_digest
from verifier.signers.key import LocalKey
from verifier.signers.key import generate_key as generate_pair
from verifier.signers.public import public_pem

_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class Signers(Struct, frozen=True, kw_only=True):
    """Someone with an OpenPGP key and a key pair."""

    openpgp: NewKey
    pair: LocalKey

    @classmethod
    def new(cls, name: str) -> Signers:
        """Fresh keys."""
        return cls(openpgp=generate_key(f"{name} <{name}@example.test>"), pair=generate_pair())

    def provenance(self, archive: bytes) -> bytes:
        """A `.prov` for an archive."""
        read = read_archive(archive, where="chart")
        return sign_text(write_provenance(read.facts, read.digest), SecretKey(self.openpgp.secret, "demo key"), passphrase=None)


class Stage(Struct, frozen=True, kw_only=True):
    """Where it all happens; `host` is the registry's."""

    host: str
    root: Path
    work: Path
    connections: Connections

    @classmethod
    def at(cls, host: str, root: Path, work: Path) -> Stage:
        """A stage on a running registry."""
        egress = Egress(allow_private=True)
        session = Session(HttpTransport(egress=egress), Credentials(), SessionSettings(egress=egress))
        return cls(host=host, root=root, work=work, connections=Connections(session))

    def reference(self, name: str) -> Reference:
        """`NAME:TAG` or `NAME@DIGEST` in the demo's repository."""
        return parse_oci(f"oci://{self.host}/acme/{name}")

    def publish(self, name: str, tag: str, archive: bytes, provenance: bytes | None, *, config_from: bytes | None = None) -> Digest:
        """Push a chart; `config_from` takes the config of another archive, as an attacker would."""
        target = self.connections.target(self.reference(f"{name}:{tag}"), Deadline.after(30))
        facts = read_archive(config_from or archive, where="chart").facts
        manifest, blobs = build_manifest(facts, archive, provenance, created=_CREATED)
        for blob in blobs:
            target.push_blob(blob)
        return target.push_manifest(manifest, MANIFEST, tag)

    def sign(self, name: str, digest: Digest, signers: Signers) -> None:
        """Attach a key signature that names the repository, without the checks by which `verifier sign` would refuse some."""
        reference = self.reference(f"{name}@{digest}")
        target = self.connections.target(reference, Deadline.after(30))
        bundle = sign_digest(digest, signers.pair, name=f"oci://{reference.name}")
        attach(target, target.manifest(digest).descriptor, Attachment(payload=bundle, media_type=BUNDLE))

    def copy_signature(self, name: str, source: Digest, goal: Digest) -> None:
        """Attach the signature of one manifest to another, as an attacker would."""
        target = self.connections.target(self.reference(name), Deadline.after(30))
        listed = target.referrers(source).descriptors[0]
        manifest = read_manifest(target.manifest(listed.digest).data, where="referrer")
        assert isinstance(manifest, Manifest)
        payload = target.blob(manifest.layers[0], manifest.layers[0].size)
        attach(target, target.manifest(goal).descriptor, Attachment(payload=payload, media_type=manifest.layers[0].media_type))

    def corrupt(self, name: str, archive: bytes) -> None:
        """Change one byte of a chart where the registry keeps it."""
        path = self.root / "acme" / name / "_layout" / "blobs" / "sha256" / sha256(archive).hex
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(bytes(data))

    def decide(self, name: str, loaded: LoadedPolicy) -> Decision:
        """The decision for `NAME:TAG`."""
        request = Request(reference=self.reference(name), context=Context(environment="demo", asserted_by="demo"))
        return verify(request, loaded, self.connections, Options(seconds=30))

    def pulled(self, name: str) -> bytes:
        """The archive that a reference holds now."""
        reference = self.reference(name)
        return read_chart(resolve(reference, self.connections.source(reference, Deadline.after(30)))).archive

    def policy(self, signers: Signers, denied: Digest) -> LoadedPolicy:
        """Write the policy and its trust files, and load them."""
        (self.work / "release-team.asc").write_bytes(signers.openpgp.public)
        (self.work / "ci.pub").write_bytes(public_pem(signers.pair.public))
        path = self.work / "policy.yaml"
        path.write_text(POLICY.format(host=self.host, fingerprint=signers.openpgp.fingerprint, denied=denied), encoding="utf-8")
        return load(path)


def chart_archive(name: str, version: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """A small chart."""
    chart = f"apiVersion: v2\nname: {name}\nversion: {version}\ndescription: A web server\nappVersion: '1.27'\n"
    template = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  replicas: '{{ .Values.replicas }}'\n"
    content = {"Chart.yaml": chart.encode(), "values.yaml": b"replicas: 2\n", "templates/configmap.yaml": template, **(files or {})}
    return write_archive(name, content, epoch=315532800)


POLICY = """\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: demo}}
trust:
  release-team: {{openpgp: {{keyring: release-team.asc, fingerprints: ["{fingerprint}"]}}}}
  ci-key: {{key: {{file: ci.pub}}}}
deny:
  - digest: {denied}
    reason: leaks a password
rules:
  - name: our charts
    charts: ["oci://{host}/acme/*"]
    require:
      all:
        - signed: {{by: release-team}}
        - signed: {{by: ci-key}}
    chart: {{version: ">=1.4.0"}}
default: deny
"""
