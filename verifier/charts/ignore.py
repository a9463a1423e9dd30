"""`.helmignore` rules. Source: helm/helm internal/ignore/rules.go.

One glob per line (Go's filepath.Match), `#` comments, a leading `!` negates, a trailing `/` matches directories only,
a pattern with a slash matches the whole path, one without matches the base name; `**` is not supported.
"""

from __future__ import annotations

import re

from msgspec import Struct

from verifier.model import codes
from verifier.model.errors import MisuseError


class _Rule(Struct, frozen=True):
    pattern: re.Pattern[str]
    negate: bool
    directories_only: bool
    whole_path: bool


class IgnoreRules(Struct, frozen=True):
    """The rules of one chart; Helm always adds `templates/.?*`."""

    rules: tuple[_Rule, ...]

    def ignores(self, path: str, *, is_directory: bool) -> bool:
        """Whether Helm leaves `path` (relative, with `/`) out; a negated rule that does not match also ignores, as in Helm."""
        for rule in self.rules:
            subject = path if rule.whole_path else path.rsplit("/", 1)[-1]
            matched = rule.pattern.fullmatch(subject) is not None
            if rule.negate:
                if rule.directories_only and not is_directory:
                    return True
                if not matched:
                    return True
                continue
            if rule.directories_only and not is_directory:
                continue
            if matched:
                return True
        return False


def parse_ignore(text: str) -> IgnoreRules:
    """Read `.helmignore`; raises MisuseError `chart-invalid` on a pattern that Helm refuses too."""
    lines = [*text.removeprefix("\ufeff").splitlines(), "templates/.?*"]
    return IgnoreRules(tuple(_rule(line.strip()) for line in lines if line.strip() and not line.strip().startswith("#")))


def _rule(line: str) -> _Rule:
    if "**" in line:
        raise MisuseError(codes.CHART_INVALID, f"'**' is not supported: {line[:100]!r}", where=".helmignore")
    negate = line.startswith("!")
    pattern = line.removeprefix("!")
    directories_only = pattern.endswith("/")
    pattern = pattern.removesuffix("/")
    whole = "/" in pattern
    return _Rule(_compile(pattern.removeprefix("/")), negate, directories_only, whole)


def _compile(pattern: str) -> re.Pattern[str]:
    """Go's filepath.Match: `*` and `?` do not cross `/`, `[...]` classes with `^`, backslash escapes."""
    out, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif character == "[":
            end = pattern.find("]", index + 1)
            if end < 0:
                raise MisuseError(codes.CHART_INVALID, f"'[' without ']': {pattern[:100]!r}", where=".helmignore")
            inner = pattern[index + 1 : end].replace("\\", "\\\\")
            out += f"[{inner}]"
            index = end
        else:
            if character == "\\" and index + 1 < len(pattern):
                index += 1
            out += re.escape(pattern[index])
        index += 1
    return re.compile(out, re.DOTALL)
