"""What a login gives: a credential, and until when it is good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import InconclusiveError, first_line
from verifier.net.web import WebClient
from verifier.oci.credentials import Credential

CONNECT_SECONDS = 3  # off its cloud a library looks for a metadata service that is not there
SECONDS = 10


class Lease(Struct, frozen=True):
    """`seconds` is how long the credential is good from now on."""

    credential: Credential
    seconds: float


class Asking(Struct, frozen=True):
    """What a login may need: settings from the environment, and a way to ask the registry itself."""

    environment: Mapping[str, str]
    web: Callable[[], WebClient]


@contextmanager
def logging_in(cloud: str, extra: str, host: str, *errors: type[Exception]) -> Iterator[None]:
    """Around a login: a library that is missing, its errors and the network's become `login-failed`."""
    known: tuple[type[Exception], ...] = (*errors, OSError)
    try:
        yield
    except ImportError as error:
        raise failed(f"{cloud}: install helm-verifier[{extra}], or a credential helper ({first_line(error)})", host) from error
    except known as error:
        raise failed(f"{cloud}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", host) from error


def failed(reason: str, host: str) -> InconclusiveError:
    """No credential was got."""
    return InconclusiveError(codes.LOGIN_FAILED, reason, where=host)
