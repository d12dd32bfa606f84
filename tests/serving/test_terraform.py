"""What Terraform makes on AWS: held to AWS's provider where Terraform has it, and to rules of our own everywhere."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import psycopg
import pytest
import yaml
from neighbours import postgres, postgres_programs

from serving.settings import DEFAULT

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "serving" / "terraform"
MADE_UP = Path(__file__).parent / "terraform"
Block = dict[str, Any]


def terraform(folder: Path, *words: str, code: int = 0) -> str:
    """What Terraform says to it; the test is left out where it has no AWS provider."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not installed")
    variables = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"}

    def asked(*what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *what], cwd=folder, env=variables, capture_output=True, text=True, timeout=240)

    if not (folder / ".terraform").is_dir():
        begun = asked("init", "-backend=false", "-input=false", "-no-color")
        if begun.returncode:
            pytest.skip(f"AWS's provider cannot be had here: {begun.stderr.strip().splitlines()[0]}")
    done = asked(*words, "-no-color")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    kept = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "backend.tf")
    return shutil.copytree(PLACE, tmp_path / "terraform", ignore=kept)


def test_terraform_finds_the_files_valid_and_in_shape(copied: Path) -> None:
    assert "The configuration is valid" in terraform(copied, "validate")
    terraform(copied, "fmt", "-check", "-recursive")


def test_what_would_be_made_is_what_is_meant(copied: Path) -> None:
    shutil.copy(MADE_UP / "plan.tftest.hcl", copied)
    # Terraform cannot make up ephemeral values; everything else is the real thing.
    for path in (copied / "password").iterdir():
        path.unlink()
    shutil.copy(MADE_UP / "password.tf", copied / "password" / "main.tf")
    assert "4 passed, 0 failed" in terraform(copied, "test")


# Rules of our own


def plain(value: Any) -> Any:
    """What the reader gives, without the quotes of texts and its own marks."""
    if isinstance(value, dict):
        return {plain(name): plain(inner) for name, inner in value.items() if not name.startswith("__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


def files() -> list[Path]:
    return sorted(PLACE.glob("**/*.tf"))


@cache
def contents(path: Path) -> Block:
    read: Block = plain(hcl2.loads(path.read_text()))
    return read


def blocks(kind: str) -> Iterator[tuple[str, Block]]:
    """Blocks of a kind, by their labels joined with dots."""
    for path in files():
        for block in contents(path).get(kind, []):
            ((label, inner),) = block.items()
            if kind in ("variable", "output"):
                yield label, inner
            else:
                for name, body in inner.items():
                    yield f"{label}.{name}", body


def resources(kind: str) -> list[Block]:
    return [body for name, body in blocks("resource") if name.startswith(f"{kind}.")]


def test_every_variable_and_output_says_what_it_is() -> None:
    variables, outputs = dict(blocks("variable")), dict(blocks("output"))
    assert len(variables) > 20
    for name, body in variables.items():
        assert body["type"], name
        assert body["description"].endswith("."), name
    assert all(body["description"].endswith(".") for body in outputs.values())


def test_variables_and_locals_are_used() -> None:
    for folder in (PLACE, PLACE / "password"):
        text = "".join(path.read_text() for path in folder.glob("*.tf"))
        names = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
        assert set(re.findall(r"\bvar\.(\w+)", text)) == set(names)
    made = {name for path in files() for block in contents(path).get("locals", []) for name in block}
    used = set(re.findall(r"\blocal\.(\w+)", "".join(path.read_text() for path in PLACE.glob("*.tf"))))
    assert made == used


def test_rights_are_named_and_are_to_things_that_are_named() -> None:
    allowed = [
        statement
        for name, body in blocks("data")
        if name.startswith("aws_iam_policy_document.")
        for statement in body["statement"]
        if statement.get("effect") != "Deny"
    ]
    assert len(allowed) >= 10
    for statement in allowed:
        assert not [action for action in statement["actions"] if "*" in action], statement
        if statement.get("resources") == ["*"]:
            assert statement["actions"] == ["ecr:GetAuthorizationToken"]
        elif "resources" not in statement:
            assert statement["actions"] == ["sts:AssumeRole"]
        assert statement.get("principals", [{}])[0].get("identifiers") != ["*"]
    text = "".join(path.read_text() for path in files())
    assert re.findall(r"policy/[\w-]+/?(\w+)", text) == ["AmazonEC2ContainerServiceforEC2Role"]


def test_what_is_kept_is_encrypted_and_shut() -> None:
    (database,) = resources("aws_db_instance")
    assert database["storage_encrypted"] is True
    assert database["publicly_accessible"] is False
    assert {"backup_retention_period", "deletion_protection", "final_snapshot_identifier"} <= set(database)
    (state,) = resources("aws_efs_file_system")
    assert state["encrypted"] is True
    buckets = [name for name, _ in blocks("resource") if name.startswith("aws_s3_bucket.")]
    assert len(buckets) == 1
    (shut,) = resources("aws_s3_bucket_public_access_block")
    assert {name for name, value in shut.items() if value is True} == {
        "block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets"
    }  # fmt: skip
    assert resources("aws_s3_bucket_versioning")[0]["versioning_configuration"][0]["status"] == "Enabled"
    assert resources("aws_s3_bucket_server_side_encryption_configuration")
    assert resources("aws_s3_bucket_lifecycle_configuration")[0]["rule"][0]["status"] == "Enabled"
    (images,) = resources("aws_ecr_repository")
    assert images["image_scanning_configuration"][0]["scan_on_push"] is True
    assert images["image_tag_mutability"] == "IMMUTABLE"
    (template,) = resources("aws_launch_template")
    assert template["metadata_options"][0]["http_tokens"] == "required"
    assert template["block_device_mappings"][0]["ebs"][0]["encrypted"] is True


def test_only_the_load_balancer_is_called_from_outside() -> None:
    (https,) = [body for body in resources("aws_lb_listener") if body["protocol"] == "HTTPS"]
    assert "TLS13" in https["ssl_policy"]
    (http,) = [body for body in resources("aws_lb_listener") if body["protocol"] == "HTTP"]
    assert http["default_action"][0]["type"] == "redirect"
    for body in resources("aws_vpc_security_group_ingress_rule"):
        assert "0.0.0.0/0" not in str(body)
    assert not [name for name, body in blocks("resource") if "ingress" in body or "egress" in body]
    assert "default" not in dict(blocks("variable"))["client_cidrs"]


def test_logs_end_some_day() -> None:
    assert {body["retention_in_days"] for body in resources("aws_cloudwatch_log_group")} == {"${var.log_days}"}


def test_no_secret_is_in_files_or_state() -> None:
    text = "".join(path.read_text() for path in files())
    # These arguments would put what they are given into the state; `_wo` are the ones that do not.
    assert not re.findall(r"^\s*(?:password|secret_string|secret_binary|master_password)\s*=", text, re.MULTILINE)
    assert not re.search(r'data "aws_secretsmanager_secret_version"', text)
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN", text)
    for name in ("terraform.tfstate", "some.tfvars", ".terraform/x", "backend.tf"):
        asked = ["git", "check-ignore", "--quiet", f"serving/terraform/{name}"]
        assert subprocess.run(asked, cwd=ROOT, timeout=10).returncode == 0, name


def test_the_service_is_set_up_as_its_settings_have_it() -> None:
    settings = yaml.safe_load(DEFAULT.read_text())
    named = re.findall(r"BACKBEAT_SERVING__([A-Z]+)(?:__([A-Z_]+))?", "".join(path.read_text() for path in files()))
    assert len(named) >= 5
    for section, key in named:
        assert section.lower() in settings
        assert not key or key.lower() in settings[section.lower()]
    limits = settings["limits"]
    (balancer,) = resources("aws_lb")
    assert balancer["idle_timeout"] > limits["request_s"]
    (group,) = resources("aws_lb_target_group")
    longest_s = limits["upload_s"] + limits["request_s"]
    assert group["deregistration_delay"] > longest_s
    given = re.search(r"ECS_CONTAINER_STOP_TIMEOUT=(\d+)s", (PLACE / "cluster.tf").read_text())
    assert given
    assert int(given[1]) > longest_s
    compose = yaml.safe_load((ROOT / "serving" / "compose.yaml").read_text())["services"]["mlflow"]["image"]
    assert dict(blocks("variable"))["mlflow_image_tag"]["default"] == compose.split(":")[1]


# MLflow's database


@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed")
def test_mlflows_database_is_made_once_and_its_password_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow's image has psycopg2; what is used of it has the same names in its successor.
    monkeypatch.setitem(sys.modules, "psycopg2", psycopg)
    with postgres() as (_, url):
        port = url.rsplit(":", 1)[1].split("/")[0]
        for name, value in {"HOST": "127.0.0.1", "PORT": port, "USER": "admin", "DATABASE": "postgres"}.items():
            monkeypatch.setenv(f"PG{name}", value)
        with psycopg.connect(user="backbeat", autocommit=True) as owner:
            # As RDS's first user: no superuser.
            owner.execute("CREATE ROLE admin LOGIN CREATEDB CREATEROLE")
        for password in ("first", "second's"):
            monkeypatch.setenv("MLFLOW_DB_PASSWORD", password)
            runpy.run_path(str(PLACE / "mlflow_database.py"))["connection"].close()
        with psycopg.connect(user="mlflow", dbname="mlflow", password="second's") as own:
            own.execute("CREATE TABLE runs (id integer)")
            (owner_name,) = own.execute(
                "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'mlflow'"
            ).fetchone() or ("",)
        assert owner_name == "mlflow"
        with psycopg.connect(user="backbeat") as owner:
            (kept,) = owner.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'mlflow'").fetchone() or ("",)
        assert kept.startswith("SCRAM-SHA-256")
