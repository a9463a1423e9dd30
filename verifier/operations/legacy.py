"""Writing cosign's old form: the tag `sha256-HEX.sig`, which podman, skopeo and older verifiers read.

1. The payload names digest and repository, and is signed on its own.
2. What others have signed stays: the manifest under the tag is read, a layer is added, and the tag is written.
3. The tag is read back, and again after a settling time: every registry lets the last writer win, so another may have been
   faster, and then the layer is added anew (semantics 30). Raises InconclusiveError `attachment-lost` when that fails too often.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from verifier.attest.bundle import read_bundle
from verifier.attest.cosign import SIMPLE_SIGNING, write_annotations, write_simple_signing
from verifier.formats.json import dump_json
from verifier.model import codes
from verifier.model.artifact import Descriptor
from verifier.model.digest import Digest
from verifier.model.errors import FailedError, InconclusiveError
from verifier.oci.manifest import MANIFEST, Manifest, descriptor_value, read_manifest
from verifier.oci.source import Target, resolve_if_there
from verifier.operations.cosign_tags import cosign_tag

SignMessage = Callable[[bytes], bytes]

_CONFIG = "application/vnd.oci.image.config.v1+json"
_CONFIG_BYTES = b'{"architecture":"","config":{},"os":"","rootfs":{"diff_ids":null,"type":"layers"}}'
_ATTEMPTS = 6
_SETTLING = 0.2  # seconds


def write_legacy(target: Target, digest: Digest, repository: str, sign_message: SignMessage) -> str:
    """Sign, and add the signature under the tag; returns the tag."""
    payload = write_simple_signing(digest, repository)  # 1
    annotations = write_annotations(read_bundle(sign_message(payload), where="the new signature"))
    layer = Descriptor(media_type=SIMPLE_SIGNING, digest=target.push_blob(payload), size=len(payload), annotations=annotations)
    config = Descriptor(media_type=_CONFIG, digest=target.push_blob(_CONFIG_BYTES), size=len(_CONFIG_BYTES))
    tag = cosign_tag(digest, "sig")
    for _ in range(_ATTEMPTS):
        layers = _layers(target, tag)
        if not _holds(layers, layer):
            target.push_manifest(_manifest(config, [*layers, layer]), MANIFEST, tag)  # 2
            continue
        time.sleep(_SETTLING)
        if _holds(_layers(target, tag), layer):  # 3
            return tag
    raise InconclusiveError(codes.ATTACHMENT_LOST, f"other writers replace the tag {tag}", where=target.where)


def _layers(target: Target, tag: str) -> list[Descriptor]:
    fetched = resolve_if_there(target, tag)
    if fetched is None:
        return []
    manifest = read_manifest(fetched.data, where=f"{target.where}:{tag}")
    if not isinstance(manifest, Manifest):
        raise FailedError(codes.EVIDENCE_FOREIGN, "an index lies there, and would be lost", where=f"{target.where}:{tag}")
    return list(manifest.layers)


def _holds(layers: list[Descriptor], layer: Descriptor) -> bool:
    return any(item.digest == layer.digest and item.annotations == layer.annotations for item in layers)


def _manifest(config: Descriptor, layers: list[Descriptor]) -> bytes:
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor_value(config), "layers": [descriptor_value(item) for item in layers]}
    return dump_json(value)
