"""What a CI system tells, as provenance that our own reader and policy understand; tag checks; outputs of a pipeline."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from tests.support.charts import chart_file
from verifier.attest.predicates import SLSA_1, read_provenance
from verifier.ci.build import Build, detect_build, write_provenance
from verifier.ci.outputs import write_dotenv, write_outputs, write_summary
from verifier.ci.tag import check_tag, check_template
from verifier.model.errors import MisuseError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_REPOSITORY": "acme/charts",
    "GITHUB_REF": "refs/tags/v1.4.2",
    "GITHUB_SHA": "0123456789012345678901234567890123456789",
    "GITHUB_WORKFLOW_REF": "acme/charts/.github/workflows/release.yml@refs/tags/v1.4.2",
    "GITHUB_RUN_ID": "17",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_EVENT_NAME": "push",
    "GITHUB_REPOSITORY_ID": "1",
    "GITHUB_REPOSITORY_OWNER_ID": "2",
    "RUNNER_ENVIRONMENT": "github-hosted",
}
GITLAB = {
    "GITLAB_CI": "true",
    "CI_PROJECT_URL": "https://gitlab.com/acme/charts",
    "CI_COMMIT_TAG": "v1.4.2",
    "CI_COMMIT_REF_NAME": "v1.4.2",
    "CI_COMMIT_SHA": "0123456789012345678901234567890123456789",
    "CI_JOB_URL": "https://gitlab.com/acme/charts/-/jobs/5",
    "CI_JOB_ID": "5",
    "CI_JOB_NAME": "release",
    "CI_RUNNER_ID": "9",
    "CI_RUNNER_VERSION": "17.5.0",
}


def built(environment: dict[str, str], event: bytes | None = None) -> Build:
    build = detect_build(environment, event)
    assert build is not None
    return build


def test_github_is_described_as_github_does_it() -> None:
    value = write_provenance(built(GITHUB, b'{"inputs": {"channel": "stable"}}'), started=NOW, finished=NOW)
    assert value["buildDefinition"]["externalParameters"] == {
        "workflow": {"ref": "refs/tags/v1.4.2", "repository": "https://github.com/acme/charts", "path": ".github/workflows/release.yml"},
        "inputs": {"channel": "stable"},
    }
    assert value["runDetails"]["metadata"]["invocationId"] == "https://github.com/acme/charts/actions/runs/17/attempts/2"
    read = read_provenance(SLSA_1, value)
    assert read is not None
    assert (read.builder, read.build_type) == (
        "https://github.com/acme/charts/.github/workflows/release.yml@refs/tags/v1.4.2",
        "https://actions.github.io/buildtypes/workflow/v1",
    )
    assert (read.source_repository, read.ref, read.parameters["inputs.channel"]) == ("https://github.com/acme/charts", "refs/tags/v1.4.2", "stable")


@pytest.mark.parametrize(
    ("more", "ref", "tag"), [({}, "refs/tags/v1.4.2", "v1.4.2"), ({"CI_COMMIT_TAG": "", "CI_COMMIT_REF_NAME": "main"}, "refs/heads/main", None)]
)
def test_gitlab_is_described_as_its_runner_does_it(more: dict[str, str], ref: str, tag: str | None) -> None:
    build = built({**GITLAB, **more})
    assert build.tag == tag
    read = read_provenance(SLSA_1, write_provenance(build, started=NOW, finished=NOW))
    assert read is not None
    assert (read.builder, read.source_repository, read.ref) == ("https://gitlab.com/acme/charts/-/runners/9", "https://gitlab.com/acme/charts", ref)
    assert read.build_type == "https://gitlab.com/gitlab-org/gitlab-runner/-/blob/v17.5.0/PROVENANCE.md"


def test_outside_of_ci_there_is_nothing_to_tell() -> None:
    assert detect_build({}) is None
    assert detect_build({"CI": "true", "GITHUB_ACTIONS": "false"}) is None


@pytest.mark.parametrize(
    ("environment", "missing"),
    [(GITHUB, name) for name in ("GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_REF", "GITHUB_WORKFLOW_REF", "GITHUB_RUN_ID")]
    + [(GITLAB, name) for name in ("CI_PROJECT_URL", "CI_COMMIT_SHA", "CI_JOB_URL", "CI_RUNNER_ID", "CI_JOB_NAME")],
)
def test_a_run_that_does_not_say_who_it_is(environment: dict[str, str], missing: str) -> None:
    with pytest.raises(MisuseError, match=missing) as refused:
        detect_build({**environment, missing: ""})
    assert refused.value.code.name == "config-invalid"


@pytest.mark.parametrize("event", [b"{", b"[]", b'{"inputs": {}, "inputs": {}}'])
def test_an_event_that_is_no_json_object(event: bytes) -> None:
    with pytest.raises(MisuseError) as refused:
        detect_build(GITHUB, event)
    assert refused.value.code.name == "config-invalid"


# Tags


@pytest.mark.parametrize(
    ("template", "tag"), [("v{version}", "v1.4.2"), ("{version}", "1.4.2"), ("{name}-{version}", "web-1.4.2"), ("charts/{name}/{version}", "charts/web/1.4.2")]
)
def test_the_tag_of_a_version(template: str, tag: str) -> None:
    check_template(template)
    check_tag(template, chart_file().facts, tag)


@pytest.mark.parametrize("found", [None, "v1.4.3", "v1.4.2-rc1", "1.4.2", "xv1.4.2"])
def test_another_tag_or_none_is_refused(found: str | None) -> None:
    with pytest.raises(MisuseError, match=r"'v1\.4\.2'") as refused:
        check_tag("v{version}", chart_file().facts, found)
    assert refused.value.code.name == "release-tag"


@pytest.mark.parametrize("template", ["", "v", "v{version}{version}", "{tag}-{version}", "v{version", "{name}", "v{{version}}"])
def test_a_template_that_says_nothing_of_the_version(template: str) -> None:
    with pytest.raises(MisuseError) as refused:
        check_template(template)
    assert refused.value.code.name == "usage"


# Outputs

WEB = {
    "name": "web",
    "version": "1.4.2",
    "reference": "oci://reg.test/acme/web:1.4.2@sha256:00",
    "digest": "sha256:00",
    "archive": "sha256:11",
    "state": "published",
}


def test_outputs_of_one_chart_and_of_several() -> None:
    one = dict(line.split("=", 1) for line in write_outputs([WEB]).splitlines())
    assert (one["digest"], one["reference"], json.loads(one["charts"])) == ("sha256:00", WEB["reference"], [WEB])
    several = dict(line.split("=", 1) for line in write_outputs([WEB, {**WEB, "name": "db"}]).splitlines())
    assert list(several) == ["charts"]
    assert write_outputs([]) == "charts=[]\n"


def test_a_dotenv_file() -> None:
    assert "VERIFIER_DIGEST=sha256:00\n" in write_dotenv([{**WEB, "name": "my-web"}])
    several = write_dotenv([{**WEB, "name": "my-web"}, WEB])
    assert ("VERIFIER_MY_WEB_DIGEST=sha256:00\n" in several, "\nVERIFIER_DIGEST" in several) == (True, False)


def test_no_value_begins_another() -> None:
    for write in (write_outputs, write_dotenv):
        with pytest.raises(ValueError, match="more than one line"):
            write([{**WEB, "version": "1\nPATH=/evil"}])


def test_a_summary_holds_no_markup_of_others() -> None:
    text = write_summary([{**WEB, "name": "a|b`c<script>[x](y)\x1b"}], ["boom | <b>"])
    assert all(part not in text for part in ("<script>", "a|b", "\x1b", "<b>"))
    assert "**not released**" in text
