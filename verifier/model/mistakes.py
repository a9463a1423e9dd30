"""The mistakes that everybody makes once: how each looks from here, and what to type next.

A code says what went wrong in general; where the reason or the host shows which mistake it was, its own advice is given instead. The page
docs/troubleshooting.md is made of this table. The first that fits wins, so the special stand before the general.
"""

from __future__ import annotations

import re

from msgspec import Struct

from verifier.model import codes
from verifier.model.codes import Code

_ECR = r"\.dkr[.-]ecr[.-].*\.(amazonaws\.com|on\.aws)|public\.ecr\.aws"
_GOOGLE = r"-docker\.pkg\.dev|\bgcr\.io"
_AZURE = r"\.azurecr\.(io|cn|us|de)"
_HUB = r"docker\.io"


class Mistake(Struct, frozen=True, kw_only=True):
    """`reason` and `where` are searched for in an error's words and place, case apart; `example` is an error that shows it."""

    title: str
    codes: tuple[Code, ...]
    reason: str = ""
    where: str = ""
    why: str
    advice: str
    example: tuple[str, str]  # place, words

    def fits(self, code: Code, where: str, reason: str) -> bool:
        """Whether an error is this mistake."""
        return code in self.codes and re.search(self.reason, reason, re.IGNORECASE) is not None and re.search(self.where, where, re.IGNORECASE) is not None


def advise(code: Code, where: str = "", reason: str = "") -> str:
    """What to do: of the first mistake that fits, else of the code."""
    found = next((mistake for mistake in MISTAKES if mistake.fits(code, where, reason)), None)
    return found.advice if found is not None else code.advice


MISTAKES = (
    Mistake(
        title="https:// instead of oci://",
        codes=(codes.NOT_FOUND, codes.REGISTRY_NONSENSE),
        reason=r"index\.yaml: not found|a web page instead of an index|it is no index",
        why="`https://` names a chart repository, which is an `index.yaml` on a web server. A chart in a registry is named `oci://HOST/PATH/NAME:VERSION`, without `/v2/` or a web page's path in it.",
        advice="If the chart lies in a registry, write oci:// in place of https://: oci://HOST/PATH/NAME:VERSION. If it lies in a chart repository, write the URL below which its index.yaml lies, then /NAME:VERSION.",
        example=("https://ghcr.io:443", "https://ghcr.io/acme/charts/index.yaml: not found"),
    ),
    Mistake(
        title="https:// where a registry is meant",
        codes=(codes.REFERENCE_INVALID,),
        where=r"https?://",
        reason=r"expected|must begin with oci://|in a registry",
        why="Charts are pushed to registries, copied between them, and listed and kept there. A chart repository is files on a web server: it is read only.",
        advice="This is about a registry: write oci://HOST/PATH/NAME:VERSION, as `helm push` and `helm pull` do, or HOST/PATH/NAME where a host is asked for.",
        example=("https://ghcr.io/acme/charts/web:1.4.2", "expected oci://HOST/PATH/NAME[:TAG] or oci-layout://DIR[:TAG]"),
    ),
    Mistake(
        title="A chart repository that wants a login",
        codes=(codes.UNAUTHORIZED, codes.FORBIDDEN),
        reason=r"index\.yaml: not|\.tgz: not",
        why="The chart repository is not for everybody. Credentials are read from what `helm repo add` keeps for exactly this URL, and from what is kept for its host.",
        advice="Run `helm repo add NAME URL --username USER`, or `verifier registry login HOST`; in Kubernetes make a pull secret for the host.",
        example=("https://charts.acme.example:443", "https://charts.acme.example/stable/index.yaml: not logged in"),
    ),
    Mistake(
        title="A chart repository without signatures",
        codes=(codes.UNSIGNED,),
        where=r"^https?://",
        reason="nothing is attached",
        why="In a chart repository a signature is a file beside the archive, under the archive's whole name: `web-1.4.2.tgz.prov` (OpenPGP) or `web-1.4.2.tgz.sigstore.json`. Only the kinds are looked for that the policy trusts a key of.",
        advice="Sign the archive (`helm package --sign`, or `verifier sign NAME-VERSION.tgz`), and publish the .prov or .sigstore.json beside it.",
        example=("https://charts.acme.example/stable/web:1.4.2", "expected a signature by ci; nothing is attached to the chart"),
    ),
    Mistake(
        title="A chart or version that the index does not list",
        codes=(codes.NOT_FOUND,),
        reason="the index lists",
        why="The name and the version must stand in the repository's index.yaml as they are written, but for a `v` before the version. A range (`^1.4`) is not resolved: it may mean another chart tomorrow.",
        advice="See what there is: `helm show chart NAME --repo URL`, or the repository's index.yaml.",
        example=("https://charts.acme.example/stable/index.yaml", "the index lists 12 versions of 'web', and not 1.4.3"),
    ),
    Mistake(
        title="An ECR token that has expired",
        codes=(codes.FORBIDDEN, codes.UNAUTHORIZED),
        where=_ECR,
        reason=r"expired|not logged in",
        why="A password for Amazon ECR is good for twelve hours, and `docker login` keeps it as if it were good for ever.",
        advice="Get a new password: `aws ecr get-login-password | verifier registry login HOST -u AWS --password-stdin`, or install the extra `aws`, or the helper `ecr-login`.",
        example=("https://123456789012.dkr.ecr.eu-central-1.amazonaws.com:443", "manifest 1.4.2: not permitted (the registry says: DENIED Your authorization token has expired)"),
    ),
    Mistake(
        title="A repository that ECR does not have yet",
        codes=(codes.NOT_FOUND,),
        where=_ECR,
        reason="NAME_UNKNOWN|does not exist",
        why="Amazon ECR makes no repository by itself when something is pushed, unless a creation template says so.",
        advice="Create the repository, with the chart's name at its end: `aws ecr create-repository` for PATH/NAME.",
        example=("https://123456789012.dkr.ecr.eu-central-1.amazonaws.com:443", "starting an upload: not found (the registry says: NAME_UNKNOWN The repository with name 'charts/web' does not exist)"),
    ),
    Mistake(
        title="Not logged in to Google's registry",
        codes=(codes.FORBIDDEN, codes.UNAUTHORIZED),
        where=_GOOGLE,
        why="Access tokens are good for an hour; a service account needs the role Artifact Registry Reader, to sign Writer.",
        advice="Run `gcloud auth configure-docker HOST`, or install the extra `gcp` and have default credentials; the account needs artifactregistry.reader, to sign writer.",
        example=("https://europe-docker.pkg.dev:443", 'manifest 1.4.2: not permitted (the registry says: DENIED Permission "artifactregistry.repositories.downloadArtifacts" denied)'),
    ),
    Mistake(
        title="Not logged in to Azure's registry",
        codes=(codes.UNAUTHORIZED, codes.FORBIDDEN),
        where=_AZURE,
        why="What `az acr login` gets is good for three hours; an identity needs the role AcrPull, to sign AcrPush.",
        advice="Run `az acr login --name NAME`, or install the extra `azure`; the identity needs AcrPull, to sign AcrPush.",
        example=("https://acmecharts.azurecr.io:443", "manifest 1.4.2: not logged in (the registry says: UNAUTHORIZED authentication required)"),
    ),
    Mistake(
        title="A token that may not write packages",
        codes=(codes.FORBIDDEN, codes.UNAUTHORIZED),
        where=r"\bghcr\.io",
        why="A token for GHCR reads with `read:packages` and writes with `write:packages`; GITHUB_TOKEN needs `permissions: {packages: write}` in the workflow, and a package made by another repository must let this one in.",
        advice="Use a token with read:packages (to sign: write:packages); in a workflow set `permissions: {packages: write}` and give the package's settings this repository.",
        example=("https://ghcr.io:443", "starting an upload: not permitted (the registry says: DENIED permission_denied: write_package)"),
    ),
    Mistake(
        title="Docker Hub's pull limit",
        codes=(codes.RATE_LIMITED,),
        where=_HUB,
        why="Who is not logged in may pull so many times in six hours from one address, which all behind a gateway share.",
        advice="Log in (`verifier registry login docker.io`), wait as long as it says, or read from a mirror.",
        example=("https://registry-1.docker.io:443", "manifest 1.4.2: too many requests (the registry says: TOOMANYREQUESTS You have reached your pull rate limit)"),
    ),
    Mistake(
        title="Not logged in",
        codes=(codes.UNAUTHORIZED,),
        reason=r"not logged in|token server refused",
        why="The registry wants credentials and got none, or wrong ones.",
        advice="Run `verifier registry login HOST` (in Kubernetes: make a pull secret), or see by `verifier registry check HOST/PATH/NAME` which credentials are used.",
        example=("https://registry.acme.example:443", "manifest 1.4.2: not logged in (the registry says: UNAUTHORIZED authentication required)"),
    ),
    Mistake(
        title="A path that is not there",
        codes=(codes.NOT_FOUND,),
        reason="NAME_UNKNOWN|PROJECT.*not found",
        why="The registry knows no such repository, or does not tell whoever may not read it. `helm push` appends the chart's name to the path: a chart `web` that was pushed to `oci://HOST/charts` is `oci://HOST/charts/web`.",
        advice="Check the path, with the chart's name at its end (oci://HOST/PATH/NAME), that its project exists, and that you may read it.",
        example=("https://registry.acme.example:443", "manifest 1.4.2: not found (the registry says: NAME_UNKNOWN repository name not known to registry)"),
    ),
    Mistake(
        title="A version that is not there",
        codes=(codes.NOT_FOUND,),
        reason="MANIFEST_UNKNOWN|manifest .*not found",
        why="The repository is there, the tag is not. Tags have no `+`: version 1.0.0+a is the tag 1.0.0_a. Some registries answer the same for a path that is not there.",
        advice="Check the version and the path; `verifier registry check HOST/PATH/NAME` counts what tags there are.",
        example=("https://registry.acme.example:443", "manifest 1.4.3: not found (the registry says: MANIFEST_UNKNOWN manifest unknown)"),
    ),
    Mistake(
        title="A registry without TLS",
        codes=(codes.TLS_FAILED,),
        reason="WRONG_VERSION_NUMBER|record layer failure|HTTP_REQUEST|UNEXPECTED_EOF|packet length too long",
        why="The port speaks plain HTTP and was asked in TLS. Loopback registries are spoken to in plain HTTP by themselves.",
        advice="Give --plain-http if that registry really has no TLS; better, give it TLS.",
        example=("https://registry.acme.example:5000", "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
    ),
    Mistake(
        title="TLS, asked in plain HTTP",
        codes=(codes.REGISTRY_ERROR, codes.REGISTRY_NONSENSE, codes.UNREACHABLE),
        reason="HTTP request to an HTTPS server|plain HTTP request was sent to HTTPS port|status 400.*HTTPS",
        why="The registry speaks TLS and was asked without, by --plain-http or because it is on loopback.",
        advice="Leave --plain-http out; for a loopback registry with TLS give its --ca-file.",
        example=("http://127.0.0.1:5000", "manifest 1.4.2: status 400 (Client sent an HTTP request to an HTTPS server.)"),
    ),
    Mistake(
        title="A certificate of an unknown CA",
        codes=(codes.TLS_FAILED,),
        reason="unable to get (local )?issuer|self[- ]signed",
        why="The registry's certificate is of a private CA, of a proxy that breaks TLS open, or of nobody.",
        advice="Give the CA's certificate by --ca-file (or VERIFIER_CA_FILE).",
        example=("https://registry.acme.example:443", "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate"),
    ),
    Mistake(
        title="A certificate for another name, or one that has ended",
        codes=(codes.TLS_FAILED,),
        reason="mismatch|doesn't match|not valid for|has expired",
        why="The certificate is right, but not for this name or not for today.",
        advice="Use the name that stands in the certificate, or have it renewed; check this machine's clock.",
        example=("https://registry.acme.example:443", "certificate verify failed: Hostname mismatch, certificate is not valid for 'registry.acme.example'"),
    ),
    Mistake(
        title="A name that does not resolve",
        codes=(codes.UNREACHABLE,),
        reason="does not resolve|has no address",
        why="The host is misspelt, or known in another network only.",
        advice="Check the spelling and DNS; behind a proxy set HTTPS_PROXY, which then resolves names.",
        example=("registry.acme.exmaple:443", "the name 'registry.acme.exmaple' does not resolve: [Errno -2] Name or service not known"),
    ),
    Mistake(
        title="A proxy that wants a password",
        codes=(codes.PROXY_FAILED,),
        reason="407",
        why="The proxy asks who you are.",
        advice="Put user and password into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT, special characters percent-encoded.",
        example=("https://ghcr.io:443", "the proxy: Tunnel connection failed: 407 Proxy Authentication Required"),
    ),
    Mistake(
        title="A login page in between",
        codes=(codes.REGISTRY_NONSENSE,),
        reason="web page|<html",
        why="A web page was answered where a registry should: a portal, a single sign-on, or the registry's own web interface under another path.",
        advice="Check the host; a portal or single sign-on in front of the registry must let /v2/ through.",
        example=("https://registry.acme.example:443", "a web page instead of manifest 1.4.2"),
    ),
)  # fmt: skip
