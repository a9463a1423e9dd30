"""Who may do what: Basic, Bearer and the token server. Source: distribution docs/content/spec/auth/token.md and oauth.md."""

from __future__ import annotations

import base64
import re
import secrets
import time
from urllib.parse import parse_qs

from tests.simulators.registry.answers import Answer, error, value
from tests.simulators.registry.state import Asked, SimulatedRegistry, Token

_ALL = ("pull", "push", "delete")
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_NAME = re.compile(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/")


def refusal(registry: SimulatedRegistry, asked: Asked) -> Answer | None:
    """The challenge, or the denial, that stands between the question and its answer; None lets it through."""
    switches = registry.switches
    if switches.cookies and "Cookie" in asked.headers:
        return error(403, "FORBIDDEN", "CSRF token invalid")
    found = _NAME.match(asked.path)
    name, action = found[1] if found else "", _ACTIONS.get(asked.method, "push")
    if switches.basic is not None:
        return _by_password(registry, asked, action)
    return _by_token(registry, asked, name, action) if switches.bearer is not None else None


def _by_password(registry: SimulatedRegistry, asked: Asked, action: str) -> Answer | None:
    switches = registry.switches
    given = asked.headers.get("Authorization", "")
    if switches.basic is None or given != basic(*switches.basic):
        if switches.anonymous_pull and action == "pull" and not given:
            return None
        if switches.ended_says_403 and given:
            return error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
        return _challenge(registry, 'Basic realm="sim"')
    return None if action in switches.rights.get(switches.basic[0], _ALL) else error(403, "DENIED", "requested access to the resource is denied")


def _by_token(registry: SimulatedRegistry, asked: Asked, name: str, action: str) -> Answer | None:
    token = registry.tokens.get(asked.headers.get("Authorization", "").removeprefix("Bearer "))
    known = token is not None and token.ends > time.monotonic()
    wanted = {name: {action}} if name else {}
    if name and (source := parse_qs(asked.query).get("from")) and action == "push":
        wanted[source[0]] = {"pull"}
    if known and token is not None and all(actions <= token.grants.get(repository, set()) for repository, actions in wanted.items()):
        return None
    realm = registry.switches.realm or f"{registry.base}/token"
    actions = {"push": "pull,push"}.get(action, action)
    scopes = [f"repository:{repository}:{actions if repository == name else 'pull'}" for repository in wanted]
    scope = f',scope="{" ".join(scopes)}"' if scopes else ""
    why = ',error="insufficient_scope"' if known else ',error="invalid_token"' if asked.headers.get("Authorization") else ""
    return _challenge(registry, f'Bearer realm="{realm}",service="sim"{scope}{why}')


def _challenge(registry: SimulatedRegistry, text: str) -> Answer:
    offered = f"Negotiate, {text}" if registry.switches.negotiate else text
    return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": offered})


def give_token(registry: SimulatedRegistry, asked: Asked) -> Answer:
    """What the token endpoint answers."""
    switches = registry.switches
    if asked.method not in switches.token_methods:
        return error(405, "UNSUPPORTED")
    form = parse_qs((asked.body.decode() if asked.method == "POST" else asked.query), keep_blank_values=True)
    user = _user(registry, asked, form)
    if user is None:
        return error(401, "UNAUTHORIZED", "incorrect username or password")
    scopes = [scope for text in form.get("scope", []) for scope in text.split()]
    grants: dict[str, set[str]] = {}
    for scope in scopes[:1] if switches.first_scope_only else scopes:
        _, name, actions = scope.split(":", 2)
        allowed = switches.rights.get(user, _ALL) if user else _ALL if switches.bearer == ("", "") else ("pull",)
        grants.setdefault(name, set()).update(set(actions.split(",")) & set(allowed))
    name = secrets.token_hex(8)
    registry.tokens[name] = Token(user, grants, time.monotonic() + switches.token_life)
    return value({switches.token_name: name, "expires_in": switches.token_life})


def exchange(registry: SimulatedRegistry, asked: Asked) -> Answer:
    """A refresh token for the token of a cloud's identity."""
    form = {name: texts[0] for name, texts in parse_qs(asked.body.decode()).items()}
    wanted = {"grant_type": "access_token", "service": registry.name or registry.host, "access_token": registry.switches.aad_token}
    if asked.method != "POST" or {name: form.get(name) for name in wanted} != wanted:
        return error(401, "UNAUTHORIZED", "authentication required")
    return value({"refresh_token": registry.switches.refresh_token})


def _user(registry: SimulatedRegistry, asked: Asked, form: dict[str, list[str]]) -> str | None:
    """Who asks; "" is nobody in particular, None is somebody who lies."""
    switches = registry.switches
    given = asked.headers.get("Authorization", "")
    user, password = switches.bearer or ("", "")
    if asked.method == "POST":
        fresh = form.get("refresh_token") == [switches.refresh_token or password]
        typed = form.get("grant_type") == ["password"] and form.get("username") == [user] and form.get("password") == [password]
        return user if fresh or typed else None
    if given == basic(user, password):
        return user
    return "" if not given and (switches.anonymous_pull or not user) else None


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
