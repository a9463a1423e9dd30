"""The registries of our users, under their own names: what each is known to do, and what a user of it writes into a credentials file.

with standing(PROFILES["ghcr"], tmp_path) as stage:
    stage.base          oci://ghcr.io/acme/charts
    stage.config        a credentials file as `helm registry login` writes it
    stage.net           the names on loopback, the proxy and the CA (see simulators.internet)

A profile is a picture of a registry that cannot be reached from a test, drawn after what is documented and reported; `switches.SOURCES` says where.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.simulators.internet import Internet, internet
from tests.simulators.registry.answers import Answer, error
from tests.simulators.registry.serve import LineHandler, RegistrySite, Site
from tests.simulators.registry.state import SimulatedRegistry
from tests.simulators.registry.switches import Switches
from tests.support.cli import CANARY

IMMUTABLE_VERSIONS = r"(?!sha256-).*"


@dataclass(frozen=True)
class Profile:
    """`host` is what stands in references, `api` what is asked; `others` are further names, each for the registry or for its blobs."""

    host: str
    path: str
    switches: Switches
    api: str = ""
    tokens: str = ""
    blobs: str = ""
    login: dict[str, str] = field(default_factory=dict)  # the entry in a credentials file
    can_attach: bool = True


def _basic(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{CANARY}".encode()).decode()}


def _with_token(user: str, realm: str, **more: object) -> Switches:
    return Switches(bearer=(user, CANARY), realm=realm, catalog=False, **more)  # type: ignore[arg-type]


_ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
_ECR_BLOBS = "prod-eu-central-1-starport-layer-bucket.s3.eu-central-1.amazonaws.com"
_ECR_REPOSITORIES = ("acme/charts/web", "acme/stable/web")
_HUB = "registry-1.docker.io"

PROFILES = {
    "distribution-2.8": Profile(
        host="registry.acme.example",
        path="charts",
        switches=Switches(
            basic=("ci", CANARY),
            referrers=False,
            accept_needed=True,
            tags_sorted=False,
            tags_ignore_n=True,
            delete_tags=False,
            upload_absolute=True,
        ),
        login=_basic("ci"),
    ),
    "distribution-3.1": Profile(
        host="registry.acme.example",
        path="charts",
        tokens="auth.acme.example",
        switches=Switches(bearer=("ci", CANARY), realm="https://auth.acme.example/token", referrers=False, delete=False, tags_page=100, upload_absolute=True),
        login=_basic("ci"),
    ),
    "zot": Profile(host="zot.acme.example", path="charts", switches=Switches(basic=("ci", CANARY), referrers_page=5), login=_basic("ci")),
    "harbor": Profile(
        host="harbor.acme.example",
        path="acme",
        switches=Switches(
            bearer=("robot$acme+ci", CANARY), realm="https://harbor.acme.example/service/token", referrers_links="harbor", referrers_page=2, cookies=True
        ),
        login=_basic("robot$acme+ci"),
    ),
    "harbor-2.10": Profile(  # with a rule that keeps versions as they are
        host="harbor.acme.example",
        path="acme",
        switches=Switches(
            bearer=("robot$acme+ci", CANARY),
            realm="https://harbor.acme.example/service/token",
            wrong_artifact_type=True,
            cookies=True,
            immutable=".*",
            immutable_status=412,
            immutable_code="PRECONDITION",
        ),
        login=_basic("robot$acme+ci"),
    ),
    "ecr": Profile(
        host=_ECR,
        path="acme/charts",
        blobs=_ECR_BLOBS,
        switches=Switches(basic=("AWS", CANARY), repositories=_ECR_REPOSITORIES, blob_store=f"https://{_ECR_BLOBS}", immutable=".*"),
        login=_basic("AWS"),
    ),
    "ecr-2023": Profile(  # OCI-Subject without the API; immutable tags but for those of the fallback
        host=_ECR,
        path="acme/charts",
        blobs=_ECR_BLOBS,
        switches=Switches(
            basic=("AWS", CANARY),
            repositories=_ECR_REPOSITORIES,
            blob_store=f"https://{_ECR_BLOBS}",
            referrers=False,
            oci_subject="lying",
            immutable=".*",
            immutable_but="sha256-.*",
        ),
        login=_basic("AWS"),
    ),
    "artifact-registry": Profile(
        host="europe-docker.pkg.dev",
        path="acme-prod/charts",
        switches=_with_token("oauth2accesstoken", "https://europe-docker.pkg.dev/v2/token", upload_elsewhere="artifacts-uploads", immutable=IMMUTABLE_VERSIONS),
        login=_basic("oauth2accesstoken"),
    ),
    "artifact-registry-2023": Profile(  # no API yet, and immutable tags: a second signature finds no place
        host="europe-docker.pkg.dev",
        path="acme-prod/charts",
        switches=_with_token(
            "_json_key",
            "https://europe-docker.pkg.dev/v2/token",
            referrers_login="https://europe-docker.pkg.dev/login",
            oci_subject="missing",
            immutable=".*",
        ),
        login=_basic("_json_key"),
        can_attach=False,
    ),
    "gcr": Profile(
        host="gcr.io",
        path="acme-prod/charts",
        blobs="storage.googleapis.com",
        switches=_with_token("_json_key", "https://gcr.io/v2/token", referrers_html=True, oci_subject="missing", blob_store="https://storage.googleapis.com"),
        login=_basic("_json_key"),
    ),
    "acr": Profile(
        host="acmecharts.azurecr.io",
        path="charts",
        blobs="weu1.blob.core.windows.net",
        switches=_with_token(
            "00000000-0000-0000-0000-000000000000",
            "https://acmecharts.azurecr.io/oauth2/token",
            token_name="access_token",
            refresh_token=CANARY,
            blob_store="https://weu1.blob.core.windows.net",
        ),
        login={**_basic("00000000-0000-0000-0000-000000000000"), "identitytoken": CANARY},
    ),
    "docker-hub": Profile(
        host="docker.io",
        api=_HUB,
        path="acme",
        tokens="auth.docker.io",
        blobs="production.cloudflare.docker.com",
        switches=_with_token(
            "acme", "https://auth.docker.io/token", anonymous_pull=True, referrers_links="absolute", blob_store="https://production.cloudflare.docker.com"
        ),
        login=_basic("acme"),
    ),
    "docker-hub-2024": Profile(  # OCI-Subject without the API, and no referrer before its subject
        host="docker.io",
        api=_HUB,
        path="acme",
        tokens="auth.docker.io",
        switches=_with_token(
            "acme", "https://auth.docker.io/token", anonymous_pull=True, referrers=False, oci_subject="lying", subject_must_exist=True, token_life=60
        ),
        login=_basic("acme"),
    ),
    "ghcr": Profile(
        host="ghcr.io",
        path="acme/charts",
        blobs="pkg-containers.githubusercontent.com",
        switches=_with_token(
            "acme-bot",
            "https://ghcr.io/token",
            anonymous_pull=True,
            referrers=False,
            token_methods=("GET",),
            first_scope_only=True,
            mount=False,
            blob_store="https://pkg-containers.githubusercontent.com",
        ),
        login=_basic("acme-bot"),
    ),
    "gitlab": Profile(
        host="registry.gitlab.com",
        path="acme/charts",
        tokens="gitlab.com",
        blobs="cdn.registry.gitlab-static.net",
        switches=_with_token(
            "gitlab-ci-token",
            "https://gitlab.com/jwt/auth",
            referrers=False,
            alias_tags=True,
            tags_page=100,
            blob_store="https://cdn.registry.gitlab-static.net",
        ),
        login=_basic("gitlab-ci-token"),
    ),
    "quay": Profile(
        host="quay.io",
        path="acme",
        blobs="cdn01.quay.io",
        switches=_with_token(
            "acme+ci", "https://quay.io/v2/auth", oci_subject="missing", platform_needed=True, filters=False, blob_store="https://cdn01.quay.io"
        ),
        login=_basic("acme+ci"),
    ),
    "artifactory": Profile(
        host="acme.jfrog.io",
        path="charts-local",
        switches=Switches(basic=("ci", CANARY), tags_page=10),
        login=_basic("ci"),
    ),
}


class BlobStore:
    """Where blobs are redirected to: takes no second kind of authorization."""

    def __init__(self, registry: SimulatedRegistry) -> None:
        self.registry = registry
        self.asked: list[str] = []

    def serve(self, handler: LineHandler) -> None:
        asked = handler.asked()
        self.asked.append(asked.path)
        time.sleep(self.registry.switches.delay)
        data = self.registry.blobs.get(asked.path.lstrip("/"))
        answer = Answer(200, data or b"", {"Content-Type": "application/octet-stream"})
        if "Authorization" in asked.headers or "Cookie" in asked.headers:
            answer = error(400, "InvalidArgument", "Only one auth mechanism allowed")
        elif data is None:
            answer = error(404, "NoSuchKey")
        handler.say(answer)
        handler.wfile.write(answer.body)


@dataclass
class Stage:
    """A profile that can be talked to."""

    profile: Profile
    registry: SimulatedRegistry
    net: Internet
    config: Path
    store: BlobStore | None = None

    @property
    def base(self) -> str:
        """What charts are pushed below."""
        return f"oci://{self.profile.host}/{self.profile.path}"

    @property
    def environment(self) -> dict[str, str]:
        """For real programs: the proxy, the CA, and the credentials where each looks for them."""
        folder = self.config.parent / "docker"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_bytes(self.config.read_bytes())
        return {**self.net.environment, "SSL_CERT_FILE": str(self.net.ca_file), "DOCKER_CONFIG": str(folder), "HELM_REGISTRY_CONFIG": str(self.config)}

    @property
    def asked(self) -> int:
        """How many requests there were, to the registry, its token server and its blobs."""
        return len(self.registry.requests) + (len(self.store.asked) if self.store is not None else 0)

    @property
    def options(self) -> tuple[str, ...]:
        """For every command of ours."""
        return ("--registry-config", str(self.config), "--ca-file", str(self.net.ca_file))


@contextlib.contextmanager
def standing(profile: Profile, work: Path) -> Iterator[Stage]:
    """The registry under its names, until the block ends."""
    name = profile.api or profile.host
    registry = SimulatedRegistry(name=name, switches=copy.deepcopy(profile.switches))
    site = RegistrySite(registry)
    sites: dict[str, Site] = {name: site}
    if profile.tokens:
        sites[profile.tokens] = site
    if profile.host == "docker.io":
        sites["index.docker.io"] = site  # what older clients ask
    store = BlobStore(registry) if profile.blobs else None
    if store is not None:
        sites[profile.blobs] = store
    config = work / "registry-config.json"
    key = "https://index.docker.io/v1/" if profile.host == "docker.io" else profile.host
    config.write_text(json.dumps({"auths": {key: profile.login}}))
    with internet(sites, work) as net:
        yield Stage(profile, registry, net, config, store)
