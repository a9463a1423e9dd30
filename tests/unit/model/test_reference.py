"""Named good and bad forms of references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from verifier.model.digest import parse_digest
from verifier.model.errors import MisuseError
from verifier.model.reference import ChartRepositoryReference, FileReference, LayoutReference, Reference, masked, parse, parse_oci

HEX = "a" * 64
D = f"sha256:{HEX}"

GOODIES = {
    "name and tag": ("oci://reg.test/acme/web:1.4.2", "oci://reg.test/acme/web:1.4.2"),
    "digest": (f"oci://reg.test/acme/web@{D}", f"oci://reg.test/acme/web@{D}"),
    "tag and digest": (f"oci://reg.test/acme/web:1.4.2@{D}", f"oci://reg.test/acme/web:1.4.2@{D}"),
    "repository alone": ("oci://reg.test/acme/web", "oci://reg.test/acme/web"),
    "port": ("oci://reg.test:5000/web:1", "oci://reg.test:5000/web:1"),
    "default port": ("oci://reg.test:443/web:1", "oci://reg.test/web:1"),
    "upper-case host": ("oci://REG.Test/web:1", "oci://reg.test/web:1"),
    "trailing dot": ("oci://reg.test./web:1", "oci://reg.test/web:1"),
    "IPv4": ("oci://127.0.0.1:5000/web:1", "oci://127.0.0.1:5000/web:1"),
    "IPv6": ("oci://[::1]:5000/web:1", "oci://[::1]:5000/web:1"),
    "IPv6 in full": ("oci://[0:0:0:0:0:0:0:1]/web:1", "oci://[::1]/web:1"),
    "Docker Hub": ("oci://docker.io/acme/web:1", "oci://docker.io/acme/web:1"),
    "Docker Hub's API host": ("oci://registry-1.docker.io/acme/web:1", "oci://docker.io/acme/web:1"),
    "Docker Hub's index": ("oci://index.docker.io/web:1", "oci://docker.io/library/web:1"),
    "Docker Hub's library": ("oci://docker.io/web:1", "oci://docker.io/library/web:1"),
    "plus in the tag": ("oci://reg.test/web:1.0.0+b.5", "oci://reg.test/web:1.0.0_b.5"),
    "separators": ("oci://reg.test/a.b/c_d/e__f/g--h:1", "oci://reg.test/a.b/c_d/e__f/g--h:1"),
}

UGLIES = {
    "empty": "",
    "no scheme": "reg.test/web:1",
    "ftp": "ftp://reg.test/web:1",
    "docker": "docker://reg.test/web:1",
    "no repository": "oci://reg.test",
    "no repository, slash": "oci://reg.test/",
    "no host": "oci:///web:1",
    "user information": "oci://user:pass@reg.test/web:1",
    "user alone": "oci://user@reg.test/web:1",
    "upper-case repository": "oci://reg.test/Web:1",
    "empty tag": "oci://reg.test/web:",
    "long tag": "oci://reg.test/web:" + "a" * 129,
    "tag with a slash": "oci://reg.test/web:a/b",
    "tag that begins with a dot": "oci://reg.test/web:.a",
    "empty digest": "oci://reg.test/web@",
    "short digest": "oci://reg.test/web@sha256:abc",
    "upper-case digest": f"oci://reg.test/web@sha256:{'A' * 64}",
    "unknown algorithm": f"oci://reg.test/web@md5:{'a' * 32}",
    "two digests": f"oci://reg.test/web@{D}@{D}",
    "port zero": "oci://reg.test:0/web:1",
    "port too high": "oci://reg.test:65536/web:1",
    "port in words": "oci://reg.test:http/web:1",
    "port in other digits": "oci://reg.test:５/web:1",
    "query": "oci://reg.test/web:1?x=y",
    "fragment": "oci://reg.test/web#1",
    "space": "oci://reg.test/web :1",
    "newline": "oci://reg.test/web:1\n",
    "double slash": "oci://reg.test//web:1",
    "dot segment": "oci://reg.test/../web:1",
    "percent": "oci://reg.test/%2e%2e/web:1",
    "unclosed IPv6": "oci://[::1/web:1",
    "IPv6 that is none": "oci://[::zz]/web:1",
    "text after IPv6": "oci://[::1]x/web:1",
    "host with an underscore": "oci://reg_test/web:1",
    "name too long": "oci://reg.test/" + "a/" * 130 + "web:1",
    "layout without a directory": "oci-layout://",
    "a file that is no archive": "web.zip",
}


@pytest.mark.parametrize("text, canonical", GOODIES.values(), ids=GOODIES.keys())
def test_goodies(text: str, canonical: str) -> None:
    reference = parse(text)
    assert str(reference) == canonical
    assert isinstance(reference, Reference)
    assert reference.written == text


@pytest.mark.parametrize("text", UGLIES.values(), ids=UGLIES.keys())
def test_uglies(text: str) -> None:
    with pytest.raises(MisuseError) as caught:
        parse(text)
    assert caught.value.code.name == "reference-invalid"
    assert repr(masked(text)) in caught.value.where
    assert "pass@" not in str(caught.value)


HTTPS = {
    "at the root": ("https://charts.acme.test/web:1.4.2", "https://charts.acme.test", "web", "1.4.2"),
    "below a path": ("https://charts.acme.test/a/B/web:v1", "https://charts.acme.test/a/B", "web", "v1"),
    "no version": ("https://charts.acme.test/a/web", "https://charts.acme.test/a", "web", None),
    "build metadata": ("https://charts.acme.test/web:1.0.0+b.5", "https://charts.acme.test", "web", "1.0.0+b.5"),
    "port": ("https://charts.acme.test:8443/web:1", "https://charts.acme.test:8443", "web", "1"),
    "default port": ("https://charts.acme.test:443/web:1", "https://charts.acme.test", "web", "1"),
    "http": ("http://charts.acme.test:80/web:1", "http://charts.acme.test", "web", "1"),
    "http on the port of https": ("http://charts.acme.test:443/web:1", "http://charts.acme.test:443", "web", "1"),
    "upper-case host": ("https://Charts.ACME.test./web:1", "https://charts.acme.test", "web", "1"),
    "IPv6": ("https://[0::1]:8443/web:1", "https://[::1]:8443", "web", "1"),
    "Docker Hub is any host": ("https://index.docker.io/x/web:1", "https://index.docker.io/x", "web", "1"),
    "GitLab": ("https://gitlab.acme.test/api/v4/projects/a%2fb/packages/helm/stable/web:1", "https://gitlab.acme.test/api/v4/projects/a%2Fb/packages/helm/stable", "web", "1"),
    "needless escapes": ("https://charts.acme.test/%61b%7E%2d/web:1", "https://charts.acme.test/ab~-", "web", "1"),
    "a name with capitals": ("https://charts.acme.test/My_Chart.x:1", "https://charts.acme.test", "My_Chart.x", "1"),
}  # fmt: skip

UGLY_HTTPS = {
    "host alone": "https://charts.acme.test",
    "no name": "https://charts.acme.test/",
    "no host": "https:///web:1",
    "user information": "https://user:pass@charts.acme.test/web:1",
    "its index": "https://charts.acme.test/index.yaml",
    "an archive": "https://charts.acme.test/web-1.4.2.tgz",
    "query": "https://charts.acme.test/web:1?x=y",
    "fragment": "https://charts.acme.test/web:1#x",
    "double slash": "https://charts.acme.test/a//web:1",
    "dot segment": "https://charts.acme.test/../web:1",
    "escaped dot segment": "https://charts.acme.test/%2e%2E/web:1",
    "half an escape": "https://charts.acme.test/%2/web:1",
    "wildcard": "https://charts.acme.test/*/web:1",
    "wildcard in the name": "https://charts.acme.test/*:1",
    "empty version": "https://charts.acme.test/web:",
    "a range": "https://charts.acme.test/web:^1.4",
    "a word": "https://charts.acme.test/web:latest",
    "two versions": "https://charts.acme.test/web:1:2",
    "a name with a port": "https://charts.acme.test/a:1/web:1",
    "backslash": "https://charts.acme.test/a\\b/web:1",
    "space": "https://charts.acme.test/a b/web:1",
    "newline": "https://charts.acme.test/web:1\n",
    "other letters": "https://charts.acme.test/wéb:1",
    "empty digest": "https://charts.acme.test/web:1@",
    "short digest": "https://charts.acme.test/web:1@sha256:abc",
    "port zero": "https://charts.acme.test:0/web:1",
    "too long": "https://charts.acme.test/" + "a/" * 600 + "web:1",
}


@pytest.mark.parametrize(("text", "url", "chart", "version"), HTTPS.values(), ids=HTTPS.keys())
def test_a_chart_of_a_chart_repository(text: str, url: str, chart: str, version: str | None) -> None:
    reference = parse(text)
    assert isinstance(reference, ChartRepositoryReference)
    assert (reference.url, reference.name, reference.version) == (url, f"{url}/{chart}", version)
    assert parse(str(reference)) == replace(reference, written=str(reference)), "the canonical form is its own"
    with_digest = parse(f"{text}@{D}")
    assert isinstance(with_digest, ChartRepositoryReference)
    assert str(with_digest) == f"{reference}@{D}"


@pytest.mark.parametrize("text", UGLY_HTTPS.values(), ids=UGLY_HTTPS.keys())
def test_uglies_of_chart_repositories(text: str) -> None:
    with pytest.raises(MisuseError) as caught:
        parse(text)
    assert caught.value.code.name == "reference-invalid"
    assert "pass@" not in str(caught.value)


def test_local_forms() -> None:
    assert parse("charts/web-1.4.2.tgz") == FileReference(path="charts/web-1.4.2.tgz", written="charts/web-1.4.2.tgz")
    assert str(parse("file:web")) == "file:web"
    layout = parse(f"oci-layout:///srv/layout:1.4.2@{D}")
    assert isinstance(layout, LayoutReference)
    assert (layout.path, layout.tag, str(layout.digest)) == ("/srv/layout", "1.4.2", D)
    assert str(layout) == f"oci-layout:///srv/layout:1.4.2@{D}"
    assert parse("oci-layout://a/b") == LayoutReference(path="a/b", tag=None, digest=None, written="oci-layout://a/b")


@given(st.text(max_size=60))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        parse(text)
    except MisuseError as error:
        assert error.code.name == "reference-invalid"


@given(st.from_regex(r"oci://[a-z]{1,8}(\.[a-z]{2,4})?(:[1-9][0-9]{0,3})?/[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,2}:[a-z0-9][a-z0-9.]{0,10}", fullmatch=True))
def test_the_canonical_form_is_a_fixed_point(text: str) -> None:
    once = parse_oci(text)
    assert str(parse_oci(str(once))) == str(once)


def test_digests() -> None:
    assert str(parse_digest(D)) == D
    assert parse_digest("sha512:" + "b" * 128).algorithm == "sha512"
    for text in ("", "sha256", f"sha256:{HEX}0", f"SHA256:{HEX}", f"sha256:{HEX}\n", "sha256:" + "g" * 64):
        with pytest.raises(ValueError):
            parse_digest(text)
