"""The action, the templates and the workflows: valid by the published schemas, and run as a runner would run them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.simulators.sigstore_http import Services, running
from tests.support.signers import pgp
from tests.unit.ci.test_build import GITHUB

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PAGE = (ROOT / "docs" / "ci" / "github.md").read_text()
ON_PAGE = [block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "jobs:" in block]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())


def check(schema: str, path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Schemas and rules


def test_the_action_is_valid() -> None:
    check("vendor.github-actions", ROOT / "action.yml")


def test_the_gitlab_template_is_valid() -> None:
    check("vendor.gitlab-ci", ROOT / "docs" / "ci" / "gitlab.yml")


def test_a_schema_that_refuses_nothing_would_be_a_defect(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("name: x\nruns: {using: composite, steps: [{shell: 1}]}\n")
    with pytest.raises(AssertionError):
        check("vendor.github-actions", tmp_path / "bad.yml")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_our_workflows_are_valid(workflow: Path) -> None:
    check("vendor.github-workflows", workflow)


@pytest.mark.parametrize("number", range(len(ON_PAGE)))
def test_the_workflows_of_the_page_are_valid_and_use_inputs_that_there_are(number: int, tmp_path: Path) -> None:
    (tmp_path / "workflow.yml").write_text(ON_PAGE[number])
    check("vendor.github-workflows", tmp_path / "workflow.yml")
    for job in yaml.safe_load(ON_PAGE[number])["jobs"].values():
        ours = [step for step in job["steps"] if "/verifier@" in step.get("uses", "")]
        assert ours
        assert all(set(step["with"]) <= set(ACTION["inputs"]) for step in ours)


@pytest.mark.parametrize("text", [*ON_PAGE, *(path.read_text() for path in WORKFLOWS)])
def test_least_rights(text: str) -> None:
    """Nothing is granted to a whole workflow; each job says what it needs; credentials of a checkout are not left lying."""
    value = yaml.safe_load(text)
    assert value["permissions"] == {}
    for job in value["jobs"].values():
        assert "permissions" in job
        assert all(step["with"]["persist-credentials"] is False for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@"))


def steps_that_run() -> Iterator[dict[str, Any]]:
    for value in (ACTION["runs"], *(job for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values())):
        yield from (step for step in value["steps"] if "run" in step)


def test_no_expression_stands_in_a_script() -> None:
    """`${{ }}` in a `run:` puts text of others into a shell; here it goes through variables."""
    assert [step["name"] for step in steps_that_run() if "${{" in step["run"]] == []


def test_the_libraries_of_the_action_are_those_of_the_lock() -> None:
    exported = ["export", "--frozen", "--no-dev", "--no-emit-project", "--no-annotate", "--no-header", "--quiet", "--offline"]
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        pytest.skip("uv is not here; `make` installs it")
    done = subprocess.run([uv, *exported], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ROOT / ".github" / "requirements.txt").read_text() == done.stdout, "run `make docs`"
    assert done.stdout.count("--hash=sha256:") > 100


# Run as a runner runs it


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Services, dict[str, str]]]:
    """A GitHub-shaped environment with an issuer of tokens on loopback, and the action's Python as if it were installed."""
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "temp" / "helm-verifier" / "bin" / "verifier"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m verifier "$@"\n')
    program.chmod(0o755)
    (tmp_path / "web" / "templates").mkdir(parents=True)
    (tmp_path / "web" / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.4.2\n")
    with running() as services:
        services.job = {"iss": "https://token.actions.githubusercontent.com", "repository": "acme/charts", "ref": GITHUB["GITHUB_REF"]}
        services.job |= {"sha": GITHUB["GITHUB_SHA"], "job_workflow_ref": GITHUB["GITHUB_WORKFLOW_REF"]}
        (tmp_path / "trust.json").write_text(json.dumps(services.trust_config()))
        (tmp_path / "root.json").write_text(json.dumps(services.instance.trusted_root()))
        environment = {
            **GITHUB,
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(ROOT),
            "RUNNER_TEMP": str(tmp_path / "temp"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{services.url}/token?job=1",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": services.job_secret,
        }
        yield services, environment


def act(environment: dict[str, str], **inputs: str) -> subprocess.CompletedProcess[str]:
    """Every step of action.yml, its expressions filled in; the first that fails ends it."""
    values = {**{name: item.get("default", "") for name, item in ACTION["inputs"].items()}, **{name.replace("_", "-"): text for name, text in inputs.items()}}
    assert set(values) == set(ACTION["inputs"])
    done = None
    for step in ACTION["runs"]["steps"]:
        own = {name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: _value(found[1], values), text) for name, text in step.get("env", {}).items()}
        done = subprocess.run(["bash", "-e", "-c", step["run"]], env=environment | own, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            break
    assert done is not None
    assert "Traceback" not in done.stdout + done.stderr
    return done


def _value(expression: str, inputs: dict[str, str]) -> str:
    if expression == "github.action_path":
        return str(ROOT)
    assert expression.startswith("inputs."), expression
    return inputs[expression.removeprefix("inputs.")]


def policy(host: str) -> str:
    Path("policy.yaml").write_text(
        f"""\
apiVersion: verifier/v1
kind: ChartPolicy
metadata: {{name: consumers}}
trust:
  release:
    keyless:
      issuer: https://token.actions.githubusercontent.com
      identity: "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/v*"
      sourceRepository: acme/charts
      root: here
roots:
  here: {{trustedRoot: root.json}}
rules:
  - name: ours
    charts: ["oci://{host}/acme/*"]
    require:
      all:
        - signed: {{by: release}}
        - attested: {{type: slsaprovenance1, by: release, ref: "refs/tags/*", sourceRepository: "https://github.com/acme/charts"}}
"""
    )
    return "policy.yaml"


def test_release_and_verify_by_the_action(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    _, environment = runner
    inputs = {"command": "release", "charts": "\n  web  \n\n", "registry": f"oci://{registry}/acme", "require_tag": "v{version}", "trust_config": "trust.json"}
    done = act(environment, **inputs, policy=policy(registry))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::notice title=verifier allowed::" in done.stdout
    outputs = dict(line.split("=", 1) for line in Path("output").read_text().splitlines())
    assert outputs["reference"] == f"oci://{registry}/acme/web:1.4.2@{outputs['digest']}"
    assert "| web | 1.4.2 | published |" in Path("summary").read_text()
    Path("charts.txt").write_text(f"{outputs['reference']}\n")
    allowed = act(environment, command="verify", references=outputs["reference"], files="charts.txt", policy="policy.yaml", sarif="report.sarif")
    assert (allowed.returncode, "::notice" in allowed.stdout) == (0, True), allowed.stderr
    assert json.loads(Path("report.sarif").read_text())["runs"][0]["results"] == []


def test_a_job_of_another_ref_is_denied_and_gets_no_version(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    services, environment = runner
    services.job |= {"ref": "refs/heads/evil", "job_workflow_ref": "acme/charts/.github/workflows/release.yml@refs/heads/evil"}
    done = act(environment, command="release", charts="web", registry=f"oci://{registry}/acme", trust_config="trust.json", policy=policy(registry))
    assert (done.returncode, "identity-mismatch" in done.stdout + done.stderr) == (1, True), done.stderr
    denied = act(environment, command="verify", references=f"oci://{registry}/acme/web:1.4.2", policy="policy.yaml", sarif="report.sarif")
    assert denied.returncode == 3
    assert json.loads(Path("report.sarif").read_text())["runs"][0]["results"]


def test_provenance_that_the_certificate_contradicts_is_forged(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    """A job can set variables for its own steps; its certificate it cannot choose."""
    _, environment = runner
    forged = {**environment, "GITHUB_REF": "refs/tags/v9.9.9", "GITHUB_WORKFLOW_REF": "acme/charts/.github/workflows/release.yml@refs/tags/v9.9.9"}
    done = act(forged, command="release", charts="web", registry=f"oci://{registry}/acme", trust_config="trust.json", policy=policy(registry))
    assert (done.returncode, "attestation-forged" in done.stdout + done.stderr) == (1, True), done.stdout + done.stderr


def test_a_gpg_key_from_a_secret(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    _, environment = runner
    secret = {**environment, "GPG_KEY": pgp().secret.decode()}
    done = act(secret, command="release", charts="web", registry=f"oci://{registry}/acme", keyless="false", openpgp_key="env://GPG_KEY")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PRIVATE KEY" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({"command": "deploy"}, "expected release or verify"),
        ({"command": "release"}, "registry is empty"),
        ({"command": "release", "registry": "oci://reg.test/acme", "charts": " \n"}, "charts names no directory"),
        ({"command": "release", "registry": "oci://reg.test/acme", "charts": "web", "keyless": "false"}, "say how to sign"),
        ({"command": "verify", "policy": "policy.yaml"}, "references and files are empty"),
        ({"command": "verify", "references": "oci://reg.test/acme/web:1"}, "policy is empty"),
        ({"command": "verify", "references": "oci://reg.test/acme/web:1", "policy": "missing.yaml"}, "missing.yaml"),
    ],
)
def test_misuse_of_the_action(inputs: dict[str, str], why: str, runner: tuple[Services, dict[str, str]]) -> None:
    done = act(runner[1], **inputs)
    assert (done.returncode, why in done.stdout + done.stderr) == (2, True), done.stdout + done.stderr


def test_a_job_without_the_permission_for_a_token(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    _, environment = runner
    without = {name: value for name, value in environment.items() if not name.startswith("ACTIONS_")}
    done = act(without, command="release", charts="web", registry=f"oci://{registry}/acme", trust_config="trust.json")
    assert (done.returncode, "token-invalid" in done.stderr) == (2, True), done.stderr
    assert "id-token: write" in done.stderr


def test_words_in_inputs_are_no_code(runner: tuple[Services, dict[str, str]]) -> None:
    done = act(runner[1], command="verify", references='oci://reg.test/acme/web:1"; touch pwned; $(touch pwned) `touch pwned`', policy="policy.yaml")
    assert (done.returncode, Path("pwned").exists()) == (2, False)


# GitLab's template


def test_the_gitlab_job_runs(registry: str, runner: tuple[Services, dict[str, str]]) -> None:
    """Its `script`, with the variables that a runner gives; the installation before it is left out."""
    from tests.unit.ci.test_build import GITLAB

    services, environment = runner
    template = yaml.safe_load((ROOT / "docs" / "ci" / "gitlab.yml").read_text())
    job = template[".verifier-release"]
    assert job["id_tokens"] == {"SIGSTORE_ID_TOKEN": {"aud": "sigstore"}}
    token = services.token(email=None, iss="https://gitlab.com", ci_config_ref_uri="gitlab.com/acme/charts//.gitlab-ci.yml@refs/tags/v1.4.2")
    own = {name: value for name, value in environment.items() if not name.startswith(("GITHUB_", "ACTIONS_"))}
    own |= {**GITLAB, "SIGSTORE_ID_TOKEN": token, "PATH": f"{environment['RUNNER_TEMP']}/helm-verifier/bin:{environment['PATH']}"}
    own |= {**job["variables"], "CHARTS": "web", "REGISTRY": f"oci://{registry}/acme", "MORE": "--trust-config trust.json"}
    done = subprocess.run(["bash", "-e", "-c", "\n".join(job["script"])], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIER_REFERENCE=oci://" in Path("release.env").read_text()
    assert job["artifacts"]["reports"]["dotenv"] == "release.env"


# Our own release


def of_release(environment: dict[str, str], script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = environment | {"VERIFIER_BIN": str(Path(sys.executable).parent)}
    return subprocess.run(["bash", str(ROOT / ".github" / "scripts" / script), *arguments], env=own, capture_output=True, text=True, check=False)


def test_our_release_is_signed_and_verified_as_its_page_says(runner: tuple[Services, dict[str, str]]) -> None:
    services, environment = runner
    workflow = "acme/verifier/.github/workflows/release.yml@refs/tags/v0.1.0"
    services.job |= {"repository": "acme/verifier", "ref": "refs/tags/v0.1.0", "job_workflow_ref": workflow}
    environment |= {"VERIFIER_TRUST_CONFIG": "trust.json", "VERIFIER_TRUSTED_ROOT": "root.json", "GPG_KEY": pgp().secret.decode()}
    Path("dist").mkdir()
    for name in ("helm_verifier-0.1.0-py3-none-any.whl", "helm_verifier-0.1.0.tar.gz"):
        (Path("dist") / name).write_bytes(name.encode())
    signed = of_release(environment, "sign-release.sh", "dist")
    assert signed.returncode == 0, signed.stdout + signed.stderr
    assert (Path("dist") / "verifier-0.1.0.tgz.prov").is_file()
    assert len((Path("dist") / "SHA256SUMS").read_text().splitlines()) == 5
    verified = of_release(environment, "verify-release.sh", "dist", f"https://github.com/{workflow}")
    assert (verified.returncode, "5 files are signed by" in verified.stdout) == (0, True), verified.stdout + verified.stderr
    assert (
        of_release(environment, "verify-release.sh", "dist", "https://github.com/evil/verifier/.github/workflows/release.yml@refs/tags/v0.1.0").returncode == 1
    )
    assert of_release(environment, "verify-release.sh", "root.json", f"https://github.com/{workflow}").returncode == 2
    (Path("dist") / "verifier-0.1.0.tgz").write_bytes(b"other bytes")
    assert of_release(environment, "verify-release.sh", "dist", f"https://github.com/{workflow}").returncode == 1
    (Path("dist") / "verifier-0.1.0.tgz.sigstore.json").unlink()
    assert of_release(environment, "verify-release.sh", "dist", f"https://github.com/{workflow}").returncode == 2


def test_our_workflow_does_what_the_scripts_do() -> None:
    """The steps that sign and verify are the scripts that are tested above, and signing needs no more than it asks for."""
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]["publish"]
    assert job["permissions"] == {"contents": "write", "id-token": "write"}
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert [command.split()[1].rpartition("/")[2] for command in commands[1:3]] == ["sign-release.sh", "verify-release.sh"]
    pinned = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", use) for use in pinned)
