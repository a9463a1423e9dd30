"""What Helm asks a getter for: every form that it can come in, and the odd URLs that are refused."""

from __future__ import annotations

import pytest

from verifier.helm.asked import ChartAsked, IndexAsked, chart_url, read_url
from verifier.model.errors import MisuseError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("url", "reference", "file", "provenance"),
    [
        ("reg.test/acme/web:1.4.2", "reg.test/acme/web:1.4.2", None, False),
        ("reg.test/acme/web:1.4.2+b", "reg.test/acme/web:1.4.2_b", None, False),
        (f"reg.test/acme/web@{DIGEST}", f"reg.test/acme/web@{DIGEST}", None, False),
        (f"reg.test:5000/acme/web:1.4.2@{DIGEST}", f"reg.test:5000/acme/web:1.4.2@{DIGEST}", None, False),
        ("REG.test:443/acme/web:1.4.2", "reg.test/acme/web:1.4.2", None, False),
        ("reg.test/acme/web-1.4.2.tgz", "reg.test/acme/web:1.4.2", "web-1.4.2.tgz", False),
        ("reg.test/acme/web-1.4.2.tgz.prov", "reg.test/acme/web:1.4.2", "web-1.4.2.tgz", True),
        ("reg.test/acme/my-web-2-1.4.2-rc.1.tgz", "reg.test/acme/my-web-2:1.4.2-rc.1", "my-web-2-1.4.2-rc.1.tgz", False),
        ("reg.test/acme/web-1.4.2+b.7.tgz", "reg.test/acme/web:1.4.2_b.7", "web-1.4.2+b.7.tgz", False),
        ("reg.test/acme/web-v1.4.2.tgz", "reg.test/acme/web:v1.4.2", "web-v1.4.2.tgz", False),
        ("reg.test/acme/web:1.4.2/web-1.4.2.tgz", "reg.test/acme/web:1.4.2", "web-1.4.2.tgz", False),
        ("reg.test/acme/web:stable/web-1.4.2.tgz.prov", "reg.test/acme/web:stable", "web-1.4.2.tgz", True),
        (f"reg.test/acme/web@{DIGEST}/web-1.4.2.tgz", f"reg.test/acme/web@{DIGEST}", "web-1.4.2.tgz", False),
        (f"reg.test/acme/web:1.4.2@{DIGEST}/web-1.4.2.tgz.prov", f"reg.test/acme/web:1.4.2@{DIGEST}", "web-1.4.2.tgz", True),
    ],
)
def test_a_chart(url: str, reference: str, file: str | None, provenance: bool) -> None:
    asked = read_url(f"verified+oci://{url}")
    assert isinstance(asked, ChartAsked)
    assert (str(asked.reference), asked.file, asked.provenance) == (f"oci://{reference}", file, provenance)
    assert asked.reference.written == f"verified+oci://{url}"


@pytest.mark.parametrize(
    ("url", "registry", "path"),
    [("reg.test/acme/index.yaml", "reg.test", "acme"), ("reg.test/a/b/index.yaml", "reg.test", "a/b"), ("Reg.test./index.yaml", "reg.test", "")],
)
def test_an_index(url: str, registry: str, path: str) -> None:
    assert read_url(f"verified+oci://{url}") == IndexAsked(registry=registry, path=path)


def test_what_our_index_lists_is_read_back() -> None:
    asked = read_url(chart_url("reg.test", "acme/web", "1.4.2_b", "web-1.4.2+b.tgz"))
    assert isinstance(asked, ChartAsked)
    assert (str(asked.reference), asked.file) == ("oci://reg.test/acme/web:1.4.2_b", "web-1.4.2+b.tgz")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("oci://reg.test/acme/web:1.4.2", "it must begin with verified"),
        ("verified+oci://reg.test/acme/web", "Helm does not tell a getter what --version says"),
        ("verified+oci://reg.test", "a repository must follow"),
        ("verified+oci://", "a repository must follow the host"),
        ("verified+oci://index.yaml", "a repository must follow"),
        ("verified+oci://reg.test/acme/web:1.4.2.prov", "ends with a file name"),
        ("verified+oci://reg.test/acme/web:1.4.2/../../evil/web-1.4.2.tgz", "is not a tag"),
        ("verified+oci://reg.test/acme/../web:1.4.2", "is not a repository"),
        ("verified+oci://reg.test/acme/%2e%2e/web:1.4.2", "is not a repository"),
        ("verified+oci://reg.test/acme//web:1.4.2", "is not a repository"),
        ("verified+oci://reg.test/acme/web:1.4.2?x=1", "is not a tag"),
        ("verified+oci://reg.test/acme/web:1.4.2#x", "is not a tag"),
        ("verified+oci://user:secret@reg.test/acme/web:1.4.2", "credentials do not belong"),
        ("verified+oci://user:secret@reg.test/acme/index.yaml", "credentials do not belong"),
        ("verified+oci://reg.test/../index.yaml", "is not a path"),
        ("verified+oci://reg.test/a%20b/index.yaml", "is not a path"),
        ("verified+oci://r\u00e9g.test/acme/web:1.4.2", "is not a host name"),
        ("verified+oci://reg.test/acme/w\u0435b:1.4.2", "is not a repository"),
        ("verified+oci://reg.test/acme/web:1.4.2@sha256:12", "sha256"),
        ("verified+oci://reg.test/acme/web.tgz", "is not NAME-VERSION.tgz"),
        ("verified+oci://reg.test/acme/web-1.4.tgz", "is not NAME-VERSION.tgz"),
        ("verified+oci://reg.test/acme/-1.4.2.tgz", "is not NAME-VERSION.tgz"),
        ("verified+oci://web:1.4.2/web-1.4.2.tgz", "a repository must follow the host"),
        ("verified+oci://reg.test/acme/WEB-1.4.2.tgz", "is not a repository"),
    ],
)
def test_odd_urls_are_refused(url: str, why: str) -> None:
    with pytest.raises(MisuseError, match=why) as refused:
        read_url(url)
    assert refused.value.code.name == "reference-invalid"
    assert "secret" not in str(refused.value)
