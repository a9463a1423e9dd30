"""Writing the verified digest: where it goes, what is kept, and what is left alone."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.support.admission import codes_of, judged, release, world
from tests.support.reviews import an_object, oci_repository, review
from tests.support.signers import pair
from tests.support.world import connect, key_policy, publish, sign
from verifier.operations.pinning import ANNOTATION, pin
from verifier.operations.review import read_review
from verifier.operations.verdict import World


def patched(value: dict[str, Any], place: World, **request: Any) -> dict[str, Any]:
    """The object after the patch, applied as the API server does."""
    result = copy.deepcopy(value)
    for change in pin(read_review(json.dumps(review(value, **request)).encode()), place):
        assert change["op"] == "add"
        parts = change["path"].split("/")[1:]
        inner = result
        for part in parts[:-1]:
            inner = inner[part]
        inner[parts[-1]] = change["value"]
    return result


def kept(value: dict[str, Any]) -> Any:
    return json.loads(value["metadata"]["annotations"][ANNOTATION])


def test_flux_by_tag_and_what_stood_there(registry: str) -> None:
    digest, _ = release(registry)
    place = world(key_policy(registry, pair()))
    value = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")
    done = patched(value, place)
    assert done["spec"]["ref"] == {"tag": "1.4.2", "digest": digest}
    assert kept(done) == {"/spec/ref/digest": {"reference": f"oci://{registry}/acme/web:1.4.2", "value": digest, "before": {"/spec/ref/digest": None}}}
    assert judged(review(done), place).allowed
    assert patched(done, place) == done, "a second time changes nothing"


def test_without_a_ref_at_all(registry: str) -> None:
    digest, _ = release(registry)
    sign(connect(), registry, publish(connect(), registry, release(registry)[1], tag="latest"), pair())
    loaded = key_policy(registry, pair(), rule="    channels: [latest]\n")
    value = oci_repository(f"oci://{registry}/acme/web")
    del value["spec"]["ref"]
    assert patched(value, world(loaded))["spec"]["ref"] == {"digest": digest}


CASES: dict[str, tuple[dict[str, Any], tuple[str | int, ...], str]] = {
    "argo": (
        an_object("argoproj.io/v1alpha1", "Application", spec={"source": {"repoURL": "oci://HOST/acme/web", "targetRevision": "1.4.2", "path": "."}}),
        ("spec", "source", "targetRevision"),
        "DIGEST",
    ),
    "argo, the second": (
        an_object(
            "argoproj.io/v1alpha1",
            "Application",
            spec={"sources": [{"repoURL": "https://git.test/v", "ref": "v"}, {"repoURL": "oci://HOST/acme/web", "targetRevision": "1.4.2"}]},
        ),
        ("spec", "sources", 1, "targetRevision"),
        "DIGEST",
    ),
    "k3s": (
        an_object("helm.cattle.io/v1", "HelmChart", spec={"chart": "oci://HOST/acme/web", "version": "1.4.2"}),
        ("spec", "chart"),
        "oci://HOST/acme/web@DIGEST",
    ),
    "crossplane": (
        an_object(
            "helm.crossplane.io/v1beta1", "Release", spec={"forProvider": {"chart": {"repository": "oci://HOST/acme", "name": "web", "version": "1.4.2"}}}
        ),
        ("spec", "forProvider", "chart", "digest"),
        "DIGEST",
    ),
    "gardener": (
        an_object("core.gardener.cloud/v1", "ControllerDeployment", helm={"ociRepository": {"repository": "HOST/acme/web", "tag": "1.4.2"}}),
        ("helm", "ociRepository", "digest"),
        "DIGEST",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_where_each_kind_takes_it(registry: str, name: str) -> None:
    digest, _ = release(registry)
    written, path, wanted = CASES[name]
    value = json.loads(json.dumps(written).replace("HOST", registry))
    place = world(key_policy(registry, pair()))
    done = patched(value, place)
    inner: Any = done
    for part in path:
        inner = inner[part]
    assert inner == wanted.replace("HOST", registry).replace("DIGEST", digest)
    assert judged(review(done), place).allowed, "the validating webhook takes what the mutating one wrote"
    assert patched(done, place) == done
    if name == "k3s":
        assert "version" not in done["spec"]


def test_an_author_who_changes_the_tag_gets_the_new_chart(registry: str) -> None:
    """`kubectl apply` leaves a digest that it did not write: it would hold the old chart for ever, or deny the new tag."""
    release(registry)
    newer, _ = release(registry, version="1.5.0")
    place = world(key_policy(registry, pair()))
    done = patched(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"), place)
    done["spec"]["ref"]["tag"] = "1.5.0"
    again = patched(done, place)
    assert again["spec"]["ref"] == {"tag": "1.5.0", "digest": newer}
    assert kept(again)["/spec/ref/digest"]["reference"].endswith(":1.5.0")


def test_an_author_who_writes_a_digest_is_not_overruled(registry: str) -> None:
    digest, _ = release(registry)
    other, _ = release(registry, version="1.5.0")
    place = world(key_policy(registry, pair()))
    value = oci_repository(f"oci://{registry}/acme/web", digest=other)
    assert patched(value, place) == value
    done = patched(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"), place)
    done["spec"]["ref"]["digest"] = other
    left = patched(done, place)
    assert (left["spec"]["ref"]["digest"], ANNOTATION in left["metadata"]["annotations"]) == (other, False)
    assert digest != other


def test_a_tag_that_moves_does_not_move_the_pin(registry: str) -> None:
    digest, _ = release(registry)
    place = world(key_policy(registry, pair()))
    done = patched(oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"), place)
    release(registry, files={"templates/other.yaml": b"x"})
    assert patched(done, place)["spec"]["ref"]["digest"] == digest


@pytest.mark.parametrize(
    "annotation",
    ["{", "[]", '{"/spec/ref/digest": 1}', '{"/metadata/name": {"reference": "x", "value": "x", "before": {"/metadata/name": "evil"}}}', "x" * 100],
)
def test_an_annotation_that_is_not_ours_says_nothing(registry: str, annotation: str) -> None:
    digest, _ = release(registry)
    value = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")
    value["metadata"]["annotations"] = {ANNOTATION: annotation, "mine": "stays"}
    done = patched(value, world(key_policy(registry, pair())))
    assert (done["spec"]["ref"]["digest"], done["metadata"]["name"], done["metadata"]["annotations"]["mine"]) == (digest, "x", "stays")


def test_a_forged_annotation_does_not_get_a_chart_in(registry: str) -> None:
    """Whoever writes the annotation may keep a digest from being replaced; the validating webhook judges what stands there."""
    release(registry)
    bad, _ = release(registry, by=None, version="1.5.0")
    value = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2", digest=bad)
    entry = {"reference": f"oci://{registry}/acme/web:1.4.2", "value": bad, "before": {"/spec/ref/digest": None}}
    value["metadata"]["annotations"] = {ANNOTATION: json.dumps({"/spec/ref/digest": entry})}
    place = world(key_policy(registry, pair()))
    done = patched(value, place)
    assert codes_of(judged(review(done), place)) == ["unsigned"]


def test_what_is_not_allowed_or_cannot_be_read_is_left_alone(registry: str) -> None:
    release(registry, by=None)
    place = world(key_policy(registry, pair()))
    for value in (
        oci_repository(f"oci://{registry}/acme/web", tag="1.4.2"),
        oci_repository(f"oci://{registry}/acme/web", tag="9.9.9"),
        oci_repository(f"oci://{registry}/acme/web", semver=">=1"),
        oci_repository("oci://user:pw@evil.test/web", tag="1.4.2"),
        an_object("helm.toolkit.fluxcd.io/v2", "HelmRelease", spec={"chartRef": {"kind": "OCIRepository", "name": "x"}}),
        an_object("source.toolkit.fluxcd.io/v9", "OCIRepository", spec={"url": f"oci://{registry}/acme/web", "ref": {"tag": "1.4.2"}}),
        an_object("source.toolkit.fluxcd.io/v1", "OCIRepository", spec={"url": f"oci://{registry}/acme/web", "ref": {"tag": "1.4.2"}}),
        an_object("v1", "Secret"),
    ):
        assert patched(value, place) == value
    value = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")
    assert patched(value, place, subResource="status") == value
    assert pin(read_review(json.dumps(review(None, old=value, operation="DELETE")).encode()), place) == ()


@pytest.mark.parametrize("value", [1, "x", [1], {}, None])
def test_odd_shapes_never_end_in_a_traceback(registry: str, value: Any) -> None:
    place = world(key_policy(registry, pair()))
    for field in ("url", "ref", "layerSelector"):
        asked = oci_repository(f"oci://{registry}/acme/web", tag="1.4.2")
        asked["spec"][field] = value
        pin(read_review(json.dumps(review(asked)).encode()), place)
    pin(read_review(json.dumps(review({**oci_repository("oci://reg.test/web"), "spec": value})).encode()), place)
