"""The registry of a CI system, and the job's own token for it.

GitHub: GITHUB_TOKEN, where the workflow hands it on, for ghcr.io. GitLab: CI_REGISTRY_USER and CI_REGISTRY_PASSWORD, else CI_JOB_TOKEN, for CI_REGISTRY.
Each goes to that one host. Source: docs.github.com "Working with the Container registry", docs.gitlab.com "Authenticate with the container registry".
"""

from __future__ import annotations

from collections.abc import Mapping

GITHUB_REGISTRY = "ghcr.io"


def registry_login(environment: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Host as it is written there, user and password; None outside of a CI system that gives any."""
    if environment.get("GITHUB_ACTIONS") == "true" and (token := environment.get("GITHUB_TOKEN")):
        return GITHUB_REGISTRY, environment.get("GITHUB_ACTOR") or "x-access-token", token
    if environment.get("GITLAB_CI") == "true" and (host := environment.get("CI_REGISTRY")):
        user, password = environment.get("CI_REGISTRY_USER"), environment.get("CI_REGISTRY_PASSWORD")
        if user and password:
            return host, user, password
        if token := environment.get("CI_JOB_TOKEN"):
            return host, "gitlab-ci-token", token
    return None
