"""Pull secrets: which credential goes to which host, which are tried, and what of a Secret is never believed (semantics 33)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.registry import Switches, simulated
from tests.support.pull_secrets import auth, secret
from tests.support.world import connect
from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import sha256
from verifier.model.errors import InconclusiveError
from verifier.model.reference import parse_oci
from verifier.net.deadline import Deadline
from verifier.oci.credentials import Basic, Keychain
from verifier.oci.keychain import Credentials
from verifier.oci.pull_secrets import PullSecrets, ScopedKeychain

OWN = Credentials(given=("reg.test", Basic("own", "x")))


def users(secrets: PullSecrets, registry: str, repository: str = "acme/web") -> list[str]:
    return [item.username for item in secrets.fitting(registry, repository) if isinstance(item, Basic)]


@pytest.mark.parametrize(
    "key, registry, repository, fits",
    [
        ("reg.test", "reg.test", "acme/web", True),
        ("https://reg.test", "reg.test", "acme/web", True),
        ("https://reg.test/v2/", "reg.test", "acme/web", True),
        ("https://index.docker.io/v1/", "docker.io", "library/nginx", True),
        ("registry-1.docker.io", "docker.io", "acme/web", True),
        ("REG.test:443", "reg.test", "acme/web", True),
        ("reg.test/acme", "reg.test", "acme/web", True),
        ("reg.test/acme/web", "reg.test", "acme/web", True),
        ("*.azurecr.io", "acme.azurecr.io", "web", True),
        ("*.azure*.io", "acme.azurecr.io", "web", True),
        ("*.test:5000", "reg.test:5000", "web", True),
        ("reg.test", "evil-reg.test", "acme/web", False),
        ("reg.test", "reg.test.evil.test", "acme/web", False),
        ("reg.test", "reg.test:5000", "acme/web", False),
        ("reg.test/acme", "reg.test", "acmeweb/x", False),
        ("reg.test/acme/web", "reg.test", "acme/web2", False),
        ("*.azurecr.io", "acme.azurecr.io.evil.test", "web", False),
        ("*.azurecr.io", "a.b.azurecr.io", "web", False),
        ("*.azurecr.io", "azurecr.io", "web", False),
        ("*.azurecr.io", "acme.azurecr.io:5000", "web", False),
        ("*", "localhost:5000", "web", False),
        ("*.[a-z]est", "reg.test", "web", False),
        ("*.t?st", "reg.test", "web", False),
        ("", "reg.test", "web", False),
        ("not a host", "reg.test", "web", False),
    ],
)
def test_which_host_sees_it(key: str, registry: str, repository: str, fits: bool) -> None:
    assert users(PullSecrets([secret("s", {key: auth("me")})]), registry, repository) == (["me"] if fits else [])


def test_all_that_fit_are_tried_the_longest_key_first() -> None:
    secrets = PullSecrets(
        [
            secret("b", {"reg.test": auth("second"), "reg.test/acme": auth("deep"), "other.test": auth("other")}),
            secret("a", {"reg.test": auth("first")}),
            secret("old", {"reg.test": auth("oldest")}, kind="kubernetes.io/dockercfg"),
        ]
    )
    assert users(secrets, "reg.test") == ["deep", "first", "second", "oldest"]
    assert users(secrets, "reg.test", "other/web") == ["first", "second", "oldest"]
    many = PullSecrets([secret(f"s{number}", {"reg.test": auth(f"user{number}")}) for number in range(20)])
    assert len(users(many, "reg.test")) == 8, "a namespace full of pull secrets makes no flood of guesses"


def test_a_secret_names_no_program() -> None:
    """`credsStore` and `credHelpers` of somebody's Secret would run what they name, here."""
    value = {"auths": {"reg.test": auth("me")}, "credsStore": "desktop", "credHelpers": {"reg.test": "evil", "two.test": "evil"}}
    secrets = PullSecrets([secret("s", {}, value=value)])
    assert users(secrets, "reg.test") == ["me"]
    assert users(secrets, "two.test") == []


@pytest.mark.parametrize(
    "broken, told",
    [
        (secret("bad", {}, kind="Opaque"), "type 'Opaque'"),
        (secret("bad", {}, raw=b"{"), ".dockerconfigjson"),
        (secret("bad", {}, raw=b""), ".dockerconfigjson"),
        (secret("bad", {}, value={"auths": []}), "holds no `auths`"),
        (secret("bad", {}, value={}), "holds no `auths`"),
        (secret("bad", {"reg.test": {"auth": "***"}}), "auths['reg.test']: auth is not base64"),
    ],
)
def test_a_broken_secret_is_told_where_no_other_fits(broken: dict[str, Any], told: str) -> None:
    good = secret("good", {"other.test": auth("me")})
    secrets = PullSecrets([broken, good])
    assert users(secrets, "other.test") == ["me"]
    with pytest.raises(InconclusiveError, match="pull secret 'bad'") as caught:
        secrets.fitting("reg.test", "x")
    assert (caught.value.code.name, told in caught.value.reason) == ("pull-secret-invalid", True)


def test_whose_credentials_are_shown() -> None:
    secrets = PullSecrets([secret("s", {"reg.test": auth("tenant")})])
    shared = ScopedKeychain(secrets, OWN, lambda *_: True)
    apart = ScopedKeychain(secrets, OWN, lambda *_: False)
    nothing = ScopedKeychain(PullSecrets(), OWN, lambda *_: False)
    assert [item.username for item in shared.candidates("reg.test", "x") if isinstance(item, Basic)] == ["tenant", "own"]
    assert [item.username for item in apart.candidates("reg.test", "x") if isinstance(item, Basic)] == ["tenant"]
    assert not list(nothing.candidates("reg.test", "x"))


def test_an_identity_is_what_is_shown() -> None:
    one, same, other = (PullSecrets([secret(name, {"reg.test": auth(user)})]) for name, user in (("a", "me"), ("b", "me"), ("a", "you")))
    apart = [ScopedKeychain(item, OWN, lambda *_: False).identity("reg.test", "x") for item in (one, same, other, PullSecrets())]
    shared = [ScopedKeychain(item, OWN, lambda *_: True).identity("reg.test", "x") for item in (one, other, PullSecrets())]
    assert apart[0] == apart[1]
    assert len({*apart, *shared}) == 6
    assert shared[2] == OWN.identity("reg.test", "x"), "the server's own credentials alone are the server"
    failed = PullSecrets(problem=InconclusiveError(codes.LOOKUP_FAILED, "down"))
    assert ScopedKeychain(failed, OWN, lambda *_: False).identity("reg.test", "x") not in {*apart, *shared}


def test_no_secret_in_an_identity() -> None:
    keychain = ScopedKeychain(PullSecrets([secret("s", {"reg.test": auth("me", "hunter2")})]), OWN, lambda *_: False)
    assert "hunter2" not in keychain.identity("reg.test", "x") + repr(list(keychain.candidates("reg.test", "x")))


def read(keychain: Keychain, host: str) -> int:
    source = connect().under(keychain).source(parse_oci(f"oci://{host}/acme/web"), Deadline.after(10))
    return len(source.blob(Descriptor(media_type="x", digest=sha256(b"data"), size=4), 4))


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_each_is_tried_until_one_will_do(how: str) -> None:
    switches = Switches(basic=("me", "right")) if how == "basic" else Switches(bearer=("me", "right"))
    with simulated(switches) as there:
        there.blobs[str(sha256(b"data"))] = b"data"
        right = secret("b", {there.host: auth("me", "right")})
        wrong = secret("a", {there.host: auth("you", "wrong")})
        both, none = (ScopedKeychain(PullSecrets(items), OWN, lambda *_: False) for items in ([wrong, right], [wrong]))
        assert read(both, there.host) == 4
        with pytest.raises(InconclusiveError) as caught:
            read(none, there.host)
        assert caught.value.code.name == "unauthorized"


def test_what_one_may_read_another_may_not() -> None:
    """Sessions share connections, and neither answers nor tokens."""
    with simulated(Switches(bearer=("me", "right"))) as there:
        there.blobs[str(sha256(b"data"))] = b"data"
        reader = ScopedKeychain(PullSecrets([secret("s", {there.host: auth("me", "right")})]), OWN, lambda *_: False)
        nobody = ScopedKeychain(PullSecrets(), OWN, lambda *_: False)
        connections = connect()
        descriptor = Descriptor(media_type="x", digest=sha256(b"data"), size=4)
        reference = parse_oci(f"oci://{there.host}/acme/web")
        for _ in range(2):
            assert connections.under(reader).source(reference, Deadline.after(10)).blob(descriptor, 4) == b"data"
            with pytest.raises(InconclusiveError) as caught:
                connections.under(nobody).source(reference, Deadline.after(10)).blob(descriptor, 4)
            assert caught.value.code.name == "unauthorized"
        asked = [path for _, path, _ in there.requests if path.startswith("/token")]
        assert len(asked) == 3, "the reader's token is kept, the refusal is not"
