"""Every code that a decision or an error can carry, declared once.

A code is stable: users' scripts, alerts and policies name it. Each has a family (who is at fault) and one line of advice;
`docs/codes.md` is generated from this table, and tests hold that each is emitted by code and asserted by a denial.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Family(StrEnum):
    """Failed, inconclusive and misused are never blurred."""

    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    MISUSE = "misuse"


class Code(Struct, frozen=True):
    """A stable name, its family, and one line that tells a person what to do next."""

    name: str
    family: Family
    advice: str


ALL: dict[str, Code] = {}


def _declare(family: Family, name: str, advice: str) -> Code:
    if name in ALL:
        raise AssertionError(f"code {name} is declared twice")
    ALL[name] = Code(name, family, advice)
    return ALL[name]


def _failed(name: str, advice: str) -> Code:
    return _declare(Family.FAILED, name, advice)


def _inconclusive(name: str, advice: str) -> Code:
    return _declare(Family.INCONCLUSIVE, name, advice)


def _misuse(name: str, advice: str) -> Code:
    return _declare(Family.MISUSE, name, advice)


# Misuse: the request, the command line, the policy or a key of one's own.
REFERENCE_INVALID = _misuse(
    "reference-invalid",
    "Write oci://HOST/PATH/NAME:VERSION, ...@sha256:HEX, https://HOST/PATH/NAME:VERSION for a chart repository, oci-layout://DIR:TAG or a path to a .tgz.",
)
USAGE = _misuse("usage", "See the command's --help.")
NO_POLICY = _misuse("no-policy", "Give --policy FILE or trust flags such as --key or --openpgp-keyring; nothing is trusted by itself.")
REVIEW_INVALID = _misuse("review-invalid", "The body must be an AdmissionReview of admission.k8s.io/v1, as the Kubernetes API server sends it.")
POLICY_INVALID = _misuse("policy-invalid", "Correct the policy at the line that is named; `verifier policy lint FILE` checks it.")
TRUST_INVALID = _misuse(
    "trust-invalid", "The trust file must hold public keys or certificates of the kind that the policy says; `verifier keys show FILE` tells what it holds."
)
KEY_INVALID = _misuse("key-invalid", "Give a private key as PEM (P-256, P-384, P-521, RSA 2048-4096) or in cosign's encrypted form.")
KEY_UNSUPPORTED = _misuse("key-unsupported", "Use an ECDSA P-256, P-384, P-521 or an RSA 2048-4096 key.")
PASSPHRASE_WRONG = _misuse("passphrase-wrong", "Set VERIFIER_PASSWORD (or COSIGN_PASSWORD) to the key's passphrase, or give it in a file.")
SIGNING_FAILED = _misuse("signing-failed", "The key could not sign; nothing was written. Check the key, its passphrase and its expiry.")
EXTRA_MISSING = _misuse("extra-missing", "Install the extra that is named: pip install 'helm-verifier[NAME]'.")
TOKEN_INVALID = _misuse(
    "token-invalid",
    "Give a current identity token for the audience `sigstore`: SIGSTORE_ID_TOKEN, --identity-token-file, or your CI's own (GitHub: `id-token: write`).",
)
FILE_UNREADABLE = _misuse("file-unreadable", "Check the path and its permissions.")
WRITE_FAILED = _misuse("write-failed", "Check free space and permissions; nothing partial was left behind.")
RECORDING_INVALID = _misuse(
    "recording-invalid", "Give the directory that `verifier record` wrote, whole and unchanged; record the decision again if it is older than this program."
)
BUNDLE_INVALID = _misuse("bundle-invalid", "Give a file that `verifier bundle create` wrote, whole and unchanged.")
BUNDLE_POLICY = _misuse(
    "bundle-policy", "Give --policy, or --own-policy with the digest that `verifier bundle create` printed, learnt by another way than the bundle itself."
)
EXCEPTION_INVALID = _misuse(
    "exception-invalid", "Correct the exception, and sign it with a key that the policy names under `exceptions: {by}`: `verifier policy grant`."
)
CONFIG_INVALID = _misuse("config-invalid", "Correct the settings or the registry configuration file that is named.")
PREDICATE_INVALID = _misuse("predicate-invalid", "Give --type and a --predicate FILE with the JSON object that this type of attestation holds.")
TAG_NEEDS_CHART = _misuse("tag-needs-chart", "Sign a digest (...@sha256:HEX), or give --chart FILE so that the tag's content is compared with yours.")
CHART_MISMATCH = _misuse("chart-mismatch", "The tag does not hold the chart that you have; sign the digest that your own push printed.")
CHART_INVALID = _misuse("chart-invalid", "Correct the chart directory; `helm lint` shows more.")
TAG_EXISTS = _misuse("tag-exists", "This version is published with other content and a tag is never moved; publish a new version.")
UNSAFE_LISTEN = _misuse("unsafe-listen", "Give --callers, listen on loopback, or spell it out with --unsafe-no-auth.")
UNAUTHENTICATED = _misuse("unauthenticated", "Send a bearer token of one of the configured callers.")
TOOL_MISSING = _misuse("tool-missing", "Install the program that is named, or use a form that does not need it.")
PLUGIN_FOREIGN = _misuse("plugin-foreign", "Remove the other plugin of this name (`helm plugin uninstall NAME`), or give another directory with --plugins.")
PLUGIN_BROKEN = _misuse("plugin-broken", "Install verifier into a Python of its own (a venv, pipx), and run `verifier helm install-plugin` from there.")
NO_CHART = _misuse("no-chart", "Give a Chart.yaml with dependencies, a helmfile, a kustomization, objects of Argo CD or Flux, or a list of references.")
RELEASE_TAG = _misuse("release-tag", "Tag the commit as --require-tag says, with the version of Chart.yaml, and release from that tag.")

# Failed: the chart itself.
CHART_MANIFEST_INVALID = _failed("chart-manifest-invalid", "The manifest is not a valid OCI image manifest; push the chart again with a current client.")
CHART_UNVERIFIABLE = _failed(
    "chart-unverifiable",
    "Name the chart as oci://HOST/PATH/NAME (or https://HOST/PATH/NAME in a chart repository) with one version; what else is named there cannot be verified by anybody.",
)
NOT_A_CHART = _failed("not-a-chart", "The reference names something that is not a Helm chart; check the repository and the tag.")
INDEX_NOT_CHART = _failed("index-not-chart", "The reference names an image index; give the digest of the chart's own manifest.")
CHART_LAYERS = _failed("chart-layers", "A chart manifest has exactly one chart layer and at most one provenance layer; push it again with a current client.")
DIGEST_MISMATCH = _failed("digest-mismatch", "The registry served other bytes than the digest names: treat the registry or a proxy before it as compromised.")
TAG_MOVED = _failed("tag-moved", "The tag no longer names the digest that was given; someone moved it. Use the digest that you reviewed.")
CONFIG_MISMATCH = _failed("config-mismatch", "The manifest's config and the archive's Chart.yaml disagree; the chart was tampered with or badly repackaged.")
NAME_MISMATCH = _failed("name-mismatch", "The chart's name differs from the repository it lies in; say `chart: {name: ...}` in the rule if that is meant.")
VERSION_MISMATCH = _failed("version-mismatch", "The chart's version differs from its tag; list the tag under `channels:` if it is a moving channel.")
ARCHIVE_INVALID = _failed("archive-invalid", "The archive is not a well-formed gzip tar with one chart; package it again.")
ARCHIVE_TRAVERSAL = _failed("archive-traversal", "The archive holds a path that leaves the chart; do not unpack it.")
ARCHIVE_ENTRY = _failed("archive-entry", "The archive holds a link, device or other entry that a chart must not have.")
ARCHIVE_AMBIGUOUS = _failed("archive-ambiguous", "The archive can be read in two ways (duplicates, several roots, backslashes); package it again.")
ARCHIVE_TRAILING = _failed("archive-trailing", "The archive holds data after its end; what was signed and what is read may differ.")
ARCHIVE_LIMIT = _failed("archive-limit", "The archive is larger than Helm would read; make the chart smaller.")
METADATA_INVALID = _failed("metadata-invalid", "Chart.yaml, the config or the provenance metadata is malformed or ambiguous; correct it and package again.")
JSON_INVALID = _failed("json-invalid", "The document is not strict JSON (duplicate keys, depth, encoding); whoever wrote it must write it again.")

# Failed: evidence.
PROVENANCE_MALFORMED = _failed("provenance-malformed", "The .prov file is not one clean clear-signed message; sign the chart again.")
PROVENANCE_MISMATCH = _failed("provenance-mismatch", "The .prov file speaks of another file or version; it was copied from another chart.")
OPENPGP_UNKNOWN_KEY = _failed("openpgp-unknown-key", "No keyring of the policy holds this key; if the signer is trusted, add the key and its fingerprint.")
OPENPGP_BAD_SIGNATURE = _failed("openpgp-bad-signature", "The text was changed after signing, or the key may not sign; get the chart from its origin again.")
OPENPGP_WEAK = _failed("openpgp-weak", "The signature uses a hash or key that is too weak (SHA-1, MD5, RIPEMD-160, RSA below 2048); sign again.")
OPENPGP_UNSUPPORTED = _failed("openpgp-unsupported", "Ask the signer for a key on a NIST curve, Ed25519 or RSA; Helm 3 cannot verify this one either.")
OPENPGP_EXPIRED_SIGNATURE = _failed("openpgp-expired-signature", "The signature itself has expired; ask the signer for a fresh one.")
OPENPGP_FUTURE = _failed("openpgp-future", "The signature is dated in the future; check both clocks.")
OPENPGP_KEY_REVOKED = _failed("openpgp-key-revoked", "The signing key was revoked; get a chart that was signed with a current key.")
PROVENANCE_MISSING = _failed(
    "provenance-missing",
    "The chart carries no .prov, which Helm's --verify asks for: leave --verify out, since the policy judges the chart, or sign it with OpenPGP.",
)
BUNDLE_MALFORMED = _failed("bundle-malformed", "The bundle does not follow the sigstore bundle specification; sign again with a current client.")
CERTIFICATE_INVALID = _failed(
    "certificate-invalid", "The signing certificate is not one for signing code with one identity; it was not issued by Fulcio or a CA like it."
)
CERTIFICATE_UNTRUSTED = _failed(
    "certificate-untrusted", "No trusted root of the policy issued this certificate; if its CA is trusted, name its trusted_root.json under `roots:`."
)
CERTIFICATE_TIME = _failed("certificate-time", "The signature was made outside the certificate's life, so it is not the certified signer's; sign again.")
SCT_MISSING = _failed("sct-missing", "Fewer certificate transparency logs vouch for the certificate than the root demands; check the CA's log and the root.")
LOG_ENTRY_INVALID = _failed("log-entry-invalid", "A log entry's promise, proof or checkpoint does not verify; the bundle was changed or the log forked.")
LOG_ENTRY_MISMATCH = _failed("log-entry-mismatch", "The log entry is of another signature, key or artifact; it was copied from elsewhere.")
LOG_MISSING = _failed("log-missing", "Fewer trusted logs hold the signature than the root demands; sign with a log, or lower `tlog:` for a root without one.")
TIMESTAMP_INVALID = _failed("timestamp-invalid", "A timestamp does not verify or is over other bytes; sign again.")
TIMESTAMP_MISSING = _failed("timestamp-missing", "Fewer trusted timestamps than the root demands; sign with its timestamp authority.")
TIME_UNPROVEN = _failed(
    "time-unproven", "Neither a log nor a timestamp proves when it was signed, and a short-lived certificate needs that; sign with a timestamp authority."
)
SIGNATURE_INVALID = _failed("signature-invalid", "The certificate's key did not make this signature; the content was changed after signing.")
KEY_UNKNOWN = _failed("key-unknown", "No key of the policy verifies this signature; if the signer is trusted, add the public key.")
KEY_OUTSIDE_WINDOW = _failed("key-outside-window", "The key is outside its validity window in the policy; use a current key.")
SUBJECT_MISMATCH = _failed("subject-mismatch", "The signature is valid but for other bytes; it was copied from another chart.")
EVIDENCE_UNUSED = _failed("evidence-unused", "The policy trusts no key of this kind, so this evidence was not read; it neither helps nor harms.")
INDEX_DIGEST = _failed(
    "index-digest",
    "The chart repository's index names another digest than its archive has; it neither helps nor harms. Let its operator index it anew (`helm repo index`).",
)
EVIDENCE_FOREIGN = _failed("evidence-foreign", "An attached artifact of a type that is not judged; it neither helps nor harms.")

TRUST_UPDATE_REFUSED = _failed("trust-update-refused", "The TUF repository does not verify, so nothing was changed; ask its operator, or wait.")

# Failed: requirements of the policy.
NO_RULE = _failed("no-rule", "No rule of the policy covers this chart, and the default is deny; add a rule for its repository.")
CONTEXT_MISSING = _failed(
    "context-missing", "A rule for this chart selects on a context key that the request does not carry; pass --environment, --cluster or --namespace."
)
UNSIGNED = _failed("unsigned", "Nothing attached to the chart is a signature; sign it with `verifier sign`, or check that you look in the right place.")
SIGNER_NOT_ALLOWED = _failed(
    "signer-not-allowed", "What is attached proves no signature by a signer that this rule names; each piece is listed with its reason."
)
ORIGIN_MISMATCH = _failed(
    "origin-mismatch", "The signature names another repository; list that repository under the rule's `origins:` if it is a known origin."
)
REPOSITORY_UNBOUND = _failed("repository-unbound", "The rule demands a signature that names its repository; sign with `verifier sign`, which writes it.")
KEY_EXPIRED = _failed("key-expired", "The key has expired since it signed; sign again, or say `expiredKeys: allow` in the rule.")
KEY_RETIRED = _failed(
    "key-retired", "The key was revoked after it signed; sign again, or say `retiredKeys: allow` in the rule if it was retired in good order."
)
ATTESTATION_MISSING = _failed("attestation-missing", "No attestation of this type by a trusted signer is attached; attach one with `verifier attest`.")
ATTESTATION_CONDITION = _failed("attestation-condition", "The attestation is trusted, but does not say what the rule demands; the first difference is named.")
ATTESTATION_FORGED = _failed(
    "attestation-forged", "The provenance says another source than the certificate of its signer; the build job may have written it itself."
)
SUMMARY_MISSING = _failed("summary-missing", "No summary of another verifier's decision is attached; let it run `verifier verify --attest-decision`.")
SUMMARY_REFUSED = _failed("summary-refused", "The summary is signed by the right key, but is of another question, too old, or leaned on something weak.")
IDENTITY_MISMATCH = _failed(
    "identity-mismatch", "It is signed, but by an identity that the rule does not name; if that signer is trusted, add issuer, identity and repository."
)
ROOT_TOO_OLD = _failed("root-too-old", "The trusted root is older than the policy allows; run `verifier trust update`, or replace its file.")
TLOG_REQUIRED = _failed("tlog-required", "The policy wants this key's signatures in a transparency log; sign with a log entry.")
THRESHOLD = _failed("threshold", "Fewer distinct signers than the rule demands; a signer counts once however often it signs.")
WINDOW_CLOSED = _failed("window-closed", "The branch is outside its since/until window; satisfy another branch.")
DIGEST_NOT_LISTED = _failed("digest-not-listed", "The digest is not among those that were reviewed; review it and add it with owner, reason and expiry.")
DENY_LISTED = _failed("deny-listed", "The policy's deny list names this chart or signer; nothing overrides it.")
NOT_PINNED = _failed("not-pinned", "The rule demands a digest; ask for NAME:VERSION@sha256:HEX.")
VERSION_REFUSED = _failed("version-refused", "The version is outside the range that the rule allows; a lower one may be a rollback.")
PRERELEASE = _failed("prerelease", "The rule refuses pre-release versions.")
CHART_CONDITION = _failed("chart-condition", "The chart does not meet a condition of the rule that is named.")
TOO_OLD = _failed("too-old", "The signature is older than the rule allows; sign the release again.")
AGE_UNPROVEN = _failed("age-unproven", "No log or timestamp proves when the chart was signed; say `clock: signer` to believe the signer's own clock.")
REQUIREMENTS_FAILED = _failed("requirements-failed", "At least one requirement that must hold does not; each is listed with its own reason.")

SUBCHART_DIFFERS = _failed(
    "subchart-differs", "The archive in charts/ is not what its repository holds under that version; run `helm dependency update`, and ask who changed it."
)
SUBCHART_UNPACKED = _failed(
    "subchart-unpacked", "An unpacked chart has no origin to be compared with; pack it, or let the chart's own signature stand for it: `unpacked: parent`."
)
SUBCHART_UNJUDGED = _failed(
    "subchart-unjudged",
    "No rule can judge this subchart: it needs an oci:// repository in Chart.yaml and a rule for it, or the rule must say `partial: accept`.",
)
DEPENDENCY_DRIFT = _failed(
    "dependency-drift",
    "Another chart than the one that was recorded lies under that version; ask who changed it, and record it anew with `verifier dependencies verify --update` if it is meant.",
)
DEPENDENCY_MISSING = _failed(
    "dependency-missing",
    "A declared dependency is not in charts/ and would be fetched when the chart is installed; run `helm dependency update` before packaging.",
)
IMAGE_REFUSED = _failed(
    "image-refused", "The chart names an image that the rule does not allow: pin it by digest, take it from a listed repository, or correct its name."
)

EXPRESSION_FALSE = _failed("expression-false", "The policy's expression, which is named, does not hold for this chart or signature.")
EXPRESSION_ERROR = _failed(
    "expression-error", "The expression reads what is not there, or takes too many steps; guard it with has(...) or `in`. It never passes by an error."
)

POLICY_REFUSED = _failed(
    "policy-refused", "The policy in the registry is not signed by whom the trust file names, is an old one, or is none; nothing was decided by it."
)

# Failed: objects of Kubernetes.
UNPINNED = _failed(
    "unpinned",
    "Write the digest that was verified into the object, or say `unsafe_allow_unpinned` in the rule: a name alone may be another chart tomorrow.",
)
KIND_UNKNOWN = _failed(
    "kind-unknown",
    "This kind, or this version of its API, is not known; take it out of the webhook's rules, or use a version that is in docs/admission-kinds.md.",
)
RECORD_INVALID = _failed("record-invalid", "A release record must be what Helm writes; remove what pretends to be one.")
RECORD_FROZEN = _failed("record-frozen", "The chart of a release record never changes once it is written; install or upgrade with Helm instead.")
RECORD_MISMATCH = _failed("record-mismatch", "What is being installed is not the chart that was verified; install the one from the registry, unchanged.")
RECORD_PARTIAL = _failed(
    "record-partial",
    "The chart holds other charts, of which a release record says nothing; say `unsafe_allow_partial_records` in the rule, or install by an installer that names its chart.",
)
RECORD_VALUES = _failed(
    "record-values", "The chart's own values are others than those of the verified chart; do not change values.yaml, give values with -f or --set."
)
NO_SOURCE = _failed(
    "no-source", "Nothing in the object says where its chart comes from, and the policy lists no repository that has it; see `sources:` in docs/policy.md."
)

# Inconclusive: we could not tell.
ORIGIN_MISSING = _inconclusive("origin-missing", "Create the object that is named, before the one that names it; most controllers try again by themselves.")
NOT_RECORDED = _inconclusive(
    "not-recorded", "The store of decisions cannot be written or read: see its disk and permissions. What cannot be recorded is not allowed."
)
LOOKUP_FAILED = _inconclusive("lookup-failed", "The Kubernetes API must be reachable, and this server's account must be allowed to read what is named.")
PULL_SECRET_INVALID = _inconclusive(
    "pull-secret-invalid", "Make the pull secret of the object's namespace anew, with `kubectl create secret docker-registry`, or take it away."
)
NAMESPACE_KEY = _inconclusive(
    "namespace-key", "The policy takes this key from a Secret of the object's namespace; put the PEM public key there, under the name that the policy says."
)
NOT_FOUND = _inconclusive("not-found", "The chart, its tag or its repository is not there; check the spelling and that you may read it.")
UNAUTHORIZED = _inconclusive(
    "unauthorized", "The registry wants credentials: run `helm registry login HOST` (in Kubernetes: make a pull secret), or check that they are current."
)
LOGIN_FAILED = _inconclusive(
    "login-failed",
    "The cloud gave no credential for its registry; see the reason, check this machine's or job's identity and its rights there, or log in with `verifier registry login`.",
)
FORBIDDEN = _inconclusive("forbidden", "The credentials are known but may not do this; ask for the right on this repository.")
RATE_LIMITED = _inconclusive("rate-limited", "The registry refuses for now; wait as long as it says, or log in for a higher limit.")
REGISTRY_ERROR = _inconclusive("registry-error", "The registry answered with an error; try again, and ask its operator if it stays.")
REGISTRY_NONSENSE = _inconclusive("registry-nonsense", "The answer is not what a registry says; check the host name, a proxy or a login page in between.")
UNREACHABLE = _inconclusive("unreachable", "The host could not be reached; check its name, the network and whether it needs --plain-http.")
PROXY_FAILED = _inconclusive(
    "proxy-failed", "The proxy that HTTPS_PROXY or HTTP_PROXY names refuses or cannot be reached; ask its operator, or list the registry in NO_PROXY."
)
TLS_FAILED = _inconclusive("tls-failed", "The TLS certificate could not be verified; give --ca-file for a private CA.")
TIMEOUT = _inconclusive("timeout", "The answer did not come in time; try again.")
EGRESS_DENIED = _inconclusive("egress-denied", "The address is not one that this service may talk to; allow it in the egress settings if it is meant.")
AUTH_REFUSED = _inconclusive("auth-refused", "The registry points to a token server that we do not trust with credentials; check the realm it names.")
EVIDENCE_LIMIT = _inconclusive("evidence-limit", "More or larger evidence than is read; remove what does not belong there.")
RESPONSE_LIMIT = _inconclusive("response-limit", "The answer is larger than anything that belongs there.")
TOO_MANY = _inconclusive("too-many", "This caller asks more often than `--rate` allows; wait as long as Retry-After says.")
OVERLOADED = _inconclusive("overloaded", "The service has too many requests in hand; try again.")
ATTACHMENT_LOST = _inconclusive("attachment-lost", "The registry does not show what was just attached; run the command again.")
TAG_IMMUTABLE = _inconclusive(
    "tag-immutable",
    "The registry keeps this tag as it is. For `sha256-...`, where lists of signatures lie without the referrers API, exclude such tags from immutability.",
)
SIGNING_SERVICE_FAILED = _inconclusive(
    "signing-service-failed", "The CA, log or timestamp authority refused or did not answer; nothing was attached, and the command can be repeated."
)
KEY_UNAVAILABLE = _inconclusive(
    "key-unavailable",
    "Who keeps the key refused, does not know it, or did not answer; check the key's name, your credentials and their rights. Nothing was attached.",
)
INTERNAL = _inconclusive("internal", "A fault of ours; nothing was decided. Report it with the server's log.")
IMAGES_UNKNOWN = _inconclusive(
    "images-unknown",
    "Which images the chart runs could not be told; `from: rendered` needs Helm (`helm` in PATH or VERIFIER_HELM) and a chart that renders with its own values.",
)
POLICY_STALE = _inconclusive("policy-stale", "The policy could not be fetched anew for longer than `maxStale`; see that its registry can be reached.")
POLICY_EXPIRED = _inconclusive("policy-expired", "The policy has ended by its own `metadata.expires`; publish one with a later end and a higher serial.")
UNSUPPORTED = _inconclusive("unsupported", "The registry does not offer this operation.")
