"""Docs cannot lie: their commands run, their YAML loads, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import free_port
from verifier.server.callers import load_callers

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "keys" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def script(page: Path) -> str:
    """All `sh` blocks of a page as one script, on free ports, waiting for what it starts in the background."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    port = str(free_port())
    text = "\n".join(blocks).replace("127.0.0.1:5000", f"127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}")
    text = text.replace("--directory site 5000", f"--directory site {port}")
    text = re.sub(r"(verifier registry serve .*) &\n", r"\1 &\nsleep 2\n", text)
    return "set -euo pipefail\ntrap 'kill $(jobs -p); wait' EXIT\n" + text


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("quickstart", "tutorial", "release", "promotion", "chart-repositories"))],
    ids=lambda page: page.stem,
)
def test_the_commands_run(page: Path, tmp_path: Path) -> None:
    if "gpg " in script(page) and shutil.which("gpg") is None:
        pytest.skip("the page uses the gpg program, which is not installed")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script(page)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ALLOWED" in done.stdout


def test_every_simulated_registry_has_a_page() -> None:
    """With what a user does there, what it cannot do, and what was tested."""
    from tests.simulators.registry.profiles import PROFILES

    pages = {path.stem: path.read_text() for path in (ROOT / "docs" / "registries").glob("*.md")}
    names = {
        "harbor-2.10": "harbor",
        "ecr-2023": "ecr",
        "docker-hub-2024": "docker-hub",
        "gcr": "artifact-registry",
        "artifact-registry-2023": "artifact-registry",
    }
    for profile in PROFILES:
        page = pages[names.get(profile, profile.partition("-2.8")[0].partition("-3.1")[0])]
        for heading in ("**Create", "**Log in", "**Push, sign, verify**", "**Immutability", "**Limits.**", "**Tested**"):
            assert heading in page, f"{profile}: {heading}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_option_that_docs_name_exists() -> None:
    from tests.support.cli import run

    helps = "".join(
        run(*command, "--help").out
        for command in (
            ("verify",),
            ("sign",),
            ("package",),
            ("push",),
            ("pull",),
            ("serve",),
            ("registry", "serve"),
            ("registry", "login"),
            ("dependencies", "verify"),
            ("registry", "check"),
            ("registry", "list"),
            ("registry", "prune"),
            ("registry", "repair"),
            ("registry", "collect"),
            ("keys", "generate"),
            ("keys", "show"),
            ("keys", "uses"),
            ("policy", "push"),
            ("policy", "show"),
            ("policy", "lint"),
            ("policy", "test"),
            ("policy", "replay"),
            ("policy", "import"),
            ("policy", "exceptions"),
            ("policy", "grant"),
            ("record",),
            ("attest",),
            ("verify-blob",),
            ("trust", "update"),
            ("helm", "install-plugin"),
            ("helm", "package-plugin"),
            ("helm", "install"),
            ("helm", "resident"),
            ("release",),
            ("copy",),
            ("bundle", "create"),
            ("bundle", "verify"),
            ("bundle", "load"),
            ("admission", "webhooks"),
            ("scan",),
        )
    )
    foreign = {
        "--insecure-ignore-tlog",
        "--admission-control-config-file",
        "--repository-name",  # aws, gcloud and az
        "--image-tag-mutability",
        "--repository-format",
        "--location",
        "--immutable-tags",
        "--name",
        "--reuse-values",
        "--create-namespace",
        "--bind",  # python3 -m http.server
        "--directory",
        "--verify",
        "--frozen",
        "--homedir",
        "--batch",
        "--passphrase",
        "--quick-gen-key",
        "--armor",
        "--export",
        "--export-secret-keys",
        "--kill",
        "--from-file",
        "--from-oci-layout",
        "--sign",
        "--keyring",
        "--devel",
        "--version",
        "--repo",
        "--post-renderer",
        "--set",
        "--username",
        "--password",
    }
    for page in PAGES:
        for option in set(re.findall(r"(?<![-\w])--[a-z](?:[a-z-]*[a-z])?(?![-\w])", page.read_text())) - foreign:
            assert option in helps, f"{page.name}: {option}"


def test_the_callers_example_loads(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "server.md").read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "c.yaml").write_text(block[1])
    assert load_callers(tmp_path / "c.yaml").callers[0].name == "deployer"


def test_no_page_names_what_it_must_not() -> None:
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"\bTODO\b|\bFIXME\b", text), page.name
