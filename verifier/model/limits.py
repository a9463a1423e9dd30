"""Every bound on what comes from outside, with its reason. Sizes are bytes, times are seconds."""

from __future__ import annotations

from typing import Final

MIB: Final = 1024 * 1024

MANIFEST_BYTES: Final = 4 * MIB  # what the distribution spec obliges a registry to accept
CONFIG_BYTES: Final = 1 * MIB  # a Chart.yaml as JSON; Helm's own charts stay under 20 KiB
ARCHIVE_BYTES: Final = 64 * MIB  # compressed; Helm reads no more than 100 MiB uncompressed
ARCHIVE_UNPACKED_BYTES: Final = 100 * MIB  # Helm's MaxDecompressedChartSize
ARCHIVE_ENTRIES: Final = 10_000  # large real charts have some hundreds
ARCHIVE_DEPTH: Final = 5  # charts inside charts; real ones stay at two
ARCHIVE_PATH: Final = 512  # characters of one path
REPOSITORY_INDEX_BYTES: Final = 64 * MIB  # an index.yaml; the largest public one had 20 MiB
INDEX_ENTRY_BYTES: Final = 4 * MIB  # what one chart takes of it, with all its versions; a thousand versions are some 1 MiB
INDEXES_KEPT_BYTES: Final = 64 * MIB  # of all chart repositories, to be asked for again only if they changed
PROVENANCE_BYTES: Final = 1 * MIB  # a clear-signed Chart.yaml
EVIDENCE_BYTES: Final = 8 * MIB  # one bundle; SBOM attestations are the largest
BLOB_BYTES: Final = 1024 * MIB  # a file for `verify-blob`; larger ones are given by their digest
EVIDENCE_TOTAL_BYTES: Final = 32 * MIB  # all evidence of one decision together
REFERRERS: Final = 100  # referrers read for one chart; signatures first
REFERRER_PAGES: Final = 20
TAG_PAGES: Final = 200
CATALOG_PAGES: Final = 20  # of a registry's list of repositories, for an index
NAMED_CHARTS: Final = 1_000  # that files name, in one run
NAMED_OBJECTS: Final = 20_000  # of Kubernetes, in those files
NAMING_BYTES: Final = 8 * MIB  # one such file
INDEX_CHARTS: Final = 100  # listed in one index that is made for Helm; each costs a request
INDEX_VERSIONS: Final = 1_000  # of one chart, the newest
TOKEN_BYTES: Final = 128 * 1024  # as oras-go
ERROR_BYTES: Final = 64 * 1024  # of a registry's error body
KEYRING_BYTES: Final = 4 * MIB
POLICY_BYTES: Final = 1 * MIB
RECORDING_BYTES: Final = 16 * MIB  # the document of a recording; what it refers to has limits of its own
CASES: Final = 5_000  # in one file of cases
YAML_DEPTH: Final = 100  # PyYAML's C loader overflows the stack at about 3,000 in a small thread
YAML_EVENTS: Final = 200_000
JSON_DEPTH: Final = 100
SIGNATURE_LAYERS: Final = 64  # cosign's signatures in one manifest; each costs a request
COPY_MANIFESTS: Final = 500  # a chart and all that belongs to it
COPY_BLOB_BYTES: Final = 512 * MIB  # of what is attached to a chart, whatever it is
BUNDLE_BYTES: Final = 2048 * MIB  # a bundle file
PARTS: Final = 100  # subcharts and images of one chart that are judged; each costs some requests
PART_DEPTH: Final = 5  # subcharts of subcharts, as in an archive
VALUES_NODES: Final = 200_000  # looked at for images, in all values of a chart or all that it renders
RECORD_BYTES: Final = 2 * MIB  # a release record as Kubernetes keeps it: at most 1 MiB, as base64
RECORD_UNPACKED_BYTES: Final = 32 * MIB  # its JSON; a megabyte of text packs to a tenth
ADMISSION_CHARTS: Final = 100  # that one object may name
ADMISSION_OBJECTS: Final = 5_000  # that are looked up for one
RENDER_SECONDS: Final = 30.0  # `helm template` of one chart
SIGNATURES: Final = 16  # OpenPGP signatures in one .prov
LOG_ENTRIES: Final = 32  # of one bundle, as sigstore-go; clients write one
TIMESTAMPS: Final = 32  # of one bundle, as sigstore-go
CERTIFICATES: Final = 16  # of one chain
PROOF_HASHES: Final = 64  # a Merkle path in a tree of 2^64 leaves
AUTHORITIES: Final = 256  # of one kind in one trusted root; the public one has two
TRUSTED_ROOT_BYTES: Final = 1 * MIB  # the public one has 6 KiB
SUBJECTS: Final = 1_024  # in-toto subjects in one statement
REDIRECTS: Final = 5

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
DECISION_SECONDS: Final = 60.0  # one decision on the command line, look-ups included
HELPER_SECONDS: Final = 30.0  # a docker credential helper
CLOCK_SKEW_SECONDS: Final = 300.0  # a signature may be this far in the future
