"""The shape of the house: seams, codes, sizes, start-up. A number here may go down; up only with a reason in the commit."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.charts import archive, chart_file
from tests.support.signers import pgp
from verifier.model.codes import ALL, Family

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "verifier").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Each foreign library has its room.
SEAMS = {
    "urllib3": {"net"},
    "requests": {"net"},
    "yaml": {"formats"},
    "cryptography": {"signers", "schemes/sigstore"},
    "asn1crypto": {"schemes/sigstore"},
    "sigstore": {"schemes/sigstore/keyless.py"},
    "tuf": {"schemes/sigstore/tuf.py"},
    "re2": {"policy/identity.py"},
    "cel_expr_python": {"policy/expression.py"},
    "nacl": {"signers"},
    "boto3": {"signers/aws.py", "oci/clouds/aws.py"},
    "botocore": {"signers/aws.py", "oci/clouds/aws.py"},
    "google": {"signers/gcp.py", "oci/clouds/google.py"},
    "azure": {"signers/azure.py", "oci/clouds/azure.py"},
    "hvac": {"signers/vault.py"},
    "pkcs11": {"signers/pkcs11.py"},
    "sqlalchemy": {"store"},
    "psycopg": {"store/database.py"},
    "structlog": {"server"},
    "opentelemetry": {"server/tracing.py"},
    "jwt": {"server"},
    "lightkube": {"signers/kubernetes.py", "kube/cluster.py"},
    "httpx2": {"signers/kubernetes.py", "kube/cluster.py"},  # lightkube takes its timeouts
    "pysequoia": {"schemes/openpgp"},
    "gnupg": {"schemes/openpgp"},
    "fastapi": {"server"},
    "pydantic": {"server"},
    "prometheus_client": {"server"},
    "uvicorn": {"registry", "cli", "server"},
    "click": {"cli"},
    "bcrypt": {"registry/access.py"},
    "socket": {"net", "registry"},
    "ssl": {"net", "server/listeners.py"},
    "subprocess": {"net"},
    "msgspec": {""},  # values are Structs everywhere (ADR 7); see the test of what may be used of it
}
ENVIRONMENT_ROOMS = ("cli", "getter.py", "settings.py", "schemes/openpgp/gpg.py", "schemes/openpgp/sign.py", "signers/key.py", "server/build.py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def room(path: Path) -> str:
    return path.relative_to(ROOT / "verifier").as_posix()


def test_every_foreign_import_is_in_its_room() -> None:
    standard = set(sys.stdlib_module_names) - set(SEAMS)
    for path in SOURCES:
        for name in imports(path):
            top = name.partition(".")[0]
            if top in standard or top == "verifier":
                continue
            assert top in SEAMS, f"{room(path)} imports {top}, which has no room"
            assert any(room(path).startswith(allowed) for allowed in SEAMS[top]), f"{room(path)} imports {top}"


def test_msgspec_makes_values_and_reads_nothing() -> None:
    """Its JSON and YAML decoders keep the last of duplicate keys and do not guard the depth: `formats` reads."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec") for alias in node.names}
        assert used <= {"Struct", "field", "replace"}, f"{room(path)} imports {used}"
        whole = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert "msgspec" not in whole, room(path)
        assert "dataclasses" not in set(imports(path)), f"{room(path)}: values are Structs (ADR 7)"


def test_private_names_of_others_are_not_touched() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("verifier"):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{room(path)}: {private}"
                assert "._" not in node.module, f"{room(path)}: {node.module}"


def test_the_environment_is_read_at_the_edges() -> None:
    for path in SOURCES:
        if "os.environ" in path.read_text():
            assert room(path).startswith(ENVIRONMENT_ROOMS), room(path)


def test_nothing_reads_a_clock_but_those_who_may() -> None:
    allowed = (
        "operations",
        "server",
        "net",
        "kube/cluster.py",  # a client is opened anew from time to time
        "oci/auth_file.py",
        "oci/authorization.py",
        "oci/cloud.py",
        "oci/clouds",
        "oci/journal.py",
        "oci/keychain.py",
        "oci/referrers.py",
        "oci/session.py",
        "schemes/openpgp/verify.py",
        "registry",
        "demo",
        "cli/progress.py",
    )
    for path in SOURCES:
        if re.search(r"datetime\.now|time\.(time|monotonic)\(", path.read_text()):
            assert room(path).startswith(allowed), room(path)


# Codes


def test_every_code_is_emitted_asserted_and_documented() -> None:
    emitted = "\n".join(path.read_text() for path in SOURCES if path.name != "codes.py")
    asserted = "\n".join(path.read_text() for path in TESTS if path.name != "test_house.py")
    documented = (ROOT / "docs" / "codes.md").read_text()
    for name, code in ALL.items():
        constant = name.replace("-", "_").upper()
        assert re.search(rf"codes\.{constant}\b", emitted), f"{name} is never emitted"
        assert f'"{name}"' in asserted or f"codes.{constant}" in asserted, f"{name} is asserted by no test"
        assert f"## {name}\n" in documented, f"{name} is not documented"
        assert code.advice.endswith("."), name


def test_no_code_is_undeclared() -> None:
    for path in SOURCES:
        for constant in re.findall(r"\bcodes\.([A-Z][A-Z_]+)\b", path.read_text()):
            assert constant == "ALL" or constant.replace("_", "-").lower() in ALL, f"{room(path)}: {constant}"


def test_generated_pages_are_current() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_families_are_never_blurred() -> None:
    assert {code.family for code in ALL.values()} == set(Family)


# Sizes


def functions() -> Iterator[tuple[int, int, str]]:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                count = len([item for item in arguments if item.arg not in ("self", "cls")])
                yield lines, count, f"{room(path)}:{node.name}"


def test_modules_and_functions_stay_small() -> None:
    for path in SOURCES:
        assert path.read_text().count("\n") <= 400, room(path)
    found = list(functions())
    assert statistics.median(lines for lines, _, _ in found) <= 8
    assert not [name for lines, _, name in found if lines > 60]


def test_parameters_stay_few() -> None:
    """Commands get one for each of their options; others at most five."""
    many = [name for _, count, name in functions() if count > 5 and not name.startswith("cli/")]
    assert not many


def test_there_are_more_denials_than_approvals() -> None:
    text = "\n".join(path.read_text() for path in TESTS)
    approvals = len(re.findall(r"\.allowed\b(?! is False)|Outcome\.ALLOWED|status == 0", text))
    denials = len(re.findall(r"denied\(|rejected\(|refused\(|fails\(|failed\(|inconclusive\(|Outcome\.(DENIED|INCONCLUSIVE)|pytest\.raises", text))
    assert denials > approvals


# Start-up

HEAVY = ("sigstore", "fastapi", "sqlalchemy", "pydantic", "prometheus_client", "uvicorn")


def loaded_by(*arguments: str, cwd: Path) -> set[str]:
    code = "import sys; from verifier.cli.main import execute; execute(sys.argv[1:]); print('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=cwd)
    return set(done.stdout.rpartition("MODULES ")[2].split())


@pytest.mark.parametrize(
    "arguments, without",
    [
        (("--help",), (*HEAVY, "requests", "urllib3", "yaml", "cryptography", "pysequoia", "gnupg")),
        (("verify", "--help"), (*HEAVY, "requests", "pysequoia", "gnupg")),
        (("verify", "web-1.4.2.tgz", "--openpgp-keyring", "team.asc"), (*HEAVY, "requests", "cryptography", "gnupg")),
        (("verify", "oci://127.0.0.1:1/acme/web:1", "--openpgp-keyring", "team.asc"), (*HEAVY, "requests", "cryptography", "gnupg")),
        (("keys", "show", "team.asc"), (*HEAVY, "requests", "gnupg")),
        (("scan", "--help"), (*HEAVY, "requests", "gnupg", "lightkube")),
        (("serve", "--policy", "missing.yaml", "--listen", "127.0.0.1:0"), ("sqlalchemy", "lightkube")),
    ],
)
def test_nobody_pays_for_what_another_command_needs(tmp_path: Path, arguments: tuple[str, ...], without: tuple[str, ...]) -> None:
    data = archive()
    (tmp_path / "web-1.4.2.tgz").write_bytes(data)
    (tmp_path / "web-1.4.2.tgz.prov").write_bytes(pgp().provenance(chart_file(data)))
    (tmp_path / "team.asc").write_bytes(pgp().public)
    modules = loaded_by(*arguments, cwd=tmp_path)
    assert "verifier.cli.main" in modules
    assert not modules & set(without)
