"""The run that we are part of, as its CI system describes it in environment variables, and build provenance made of it.

Sources: docs.github.com "Variables reference" and actions.github.io/buildtypes/workflow/v1; docs.gitlab.com "Predefined CI/CD variables" and
the runner's PROVENANCE.md; slsa.dev/spec/v1.0/provenance.

What stands in the environment a job could have set itself: provenance of this kind is as trustworthy as the job (SLSA build level 1, or 2 where the
job's own identity signs it). A policy compares source and ref with the certificate, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from verifier import __version__
from verifier.formats.json import parse_object
from verifier.formats.loose import mapping
from verifier.model import codes
from verifier.model.errors import FailedError, MisuseError

GITHUB_BUILD_TYPE = "https://actions.github.io/buildtypes/workflow/v1"
_GITLAB_BUILD_TYPE = "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/{version}/PROVENANCE.md"
_TAGS = "refs/tags/"


class Build(Struct, frozen=True, kw_only=True):
    """One run. `repository` is the source's URL, `ref` a full git ref; `external` is what a user chose, `internal` what the system did."""

    system: str
    builder: str
    build_type: str
    invocation: str
    repository: str
    ref: str
    commit: str
    external: Mapping[str, Any]
    internal: Mapping[str, Any]

    @property
    def tag(self) -> str | None:
        """The git tag that the run is for."""
        return self.ref.removeprefix(_TAGS) if self.ref.startswith(_TAGS) else None


def detect_build(environment: Mapping[str, str], event: bytes | None = None) -> Build | None:
    """The run, or None outside of a CI system that is known; `event` is GitHub's event as JSON. Raises MisuseError `config-invalid`."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return _github(environment, event)
    if environment.get("GITLAB_CI") == "true":
        return _gitlab(environment)
    return None


def write_provenance(build: Build, *, started: datetime, finished: datetime) -> dict[str, Any]:
    """A SLSA v1 provenance predicate; times are aware."""
    source = {"uri": f"git+{build.repository}@{build.ref}", "digest": {"gitCommit": build.commit}}
    return {
        "buildDefinition": {
            "buildType": build.build_type,
            "externalParameters": dict(build.external),
            "internalParameters": dict(build.internal),
            "resolvedDependencies": [source],
        },
        "runDetails": {
            "builder": {"id": build.builder, "version": {"verifier": __version__}},
            "metadata": {"invocationId": build.invocation, "startedOn": _time(started), "finishedOn": _time(finished)},
        },
    }


def _github(environment: Mapping[str, str], event: bytes | None) -> Build:
    """As GitHub's own attestations describe a workflow, so that one policy fits both."""
    server, repository = _needed(environment, "GITHUB_SERVER_URL"), _needed(environment, "GITHUB_REPOSITORY")
    workflow, _, workflow_ref = _needed(environment, "GITHUB_WORKFLOW_REF").partition("@")
    inputs = _inputs(event)
    external: dict[str, Any] = {
        "workflow": {"ref": workflow_ref, "repository": f"{server}/{repository}", "path": workflow.removeprefix(f"{repository}/")},
        **({"inputs": inputs} if inputs else {}),
    }
    told = {"event_name": "GITHUB_EVENT_NAME", "repository_id": "GITHUB_REPOSITORY_ID", "repository_owner_id": "GITHUB_REPOSITORY_OWNER_ID"}
    github = {key: environment[name] for key, name in told.items() if environment.get(name)}
    run = f"{server}/{repository}/actions/runs/{_needed(environment, 'GITHUB_RUN_ID')}/attempts/{environment.get('GITHUB_RUN_ATTEMPT') or '1'}"
    return Build(
        system="GitHub Actions",
        builder=f"{server}/{workflow}@{workflow_ref}",
        build_type=GITHUB_BUILD_TYPE,
        invocation=run,
        repository=f"{server}/{repository}",
        ref=_needed(environment, "GITHUB_REF"),
        commit=_needed(environment, "GITHUB_SHA"),
        external=external,
        internal={"github": {**github, "runner_environment": environment.get("RUNNER_ENVIRONMENT", "unknown")}},
    )


def _gitlab(environment: Mapping[str, str]) -> Build:
    """As GitLab's runner describes a job."""
    project, tag = _needed(environment, "CI_PROJECT_URL"), environment.get("CI_COMMIT_TAG")
    ref = f"{_TAGS}{tag}" if tag else f"refs/heads/{_needed(environment, 'CI_COMMIT_REF_NAME')}"
    version = environment.get("CI_RUNNER_VERSION")
    internal = {"job": "CI_JOB_ID", "pipeline": "CI_PIPELINE_ID", "trigger": "CI_PIPELINE_SOURCE", "architecture": "CI_RUNNER_EXECUTABLE_ARCH"}
    return Build(
        system="GitLab CI",
        builder=f"{project}/-/runners/{_needed(environment, 'CI_RUNNER_ID')}",
        build_type=_GITLAB_BUILD_TYPE.format(version=f"v{version}" if version else "main"),
        invocation=_needed(environment, "CI_JOB_URL"),
        repository=project,
        ref=ref,
        commit=_needed(environment, "CI_COMMIT_SHA"),
        external={"source": project, "entryPoint": _needed(environment, "CI_JOB_NAME"), "configuration": environment.get("CI_CONFIG_PATH") or ".gitlab-ci.yml"},
        internal={key: environment[name] for key, name in internal.items() if environment.get(name)},
    )


def _inputs(event: bytes | None) -> dict[str, Any]:
    """What a person typed for a `workflow_dispatch`; raises MisuseError `config-invalid` for an event that is no JSON."""
    if event is None:
        return {}
    try:
        return dict(mapping(parse_object(event, where="GITHUB_EVENT_PATH"), "inputs"))
    except FailedError as error:
        raise MisuseError(codes.CONFIG_INVALID, error.reason, where="GITHUB_EVENT_PATH") from error


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise MisuseError(codes.CONFIG_INVALID, f"{name} is empty, though the environment says that this is a CI run")
    return value


def _time(moment: datetime) -> str:
    return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")
