"""Open Cluster Management: HelmRelease, and Subscription with its Channel.

Source: the CRDs of multicloud-operators-subscription v0.16.0. A HelmRelease names its chart in `repo`, beside `spec`, which holds the values.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from verifier.formats.loose import get, items, mapping, text
from verifier.model import codes
from verifier.workloads.object import Every, Found, Name, Need, Object, Reader, one
from verifier.workloads.use import ELSEWHERE, ChartUse, Named, Unverifiable, from_repository, only, unpinnable, unverifiable

_GROUP = "apps.open-cluster-management.io"
_REPO = frozenset(("altSource", "chartName", "configMapRef", "digest", "insecureSkipVerify", "secretRef", "source", "version", "watchNamespaceScopedResources"))
_SUBSCRIPTIONS = Every(_GROUP, "Subscription")


def _release(item: Object, _: Found) -> Iterator[ChartUse]:
    """Each URL may serve the chart, and the alternative source, too."""
    repo = mapping(item.value, "repo")
    yield from only(item.at("repo"), repo, _REPO)
    name, version = text(get(repo, "chartName")), text(get(repo, "version"))
    for field in ("source", "altSource"):
        source = mapping(repo, field)
        if not source:
            continue
        place, urls = item.at(f"repo.{field}"), items(get(mapping(source, "helmRepo"), "urls"))
        if text(get(source, "type")).lower() not in ("helmrepo", "") or not urls:
            yield unverifiable(place, f"the chart lies in a {text(get(source, 'type'))[:40] or 'source'}; {ELSEWHERE}")
        for url in urls:
            yield unpinnable(from_repository(place, text(url), name, version), "its digest is the archive's, which is compared for https only")


def _subscription(item: Object, found: Found) -> Iterator[ChartUse]:
    name = _channel_of(item)
    channel = one(found, name)
    if channel is None:
        yield Unverifiable(place=item.at("spec.channel"), problem=f"there is no Channel {name.name[:100]!r}", code=codes.ORIGIN_MISSING)
        return
    yield from _through(item, channel)


def _subscription_needs(item: Object, _: Found) -> Iterator[Need]:
    yield _channel_of(item)


def _channel(item: Object, found: Found) -> Iterator[ChartUse]:
    """What takes its charts through it is judged with it as it is now."""
    for subscription in found.get(_SUBSCRIPTIONS, ()):
        if _channel_of(subscription) == item.key:
            for use in _through(subscription, item):
                yield replace(use, namespace=subscription.namespace) if isinstance(use, Named) else use


def _channel_needs(_: Object, __: Found) -> Iterator[Need]:
    yield _SUBSCRIPTIONS


def _through(item: Object, channel: Object) -> Iterator[ChartUse]:
    place, kind, url = item.at("spec"), text(get(channel.spec, "type")).lower(), text(get(channel.spec, "pathname"))
    if kind in ("git", "github", "objectbucket"):
        yield Unverifiable(place=place, problem=f"it takes what lies in {url[:200]!r}, where nobody can tell whether it is a chart", git=True)
    elif kind == "helmrepo":
        if get(item.spec, "packageOverrides"):
            yield unverifiable(item.at("spec.packageOverrides"), "it may change which chart is meant")
        version = text(get(mapping(item.spec, "packageFilter"), "version"))
        yield unpinnable(from_repository(place, url, text(get(item.spec, "name")), version), "there is no field for a digest")
    else:
        yield unverifiable(place, f"a channel of the kind {kind[:40]!r}")


def _channel_of(item: Object) -> Name:
    written = text(get(item.spec, "channel"))
    namespace, _, name = written.rpartition("/")
    return Name(_GROUP, "Channel", namespace or item.namespace, name)


READERS = (
    Reader(
        group=_GROUP,
        kind="HelmRelease",
        versions=("v1",),
        uses=_release,
        checked="`repo.chartName`, `repo.version`, and every URL of `repo.source` and `repo.altSource`",
        pin="no: `repo.digest` is of the archive, for https",
    ),
    Reader(
        group=_GROUP,
        kind="Subscription",
        versions=("v1",),
        uses=_subscription,
        needs=_subscription_needs,
        checked="`spec.name` and `spec.packageFilter.version`, joined with the Channel",
        pin="no: there is no field for a digest",
    ),
    Reader(
        group=_GROUP,
        kind="Channel",
        versions=("v1",),
        uses=_channel,
        needs=_channel_needs,
        checked="every Subscription that goes through it, with its new `spec.pathname`",
        pin="no: it names no chart",
    ),
)
