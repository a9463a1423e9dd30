"""Keyless signing with the `sigstore` package: a certificate for a token, a log entry, timestamps, one v0.3 bundle.

What it makes is read back through our own recipe before anybody sees it (operations.signing), under the very root that it was
made with. The package asks its services without a deadline, so it runs on a thread that is given up when the time is over.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from typing import TypeVar

from verifier.attest.bundle import read_bundle
from verifier.formats.json import parse_object
from verifier.model import codes
from verifier.model.errors import FailedError, InconclusiveError, MisuseError, VerifierError, first_line
from verifier.schemes.sigstore.certified import verify_certified
from verifier.schemes.sigstore.recipe import Signed
from verifier.trust.anchors import Anchor

_T = TypeVar("_T")
_AUDIENCE = "sigstore"
GITHUB_ISSUER = "https://token.actions.githubusercontent.com"


def sign_keyless(statement: bytes, token: str, trust_config: bytes, anchor: Anchor, *, seconds: float) -> bytes:
    """A bundle around an in-toto statement, signed for the token's identity and verified under `anchor`.

    `trust_config` is a ClientTrustConfig. Raises MisuseError `token-invalid` or `trust-invalid`, InconclusiveError
    `signing-service-failed` when a service does not answer, `timeout`, or MisuseError `signing-failed`.
    """
    made = _within(lambda: _sign(statement, token, trust_config, message=False), seconds)
    return _verified(made, Signed.of(b""), anchor)


def sign_keyless_message(message: bytes, token: str, trust_config: bytes, anchor: Anchor, *, seconds: float) -> bytes:
    """The same for a plain signature over a message, which cosign's old form carries."""
    made = _within(lambda: _sign(message, token, trust_config, message=True), seconds)
    return _verified(made, Signed.of(message), anchor)


def _verified(made: bytes, signed: Signed, anchor: Anchor) -> bytes:
    try:
        verify_certified(read_bundle(made, where="the new signature"), signed, anchor)
    except FailedError as error:
        raise MisuseError(codes.SIGNING_FAILED, f"what was made does not verify under its own root: {error.reason} ({error.code.name})") from error
    return made


def _sign(data: bytes, token: str, trust_config: bytes, *, message: bool) -> bytes:
    from sigstore.dsse import Statement
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityError, IdentityToken
    from sigstore.sign import SigningContext

    try:
        identity = IdentityToken(token, _AUDIENCE)
    except IdentityError as error:
        cause = f": {first_line(error.__cause__)}" if isinstance(error.__cause__, Exception) else ""
        raise MisuseError(codes.TOKEN_INVALID, f"the identity token cannot be used{cause or f': {first_line(error)}'}") from error
    try:
        context = SigningContext.from_trust_config(ClientTrustConfig.from_json(trust_config.decode()))
    except Exception as error:
        raise MisuseError(codes.TRUST_INVALID, f"the trust configuration names no services to sign with: {first_line(error)}") from error
    try:
        with context.signer(identity) as signer:
            made = signer.sign_artifact(data) if message else signer.sign_dsse(Statement(data))
            return made.to_json().encode()
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InconclusiveError(codes.SIGNING_SERVICE_FAILED, f"a signing service refused or did not answer: {reason}") from error


def _within(work: Callable[[], _T], seconds: float) -> _T:
    """The result of `work` on a thread; raises InconclusiveError `timeout` when it takes too long."""
    results: list[_T] = []
    problems: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised again below, on the caller's thread
            problems.append(error)

    thread = threading.Thread(target=run, name="keyless-signing", daemon=True)
    thread.start()
    thread.join(seconds)
    if problems:
        raise problems[0]
    if not results:
        raise InconclusiveError(codes.TIMEOUT, f"the signing services did not answer within {seconds:g} s")
    return results[0]


def token_identity(token: str) -> str | None:
    """The identity that a certificate for this token will name, where the token tells; it is not verified here, Fulcio does that.

    Source: sigstore/fulcio docs/oidc.md: GitHub's `job_workflow_ref`, GitLab's `ci_config_ref_uri`, else a verified e-mail address.
    """
    try:
        payload = token.split(".")[1]
        said = parse_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), where="identity token")
    except (IndexError, ValueError, FailedError):
        return None
    if isinstance(workflow := said.get("job_workflow_ref"), str):
        return f"https://github.com/{workflow}" if said.get("iss") == GITHUB_ISSUER else None
    if isinstance(configuration := said.get("ci_config_ref_uri"), str):
        return f"https://{configuration}"
    email = said.get("email")
    return email if isinstance(email, str) and said.get("email_verified") is True else None


def ambient_token() -> str | None:
    """The token that this machine offers (GitHub Actions, GitLab and others that the `id` package knows), if any; raises MisuseError."""
    from sigstore.oidc import detect_credential

    try:
        return detect_credential(_AUDIENCE)
    except Exception as error:
        raise MisuseError(codes.TOKEN_INVALID, f"this machine's identity cannot be used: {first_line(error)}") from error


def browser_token(trust_config: bytes) -> str:
    """A token by logging in with a browser at the instance's identity provider; raises MisuseError."""
    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import Issuer

    try:
        url = ClientTrustConfig.from_json(trust_config.decode()).signing_config.get_oidc_url()
        return str(Issuer(url).identity_token())
    except VerifierError:
        raise
    except Exception as error:
        raise MisuseError(codes.TOKEN_INVALID, f"no token from the identity provider: {first_line(error)}") from error
