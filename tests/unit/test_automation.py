"""What runs unattended: each job of GitHub's workflows and each stage of the Jenkinsfile, with stand-ins for others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ci_jobs import PYTHON, ROOT, SH, WORKFLOWS, Place, git, jobs, make_place, run_job, split, stages, value, workflow

LOG_IN = {"github.token": "token", "github.repository": "music/backbeat", "github.server_url": "https://forge"}
KNOWN: dict[str, str | bool] = {
    **LOG_IN,
    "github.run_id": "7",
    "github.actor": "somebody",
    "github.event_name": "schedule",
    "github.ref": "refs/heads/main",
    "vars.UNATTENDED": "true",
    "vars.TRAINING_RUNNER": "",
    "vars.DVC_REMOTE": "s3://bucket/dvc",
    "secrets.DVC_ACCESS_KEY_ID": "id",
    "secrets.DVC_SECRET_ACCESS_KEY": "key",
    "secrets.MONITORING_DATABASE": "postgresql+psycopg://backbeat@database/backbeat",
    "secrets.MLFLOW_TRACKING_URI": "http://mlflow:5000",
    "secrets.RETRAIN_TOKEN": "",
    "inputs.because": "",
    "github.event.client_payload.because": "",
}
DECISION = """{"task": "beat", "promoted": %s, "sentence": "better by 0.02",
  "champion": "beat 1", "challenger": "beat 2", "checks": []}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_place(tmp_path_factory.mktemp("ci")).folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Place:
    subprocess.run(["cp", "-a", f"{made}/.", tmp_path], check=True, timeout=60)
    git(tmp_path / "checkout", "remote", "set-url", "origin", str(tmp_path / "origin.git"))
    here = Place(tmp_path)
    here.arrange("setup", "true")
    return here


def makes(place: Place) -> list[str]:
    return [call.removeprefix("make ") for call in place.calls if call.startswith("make ") and call != "make setup"]


# The files


def test_every_job_is_run_by_a_test_here() -> None:
    text = Path(__file__).read_text()
    asked = set(re.findall(r'run_job\(\s*place,\s*"(\w+)",\s*"(\w+)"', text))
    assert asked == set(jobs())


def test_linters_of_workflows_find_nothing() -> None:
    tools = Path(sys.prefix) / "bin"
    actions = (ROOT / ".github" / "actions").glob("*/action.yml")
    checks = [
        [tools / "zizmor", "--offline", "--quiet", ".github"],
        [tools / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS.glob("*.yml")],
        [tools / "check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions],
    ]
    for check in checks:
        done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
    # `make lint` runs the same.
    recipe = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    assert all(name in recipe for name in ("zizmor --offline", "vendor.github-workflows", "vendor.github-actions"))


def test_actions_are_pinned_and_given_nothing_to_keep() -> None:
    texts = [path.read_text() for path in (ROOT / ".github").rglob("*.yml") if path.name != "zizmor.yml"]
    pinned = set()
    for text in texts:
        for used in re.findall(r"uses: (.+)", text):
            if not used.startswith("./.github/actions/"):
                assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used
                pinned.add(used)
    # One version of each.
    assert len({used.split("@")[0] for used in pinned}) == len(pinned)
    for name, job in jobs():
        steps = workflow(name)["jobs"][job]["steps"]
        checkouts = [step for step in steps if "checkout" in step.get("uses", "")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts), name


def test_rights_are_a_jobs_own_and_scripts_are_not_filled_in() -> None:
    for name, job in jobs():
        whole = workflow(name)
        assert whole["permissions"] == {}
        body = whole["jobs"][job]
        assert set(body["permissions"]) <= {"contents", "pull-requests", "issues", "actions", "packages"}
        assert body["timeout-minutes"] <= 360
        assert all("${{" not in step.get("run", "") for step in body["steps"])
    writes = {
        (name, job, right)
        for name, job in jobs()
        for right, how in workflow(name)["jobs"][job]["permissions"].items()
        if how == "write"
    }
    assert writes == {
        ("report", "report", "pull-requests"),
        ("drift", "tell", "issues"),
        ("drift", "tell", "actions"),
        ("retrain", "retrain", "contents"),
        ("retrain", "retrain", "pull-requests"),
        ("image", "image", "packages"),
    }


def test_two_retrainings_wait_for_one_another() -> None:
    assert workflow("retrain")["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    # YAML reads the key `on` as true.
    events = workflow("retrain")[True]
    assert set(events) == {"schedule", "workflow_dispatch", "repository_dispatch"}
    assert [one["cron"] for one in events["schedule"]] == ["23 4 * * 0"]
    assert [one["cron"] for one in workflow("drift")[True]["schedule"]] == ["17 3 * * *"]


@pytest.mark.parametrize(
    ("expression", "worked_out"),
    [
        ("a == 'x' && b", "y"),
        ("a != 'x' || b", "y"),
        ("a == 'z' && b", False),
        ("empty || 'given'", "given"),
        ("a", "x"),
    ],
)
def test_expressions_are_worked_out_as_github_does(expression: str, worked_out: str | bool) -> None:
    assert value(expression, {"a": "x", "b": "y", "empty": ""}) == worked_out
    with pytest.raises(KeyError):
        value("unheard.of", {})


# The jobs


def test_tests_lint_and_test(place: Place) -> None:
    assert run_job(place, "tests", "tests", {**KNOWN, "matrix.python": PYTHON}) == 0
    assert place.calls == ["make setup", "make lint", "make test"]
    assert workflow("tests")["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    # Another Python than was asked for is found out.
    assert run_job(place, "tests", "tests", {**KNOWN, "matrix.python": "3.9"}) == 1


def test_the_story_is_told(place: Place) -> None:
    place.arrange("story", "mkdir -p build/story; echo told >build/story/account.md")
    assert run_job(place, "tests", "story", KNOWN) == 0
    assert [call for call in place.calls if call.startswith("make")] == ["make setup", "make story"]
    assert any("postgresql redis-server" in call for call in place.calls)


def test_a_change_is_reported_on_its_pull_request(place: Place) -> None:
    known = {
        **KNOWN,
        "github.event.pull_request.head.repo.full_name": "music/backbeat",
        "github.event.pull_request.base.sha": git(place.checkout, "rev-parse", "HEAD"),
        "github.event.pull_request.number": "12",
    }
    place.arrange("comment", "really")
    assert run_job(place, "report", "report", known) == 0
    assert makes(place) == ["dvc-pull", "comment", "plots"]
    assert place.calls[-1] == "gh pr comment 12 --edit-last --create-if-none --body-file reports/comment.md"
    assert place.body.startswith("<!-- backbeat: scores -->")
    assert place.body.endswith("kept with [the run](https://forge/music/backbeat/actions/runs/7).\n")
    fork = {**known, "github.event.pull_request.head.repo.full_name": "else/backbeat"}
    before = place.calls
    assert run_job(place, "report", "report", fork) == 0
    assert place.calls == before


@pytest.mark.parametrize(("code", "found"), [(0, "no"), (4, "yes"), (5, "no")])
def test_drift_is_told_apart_from_failure(place: Place, code: int, found: str) -> None:
    place.arrange("drift", f'test -n "$BACKBEAT_MONITORING__DATABASE"; exit {code}')
    assert run_job(place, "drift", "look", KNOWN) == 0
    assert makes(place) == ["dvc-pull", "drift"]
    assert place.outputs == {"found": found}


def test_a_look_that_fails_fails(place: Place) -> None:
    place.arrange("drift", "exit 1")
    assert run_job(place, "drift", "look", KNOWN) == 1
    assert place.outputs == {}
    # It is not begun by the clock where nobody has asked for that.
    before = place.calls
    assert run_job(place, "drift", "look", {**KNOWN, "vars.UNATTENDED": ""}) == 0
    assert place.calls == before


@pytest.mark.parametrize("known_issue", ["", "5"])
def test_drift_becomes_one_issue_and_a_retraining(place: Place, known_issue: str) -> None:
    place.arrange("gh-list", known_issue)
    assert run_job(place, "drift", "tell", {**KNOWN, "needs.look.outputs.found": "yes"}) == 0
    verbs = [" ".join(split(call)[1:3]) for call in place.calls]
    if known_issue:
        assert verbs == ["issue list", "issue comment", "workflow run"]
        assert split(place.calls[1])[3] == "5"
    else:
        assert verbs == ["issue list", "label create", "issue create", "workflow run"]
    assert place.calls[-1] == "gh workflow run retrain.yml --field because=drift"
    assert "](https://forge/music/backbeat/actions/runs/7)" in place.body
    # What is started takes what it is told.
    assert "drift" in workflow("retrain")[True]["workflow_dispatch"]["inputs"]["because"]["options"]


def retrained(place: Place, known: dict[str, str | bool] | None = None) -> int:
    sha = git(place.checkout, "rev-parse", "HEAD")
    given = {**KNOWN, "github.sha": sha, **(known or {})}
    return run_job(place, "retrain", "retrain", given, GITHUB_SHA=sha)


PROMOTES = f"""
test -n "$BACKBEAT_MONITORING__DATABASE"
echo 'schema: "2.0"' >dvc.lock
git add dvc.lock && git commit --quiet --message "Retrained: beat 2" && git tag model-beat-v2
mkdir -p .retrain/run/gate/beat
cat >.retrain/run/gate/beat/decision.json <<'END'
{DECISION % "true"}
END
"""


@pytest.mark.parametrize("open_pull", ["", "3"])
def test_a_retraining_proposes_what_changed(place: Place, open_pull: str) -> None:
    place.arrange("retrain", PROMOTES)
    place.arrange("comment", "really")
    place.arrange("gh-list", open_pull)
    assert retrained(place) == 0
    assert makes(place)[:2] == ["dvc-pull", "retrain RETRAIN="]
    assert re.fullmatch(r"comment BASE=[0-9a-f]{40} NOW=HEAD", makes(place)[2])
    assert makes(place)[3:] == ["dvc-push"]
    said = [" ".join(split(call)[1:3]) for call in place.calls if call.startswith("gh ")]
    assert said == ["pr list", "pr comment"] if open_pull else ["pr list", "pr create", "pr comment"]
    assert "| beat | **promoted** | beat 1 | beat 2 | better by 0.02 |" in place.body
    assert "**promoted**" in place.summary
    origin = place.folder / "origin.git"
    assert git(origin, "diff", "--name-only", "main", "retrained") == "dvc.lock"
    assert git(origin, "log", "-1", "--format=%an %s", "retrained") == "github-actions[bot] Retrained: beat 2"
    assert git(origin, "rev-parse", "model-beat-v2") == git(origin, "rev-parse", "retrained")


def test_a_refused_challenger_is_reported_and_proposed_to_nobody(place: Place) -> None:
    place.arrange("retrain", PROMOTES.replace('"promoted": true', '"promoted": false') + "exit 3")
    place.arrange("comment", "really")
    assert retrained(place, {"inputs.because": "drift"}) == 0
    assert "retrain RETRAIN=--because\\ drift" in makes(place)
    assert "| beat | **refused** |" in place.summary
    assert "dvc-push" not in makes(place)
    assert not [call for call in place.calls if call.startswith("gh ")]
    assert git(place.folder / "origin.git", "branch", "--list", "retrained") == ""


def test_a_retraining_that_fails_fails_and_one_that_changes_nothing_proposes_nothing(place: Place) -> None:
    place.arrange("retrain", "exit 1")
    assert retrained(place) == 1
    place.arrange("retrain", "true")
    place.arrange("comment", "mkdir -p reports && echo same >reports/comment.md")
    assert retrained(place, {"inputs.because": "force"}) == 0
    assert "retrain RETRAIN=--force" in makes(place)
    assert not [call for call in place.calls if call.startswith("gh ")]


def test_who_asks_from_outside_gives_a_reason_and_no_command(place: Place) -> None:
    hostile = "schedule; touch stolen"
    for name in ("github.event.client_payload.because", "inputs.because"):
        assert retrained(place, {name: hostile}) == 2
    assert makes(place) == ["dvc-pull", "dvc-pull"]
    assert not list(place.checkout.glob("*stolen*"))


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_a_tag_becomes_images(place: Place, flavour: str) -> None:
    place.arrange("push", "really")
    known = {
        **KNOWN,
        "matrix.flavour": flavour,
        "vars.IMAGE": "images.example:5000/music/backbeat",
        "vars.REGISTRY_USER": "",
        "secrets.REGISTRY_PASSWORD": "",
    }
    assert run_job(place, "image", "image", known, GITHUB_REF_NAME="v1.2.0") == 0
    image = f"images.example:5000/music/backbeat:1.2.0-{flavour}"
    assert place.calls == [
        f"make build FLAVOUR={flavour}",
        "docker login images.example:5000 --username somebody --password-stdin",
        "token",
        "make push",
        f"docker tag backbeat:{flavour} {image}",
        f"docker push {image}",
    ]
    # Without the variable nothing is pushed to somewhere.
    assert run_job(place, "image", "image", {**known, "vars.IMAGE": ""}, GITHUB_REF_NAME="v1.2.0") == 2
    assert len([call for call in place.calls if call.startswith("docker push")]) == 1


# Jenkins


JENKINS = (ROOT / "Jenkinsfile").read_text()
OF_JENKINS = {
    "FLAVOUR": "cpu",
    "IMAGE": "images.example/backbeat",
    "DVC_REMOTE": "s3://bucket/dvc",
    "OPTIONS": "--because drift",
    "REGISTRY_USER": "somebody",
    "REGISTRY_PASSWORD": "secret",
}


def test_jenkins_has_its_stages_and_says_when() -> None:
    assert list(stages(JENKINS)) == ["Checkout", "Install", "Test", "Build image", "Push image", "Deploy", "Retrain"]
    assert "disableConcurrentBuilds()" in JENKINS
    assert re.search(r"cron\(env\.BRANCH_NAME == 'main' \? 'H 2 \* \* \*' : ''\)", JENKINS)
    assert JENKINS.count("branch 'main'") == 3
    credentials = set(re.findall(r"credentialsId: '([\w-]+)'", JENKINS))
    assert credentials == {
        f"backbeat-{name}" for name in ("registry", "kubeconfig", "dvc", "mlflow", "database", "git")
    }
    told = (ROOT / "docs" / "automation.md").read_text()
    assert all(f"`{name}`" in told for name in credentials)


@pytest.mark.parametrize("damaged", ["stage('a') {", "pipeline { ( } )", "}", "stage('a') { sh \"make $x\" }"])
def test_a_damaged_jenkinsfile_is_found_out(damaged: str) -> None:
    with pytest.raises(AssertionError):
        stages(damaged)


def jenkins(place: Place, stage: str) -> list[int]:
    return [place.run(SH, script, OF_JENKINS).returncode for script in stages(JENKINS)[stage]]


def test_jenkins_runs_what_people_run(place: Place) -> None:
    for stage in ("Install", "Test", "Build image"):
        assert set(jenkins(place, stage)) == {0}
    assert place.calls == ["make setup", "make lint", "make test", "make build FLAVOUR=cpu"]


def test_jenkins_pushes_and_deploys_the_commit(place: Place) -> None:
    place.arrange("push", "really")
    place.arrange("deploy", "really")
    assert jenkins(place, "Push image") == jenkins(place, "Deploy") == [0]
    commit = git(place.checkout, "rev-parse", "HEAD")
    assert [call for call in place.calls if not call.startswith("make")] == [
        "docker login images.example --username somebody --password-stdin",
        "secret",
        f"docker tag backbeat:cpu images.example/backbeat:{commit}-cpu",
        f"docker push images.example/backbeat:{commit}-cpu",
        "kubectl apply --kustomize build/deploy",
        "kubectl rollout status deployment/backbeat --namespace backbeat --timeout 15m",
    ]
    overlay = yaml.safe_load((place.checkout / "build" / "deploy" / "kustomization.yaml").read_text())
    assert overlay["images"] == [{"name": "backbeat", "newName": "images.example/backbeat", "newTag": f"{commit}-cpu"}]
    (base,) = overlay["resources"]
    assert (place.checkout / "build" / "deploy" / base / "kustomization.yaml").is_file()


@pytest.mark.parametrize(("drift", "retrain"), [(0, 0), (4, 3), (5, 6), (1, 1)])
def test_jenkins_is_told_what_was_found(place: Place, drift: int, retrain: int) -> None:
    place.arrange("drift", f"exit {drift}")
    place.arrange("retrain", f"exit {retrain}")
    assert jenkins(place, "Retrain") == [0, drift, retrain, 0]
    assert makes(place) == ["dvc-pull", "drift", "retrain RETRAIN=--push\\ --because\\ drift", "comment"]
    # What is no finding ends the build.
    for name, code, neither in (("drift", 4, 5), ("retrain", 3, 6)):
        assert f"if ({name} == {code})" in JENKINS
        assert f"else if (!({name} in [0, {neither}]))" in JENKINS


# What they stand on


@pytest.mark.parametrize(("recipe", "code"), [("true", 0), ("exit 4", 4), ("echo done; false", 1)])
def test_outcome_is_the_recipes(tmp_path: Path, recipe: str, code: int) -> None:
    (tmp_path / "Makefile").write_text(f"all: one\none:\n\t@echo at work >&2; {recipe}\n")
    asked = ["bash", str(ROOT / ".ci" / "outcome"), "all"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert "at work" in done.stderr
    asked[-1] = "nothing"
    assert subprocess.run(asked, cwd=tmp_path, capture_output=True, timeout=30).returncode == 2


def test_dvc_brings_and_sends_what_its_own_remote_has(place: Place, tmp_path: Path) -> None:
    checkout = place.checkout
    (checkout / "data" / "mine").mkdir()
    (checkout / "data" / "mine" / "song.txt").write_text("la")
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "add", "--quiet", "data/mine"], cwd=checkout, check=True, timeout=60)
    remote = {"DVC_REMOTE": str(tmp_path / "remote")}
    for target in ("dvc-pull", "dvc-push"):
        place.arrange(target, "really")
    assert place.run(SH, "make dvc-push", remote).returncode == 0
    for kept in (checkout / ".dvc" / "cache", checkout / "data" / "mine"):
        subprocess.run(["rm", "-r", str(kept)], check=True, timeout=30)
    # Kept by this checkout alone.
    assert git(checkout, "diff", "--name-only", "--", ".dvc") == ""
    assert place.run(SH, "make dvc-pull", {}).returncode == 0
    assert (checkout / "data" / "mine" / "song.txt").read_text() == "la"


@pytest.mark.parametrize(
    "given",
    [
        {"IMAGE": ""},
        {"IMAGE": "a", "TAG": ""},
        {"IMAGE": "a b", "TAG": "1"},
        {"IMAGE": "a;touch stolen", "TAG": "1"},
        {"IMAGE": "a", "TAG": "1$(shell touch stolen)"},
    ],
)
def test_images_that_are_no_names_are_refused(place: Place, given: dict[str, str]) -> None:
    for target in ("push", "deploy"):
        place.arrange(target, "really")
        done = place.run(SH, f"make {target}", given)
        assert done.returncode == 2
        assert re.search(r"^(IMAGE|TAG)=", done.stderr, re.MULTILINE)
    assert not [call for call in place.calls if call.startswith(("docker tag", "docker push", "kubectl"))]
    assert not list(place.checkout.glob("*stolen*"))
