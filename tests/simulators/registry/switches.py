"""How a simulated registry behaves, and where such behaviour was seen.

Quirks are what registries are known to do; each has its source in SOURCES, and `test_switches` shows that turning it on changes an answer.
Faults are what any server may do on a bad day.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Quirks:
    """Each default is what the specification asks for."""

    # Referrers
    referrers: bool = True
    referrers_html: bool = False
    referrers_login: str = ""  # the URL of a login page that the API is redirected to
    oci_subject: str = ""  # "", as the API is; "missing" with the API; "lying" without it
    referrers_page: int = 1000
    referrers_links: str = "relative"  # "absolute", or "harbor": pages by number, and a total
    filters: bool = True
    wrong_artifact_type: bool = False  # the config's media type in place of the manifest's artifactType
    alias_tags: bool = False
    subject_must_exist: bool = False
    # Manifests and tags
    immutable: str = ""  # an expression for the tags that cannot be moved
    immutable_but: str = ""  # and for those among them that can
    immutable_status: int = 400
    immutable_code: str = "TAG_INVALID"
    accept_needed: bool = False
    digest_header: bool = True
    platform_needed: bool = False  # in the entries of an index
    repositories: tuple[str, ...] | None = None  # those that exist; others cannot be pushed to
    tags_sorted: bool = True
    tags_ignore_n: bool = False
    tags_page: int = 0
    delete: bool = True
    delete_tags: bool = True
    catalog: bool = True
    # Blobs
    blob_store: str = ""  # the base URL that blobs are redirected to; it refuses whoever shows credentials
    upload_absolute: bool = False
    upload_elsewhere: str = ""  # a path outside /v2/ that uploads go on at
    mount: bool = True
    # Who may
    basic: tuple[str, str] | None = None
    ended_says_403: bool = False  # whoever shows another password
    bearer: tuple[str, str] | None = None  # user and password that the token endpoint wants; ("", "") takes anyone
    anonymous_pull: bool = False
    rights: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by user; without an entry, all
    refresh_token: str = ""  # what the token endpoint takes by POST instead of a password
    aad_token: str = ""  # what is exchanged for the refresh token
    token_methods: tuple[str, ...] = ("GET", "POST")
    token_name: str = "token"
    first_scope_only: bool = False
    token_life: int = 300
    negotiate: bool = False  # another scheme is offered first
    realm: str = ""  # another realm than our own /token
    cookies: bool = False  # are set, and whoever sends one back is taken for a browser without its CSRF token
    too_many: int = 0  # how many requests are refused before one is answered
    # The line
    clock: float = 0.0  # seconds that its clock is ahead
    warning: str = ""


@dataclass
class Faults:
    """By a fragment of the path, where a switch is a mapping or a text."""

    referrers_status: int = 0
    referrers_code: str = "UNKNOWN"
    referrers_lose: bool = False  # OCI-Subject is sent, the API answers, and lists nothing
    status: dict[str, int] = field(default_factory=dict)  # for every request that holds the fragment
    headers: dict[str, str] = field(default_factory=dict)  # sent along with those statuses
    body: dict[str, bytes] = field(default_factory=dict)  # body instead of the right one
    redirect: dict[str, str] = field(default_factory=dict)  # Location
    upload_location: str = ""
    truncate: str = ""  # whose body is cut in half while its length is announced in full
    drip: str = ""  # that is sent byte by byte
    delay: float = 0.0  # seconds before each answer
    stall: str = ""  # that is never answered
    reset: str = ""  # that the connection is reset at
    html: bool = False
    next_page: str = ""
    stop_at: int = 0  # the number of the write, counted from 1, before which everything stands still until `go_on` is set
    fail_at: int = 0  # the number of the write, counted from 1, that is answered with 500 instead of being done
    lose_at: int = 0  # the number of the write that is done, and whose answer is lost with the connection
    refuse_write: dict[str, int] = field(default_factory=dict)  # status for every PUT that holds the fragment
    swallow_fallback: int = 0  # how many writes of a fallback tag are lost
    forget_tokens_at: int = 0  # the number of the request at which all tokens given so far end


@dataclass
class Switches(Quirks, Faults):
    """Both."""


SOURCES = {
    "referrers": "distribution 2.8.2 and 3.1.1 (tried); GHCR: actions/attest-build-provenance#71; GitLab: oras-project/oras-go#1396",
    "referrers_html": "sigstore/sigstore-js#1187",
    "referrers_login": "awslabs/soci-snapshotter docs/registry.md (Google)",
    "oci_subject": "Docker Hub 2024: docker/hub-feedback#2372; ECR before 2024-06: sigstore/sigstore-js#1183; Quay 2025: opencontainers/distribution-spec#563",
    "referrers_page": "distribution-spec 1.1 Listing Referrers; oras-project/oras-go#1214",
    "referrers_links": "goharbor/harbor src/server/registry/referrers.go",
    "filters": "distribution-spec 1.1 Listing Referrers: filtering is a SHOULD",
    "wrong_artifact_type": "Harbor 2.8.1 to 2.10: awslabs/soci-snapshotter docs/registry.md",
    "alias_tags": "GitLab: oras-project/oras-go#1396",
    "subject_must_exist": "Docker Hub 2024: docker/hub-feedback#2372",
    "immutable": "ECR image tag mutability; Google: actions/attest-build-provenance#80; Harbor: goharbor/harbor#17332",
    "immutable_but": "ECR image tag mutability exclusion filters",
    "immutable_status": "Harbor answers 412 where ECR answers 400: goharbor/harbor#17332",
    "immutable_code": "Harbor: PRECONDITION; ECR: TAG_INVALID, as docker push prints it",
    "accept_needed": "distribution 2.8.2 (tried): 404 MANIFEST_UNKNOWN",
    "digest_header": "distribution-spec 1.1 Pulling manifests: Docker-Content-Digest is a MAY",
    "platform_needed": "Quay: PROJQUAY-4803",
    "repositories": "ECR: a repository is created before it is pushed to; Artifact Registry and Harbor: the project is",
    "tags_sorted": "distribution 2.8.2 (tried)",
    "tags_ignore_n": "distribution 2.8.2 (tried)",
    "tags_page": "distribution-spec 1.1 Listing Tags",
    "delete": "distribution: storage.delete.enabled is off by default",
    "delete_tags": "distribution 2.8.2 (tried): 400 DIGEST_INVALID",
    "catalog": "distribution docs/content/spec/api.md: hosted registries refuse it",
    "blob_store": "distribution-spec 1.1 Pulling blobs: a redirect may be answered; S3 refuses two kinds of authorization at once",
    "upload_absolute": "distribution-spec 1.1 Pushing blobs: Location may be absolute",
    "upload_elsewhere": "Artifact Registry: /artifacts-uploads/...",
    "mount": "distribution-spec 1.1 Mounting a blob: 202 means upload it",
    "basic": "ECR: AuthorizationData; distribution htpasswd; zot",
    "ended_says_403": "ECR: denied: Your authorization token has expired. Reauthenticate and try again.",
    "bearer": "distribution docs/content/spec/auth/token.md",
    "anonymous_pull": "GHCR, Docker Hub, Quay: public packages take a token without credentials",
    "rights": "distribution-spec 1.1 Error codes: DENIED",
    "refresh_token": "distribution docs/content/spec/auth/oauth.md; ACR: Azure/acr docs/AAD-OAuth.md",
    "aad_token": "ACR: Azure/acr docs/AAD-OAuth.md, POST /oauth2/exchange",
    "token_methods": "GHCR: POST is refused",
    "token_name": "distribution token.md: token or access_token; ACR sends access_token",
    "first_scope_only": "google/go-containerregistry transport/bearer.go",
    "token_life": "distribution token.md: 60 seconds without expires_in",
    "negotiate": "RFC 9110 section 11.6.1: several challenges",
    "realm": "Docker Hub: auth.docker.io; GitLab: gitlab.com/jwt/auth",
    "cookies": "Harbor: CSRF cookies, and a client that returns them counts as a browser",
    "too_many": "distribution-spec 1.1: 429; Docker Hub pull limits",
    "clock": "RFC 9110 section 6.6.1: Date",
    "warning": "distribution-spec 1.1 Warnings",
}
