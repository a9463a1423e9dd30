"""Logins with a cloud's own identity: which hosts, what is asked, how long it is kept. The clouds are stand-ins on loopback that check the question."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.simulators.registry.answers import Answer, error, value
from tests.simulators.registry.profiles import PROFILES, Stage, standing
from tests.simulators.registry.serve import LineHandler, QuietServer, handler_of
from tests.simulators.registry.state import Asked
from tests.support.charts import archive
from tests.support.cli import CANARY, run
from tests.support.clouds import google_at, no_identity
from tests.support.servers import serving
from verifier.model import codes
from verifier.model.errors import InconclusiveError
from verifier.net.egress import Egress
from verifier.net.transport import TlsSettings
from verifier.net.web import WebClient
from verifier.oci.cloud import CloudLogins
from verifier.oci.clouds.lease import Asking, Lease
from verifier.oci.clouds.table import CLOUDS, Cloud
from verifier.oci.credentials import Basic
from verifier.oci.keychain import Credentials

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


def logins(*clouds: Cloud) -> CloudLogins:
    return CloudLogins({}, lambda: WebClient(egress=Egress(allow_private=True), tls=TlsSettings()), clouds or CLOUDS)


@pytest.mark.parametrize(
    "host",
    [
        ECR,
        "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
        "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
        "123456789012.dkr-ecr.us-west-2.on.aws",
        "public.ecr.aws",
        "gcr.io",
        "eu.gcr.io",
        "europe-docker.pkg.dev",
        "us-central1-docker.pkg.dev",
        "acmecharts.azurecr.io",
        "acmecharts-d5f3hqxyz.azurecr.io",
        "acmecharts.azurecr.cn",
    ],
)
def test_hosts_of_clouds(host: str) -> None:
    assert sum(cloud.hosts.fullmatch(host) is not None for cloud in CLOUDS) == 1


@pytest.mark.parametrize(
    "host",
    [
        f"{ECR}.evil.test",
        f"evil.test.{ECR}",
        f"evil-{ECR}",
        f"{ECR}:5000",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil",
        "123456789012.dkr.ecr.evil.test.amazonaws.com",
        "12345678901.dkr.ecr.eu-central-1.amazonaws.com",
        "123456789012xdkr.ecr.eu-central-1.amazonaws.com",
        "public.ecr.aws.evil.test",
        "gcr.io.evil.test",
        "evilgcr.io",
        "a.b.gcr.io",
        "europe-docker.pkg.dev.evil.test",
        "docker.pkg.dev",
        "evil.europe-docker.pkg.dev",
        "acmecharts.azurecr.io.evil.test",
        "evil.test/acmecharts.azurecr.io",
        "acmechartsazurecr.io",
        "acmecharts.azurecr.io:443",
        "ac.me.azurecr.io",
        "ghcr.io",
        "docker.io",
    ],
)
def test_hosts_that_only_look_like_it_are_never_asked_for(host: str) -> None:
    """CVE-2025-27403 (Ratify) and its kin: an unanchored pattern sends a cloud's token to whoever registers the name."""
    assert logins().find(host) is None


@dataclass
class Counted:
    """A cloud that counts, and gives what it is told to."""

    seconds: float = 3600.0
    fails: bool = False
    slow: float = 0.0
    asked: list[str] = field(default_factory=list)

    def log_in(self, host: str, asking: Asking) -> Lease:
        self.asked.append(host)
        time.sleep(self.slow)
        if self.fails:
            raise InconclusiveError(codes.LOGIN_FAILED, "no identity", where=host)
        return Lease(Basic("me", f"{CANARY}-{len(self.asked)}"), self.seconds)

    @property
    def logins(self) -> CloudLogins:
        return logins(Cloud(re.compile(r"[a-z]+\.cloud\.test"), self.log_in))


def test_what_was_given_is_kept_per_host_until_shortly_before_its_end() -> None:
    cloud = Counted()
    found = cloud.logins
    assert found.find("a.cloud.test") == found.find("a.cloud.test") == Basic("me", f"{CANARY}-1")
    assert found.find("b.cloud.test") == Basic("me", f"{CANARY}-2")
    assert cloud.asked == ["a.cloud.test", "b.cloud.test"]
    short = Counted(seconds=61.0)
    kept = short.logins
    kept.find("a.cloud.test")
    time.sleep(1.1)  # a minute before its end it is not shown any more
    kept.find("a.cloud.test")
    assert len(short.asked) == 2


def test_many_who_wait_cost_one_login() -> None:
    cloud = Counted(slow=0.2)
    found = cloud.logins
    threads = [threading.Thread(target=found.find, args=("a.cloud.test",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cloud.asked) == 1


def test_a_login_that_failed_is_not_repeated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Counted(fails=True)
    found = cloud.logins
    for _ in range(3):
        with pytest.raises(InconclusiveError) as caught:
            found.find("a.cloud.test")
        assert caught.value.code.name == "login-failed"
    assert len(cloud.asked) == 1
    later = time.monotonic() + 11
    monkeypatch.setattr("verifier.oci.cloud.time.monotonic", lambda: later)
    cloud.fails = False
    assert found.find("a.cloud.test")


def test_what_a_registry_refused_is_got_anew_unless_it_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Counted()
    credentials = Credentials(clouds=cloud.logins)
    assert credentials.find("a.cloud.test", "x") == Basic("me", f"{CANARY}-1")
    assert not credentials.refresh("a.cloud.test", "x")
    later = time.monotonic() + 60
    monkeypatch.setattr("verifier.oci.keychain.time.monotonic", lambda: later)
    assert not credentials.refresh("other.cloud.test", "x")
    assert credentials.refresh("a.cloud.test", "x")
    assert credentials.find("a.cloud.test", "x") == Basic("me", f"{CANARY}-2")


@pytest.mark.parametrize(
    "host, library, extra", [(ECR, "boto3", "aws"), ("gcr.io", "google.auth", "gcp"), ("acmecharts.azurecr.io", "azure.identity", "azure")]
)
def test_without_the_extra_its_name_is_said(host: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InconclusiveError, match=re.escape(f"helm-verifier[{extra}]")) as caught:
        logins().find(host)
    assert caught.value.code.name == "login-failed"


# Against stand-ins of the clouds


@dataclass
class StandIn:
    """A cloud's services on loopback; what is wrong with a question is kept, and the answer is then a refusal."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    refuse: bool = False

    def serve(self, handler: LineHandler) -> None:
        asked = handler.asked()
        asked = asked._replace(headers={name.lower(): text for name, text in asked.headers.items()})
        self.asked.append(asked)
        answer = error(403, "AccessDenied", "not you") if self.refuse else self.answer(asked)
        handler.say(answer)
        handler.wfile.write(answer.body)

    def answer(self, asked: Asked) -> Answer:
        if asked.headers.get("x-amz-target", "").endswith(".GetAuthorizationToken"):
            signed = "/eu-central-1/ecr/aws4_request" in asked.headers.get("authorization", "")
            token = base64.b64encode(f"AWS:{CANARY}".encode()).decode()
            data = [{"authorizationToken": token, "expiresAt": time.time() + 43200, "proxyEndpoint": f"https://{ECR}"}]
            return value({"authorizationData": data}, "application/x-amz-json-1.1") if signed else error(400, "InvalidSignature")
        if asked.path.startswith("/computeMetadata/") or asked.path == "/":
            return self.metadata(asked)
        if asked.path == "/token" and asked.method == "POST":
            grant = parse_qs(asked.body.decode()).get("grant_type")
            return _google_token() if grant == ["urn:ietf:params:oauth:grant-type:jwt-bearer"] else error(400, "invalid_grant")
        if asked.path == "/msi/token":
            query = parse_qs(asked.query)
            right = asked.headers.get("x-identity-header") == CANARY and query.get("resource") == ["https://containerregistry.azure.net"]
            ends = str(int(time.time()) + 3600)
            return value({"access_token": _jwt(tid="the-tenant"), "expires_on": ends, "token_type": "Bearer"}) if right else error(400, "BadRequest")
        return error(404, "NotFound")

    def metadata(self, asked: Asked) -> Answer:
        flavour = {"Metadata-Flavor": "Google"}
        if asked.headers.get("metadata-flavor") != "Google":
            return error(403, "MissingFlavor")
        if asked.path.endswith("/token"):
            return Answer(200, _google_token().body, {"Content-Type": "application/json", **flavour})
        if asked.path.endswith("/project/project-id"):
            return Answer(200, b"acme-prod", {"Content-Type": "text/plain", **flavour})
        about = {"email": "ci@acme.iam.gserviceaccount.com", "scopes": ["https://www.googleapis.com/auth/cloud-platform"], "aliases": ["default"]}
        return value(about, headers=flavour)


def _google_token() -> Answer:
    return value({"access_token": CANARY, "expires_in": 3599, "token_type": "Bearer"})


def _jwt(**claims: object) -> str:
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims, {}))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    cloud = StandIn()
    with serving(QuietServer(("127.0.0.1", 0), handler_of({"": cloud}))) as port:
        cloud.url = f"http://127.0.0.1:{port}"
        no_identity(monkeypatch)
        google_at(monkeypatch, cloud.url.removeprefix("http://"))
        settings = {
            "HOME": str(tmp_path),
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "AWS_REGION": "us-west-2",  # the registry's own region counts
            "AWS_ENDPOINT_URL_ECR": cloud.url,
            "IDENTITY_ENDPOINT": f"{cloud.url}/msi/token",
            "IDENTITY_HEADER": CANARY,
            "AZURE_TOKEN_CREDENTIALS": "prod",
        }
        for name, text in settings.items():
            monkeypatch.setenv(name, text)
        yield cloud


@contextlib.contextmanager
def without_files(name: str, work: Path, patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with standing(PROFILES[name], work) as stage:
        stage.config.write_text("{}")
        for variable, text in stage.net.environment.items():
            patch.setenv(variable, text)
        if name == "acr":
            stage.registry.switches.aad_token = _jwt(tid="the-tenant")
        yield stage


@pytest.mark.parametrize("name", ["ecr", "artifact-registry", "acr"])
def test_charts_are_pushed_and_read_with_the_clouds_own_identity(name: str, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_files(name, tmp_path, monkeypatch) as stage:
        chart = tmp_path / "web-1.4.2.tgz"
        chart.write_bytes(archive())
        pushed = run("push", str(chart), stage.base, *stage.options)
        assert pushed.status == 0, pushed.text
        read = run("inspect", f"{stage.base}/web:1.4.2", *stage.options, "--debug")
        assert read.status == 0, read.text
        assert stand_in.asked
        if name == "acr":
            assert any(path == "/oauth2/exchange" for path in stage.registry.paths("POST"))


def test_a_key_file_of_google(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {"type": "service_account", "client_email": "ci@acme.test", "private_key": private, "token_uri": f"{stand_in.url}/token", "private_key_id": "1"}
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    assert logins().find("europe-docker.pkg.dev") == Basic("oauth2accesstoken", CANARY)
    assert [asked.path for asked in stand_in.asked] == ["/token"]


@pytest.mark.parametrize("name", ["ecr", "artifact-registry", "acr"])
def test_a_cloud_that_refuses_is_named(name: str, stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.refuse = True
    with without_files(name, tmp_path, monkeypatch) as stage:
        read = run("inspect", f"{stage.base}/web:1.4.2", *stage.options)
        assert read.status == 3, read.text
        assert "login-failed" in read.text


def test_an_exchange_that_the_registry_refuses(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with without_files("acr", tmp_path, monkeypatch) as stage:
        for switches in ({"aad_token": "another"}, {"refresh_token": ""}):
            for key, text in switches.items():
                setattr(stage.registry.switches, key, text)
            read = run("inspect", f"{stage.base}/web:1.4.2", *stage.options)
            assert (read.status, "login-failed" in read.text) == (3, True), read.text
            stage.registry.switches.aad_token = _jwt(tid="the-tenant")


def test_what_everybody_may_read_needs_no_login(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.refuse = True
    with without_files("artifact-registry", tmp_path, monkeypatch) as stage:
        stage.registry.switches.anonymous_pull = True
        stage.registry.put(f"{stage.profile.path}/web", b'{"schemaVersion": 2, "config": {}, "layers": []}', "1.4.2")
        assert "login-failed" not in run("inspect", f"{stage.base}/web:1.4.2", *stage.options).text


def test_files_come_before_the_cloud(stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with standing(PROFILES["ecr"], tmp_path) as stage:
        monkeypatch.setenv("HTTPS_PROXY", stage.net.proxy)
        run("inspect", f"{stage.base}/web:1.4.2", *stage.options)
        assert not stand_in.asked
        stage.config.write_text(json.dumps({"auths": {stage.profile.host: {"auth": base64.b64encode(b"AWS:ended").decode()}}}))
        read = run("inspect", f"{stage.base}/web:1.4.2", *stage.options)
        assert stand_in.asked, "a password in a file that the registry refuses is followed by the cloud's"
        assert "not-found" in read.text
