"""`backbeat schedule`: what cron and systemd are given, read again by cron's rules, a shell and systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from backbeat.cli import app
from backbeat.errors import ConfigError
from backbeat.scheduling import Schedule, When, cron_lines, units

ROOT = Path(__file__).parents[2]
#: A name with all that shells, cron and systemd read something into.
HARD = "my $(touch stolen) 100% 'b\"b' & Co"


def checkout(folder: Path, name: str = "backbeat") -> Path:
    """A folder with what a checkout has; its targets write down where they ran."""
    made = folder / name
    (made / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "outcome", made / ".ci")
    (made / "dvc.yaml").touch()
    (made / "Makefile").write_text(
        'drift:\n\t@echo "drift $$SETTING" >>ran; exit 4\nretrain:\n\t@echo "retrain" >>ran\n'
    )
    return made


def plan(place: Path, **other: object) -> Schedule:
    given = {"checkout": place, "drift": When("", 3, 17), "retrain": When("Sun", 4, 23), **other}
    return Schedule(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "cron", "calendar"),
    [
        ("03:17", "17 3 * * *", "*-*-* 03:17:00"),
        ("Sun 04:23", "23 4 * * 0", "Sun *-*-* 04:23:00"),
        (" saturday  23:59 ", "59 23 * * 6", "Sat *-*-* 23:59:00"),
        ("mon 0:00", "0 0 * * 1", "Mon *-*-* 00:00:00"),
    ],
)
def test_times_are_read(text: str, cron: str, calendar: str) -> None:
    assert When.read(text).cron == cron
    assert When.read(text).calendar == calendar
    if shutil.which("systemd-analyze"):
        asked = ["systemd-analyze", "calendar", calendar]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=30)
        assert said.returncode == 0, said.stderr
        assert f"Normalized form: {calendar}" in said.stdout


@pytest.mark.parametrize(
    "text", ["", "24:00", "3", "03:60", "Someday 03:17", "Sun", "* * * * *", "03:17\nx", "03:17;id"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time; write 03:17"):
        When.read(text)


def ran_by_cron(line: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as cron does: five fields, % as a line break but for \\%, a plain shell with little in PATH."""
    command = re.fullmatch(r"(?:\S+ ){5}(.*)", line)
    assert command
    text = re.sub(r"(?<!\\)%.*", "", command[1]).replace("\\%", "%")
    stands = home / "bin"
    stands.mkdir(exist_ok=True)
    (stands / "logger").write_text(f'#!/bin/sh\necho "$@" >>"{home}/log"; cat >>"{home}/log"\n')
    (stands / "logger").chmod(0o755)
    asked = ["/bin/sh", "-c", text]
    environment = {"PATH": f"{stands}:/usr/bin:/bin"}
    return subprocess.run(asked, cwd=home, env=environment, capture_output=True, text=True, timeout=30)


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_cron_runs_both_wherever_the_checkout_is(tmp_path: Path) -> None:
    place = checkout(tmp_path, HARD)
    settings = place / "environment"
    settings.write_text("SETTING='two words'\n")
    lines = cron_lines(plan(place, environment=settings))
    assert [line.split(" {")[0] for line in lines] == ["17 3 * * *", "23 4 * * 0"]
    for line in lines:
        assert "\n" not in line
        done = ran_by_cron(line, tmp_path)
        # 4, that drift was found, is no failure.
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (place / "ran").read_text() == "drift two words\nretrain\n"
    assert (tmp_path / "log").read_text().startswith("--tag backbeat-drift\nmake: *** [Makefile:2: drift] Error 4\n")
    assert not list(tmp_path.glob("**/stolen"))


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_cron_begins_no_job_that_still_runs(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    (place / "build").mkdir()
    line = cron_lines(plan(place))[0]
    holder = subprocess.Popen(
        ["flock", str(place / "build" / "backbeat-drift.lock"), "sh", "-c", "echo held; read line"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    assert ran_by_cron(line, tmp_path).returncode == 0
    assert not (place / "ran").exists()
    holder.communicate("go on\n", timeout=10)
    ran_by_cron(line, tmp_path)
    assert (place / "ran").exists()


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_a_job_that_fails_is_told_of_by_cron(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    (place / "Makefile").write_text("drift:\n\t@echo broken; exit 9\n")
    line = cron_lines(plan(place))[0]
    done = ran_by_cron(line, tmp_path)
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr == "backbeat-drift failed with code 9: the system's log has it\n"
    assert "broken\n" in (tmp_path / "log").read_text()
    shutil.rmtree(place)
    assert "backbeat-drift failed" in ran_by_cron(line, tmp_path).stderr


def test_units_say_what_when_where_and_as_whom(tmp_path: Path) -> None:
    place = checkout(tmp_path, HARD)
    settings = place / "environment"
    settings.touch()
    made = units(plan(place, environment=settings, run_as="music"))
    assert set(made) == {f"backbeat-{name}.{kind}" for name in ("drift", "retrain") for kind in ("service", "timer")}
    service = made["backbeat-retrain.service"].splitlines()
    assert f"WorkingDirectory={str(place).replace('%', '%%')}" in service
    assert f"EnvironmentFile={str(settings).replace('%', '%%')}" in service
    assert "User=music" in service
    assert "ExecStart=/usr/bin/env bash .ci/outcome retrain" in service
    assert "SuccessExitStatus=3 6" in service
    assert "SuccessExitStatus=4 5" in made["backbeat-drift.service"]
    assert "OnCalendar=Sun *-*-* 04:23:00\n" in made["backbeat-retrain.timer"]
    assert "User=" not in units(plan(place))["backbeat-drift.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    place = checkout(tmp_path, HARD)
    for name, text in units(plan(place)).items():
        (tmp_path / name).write_text(text)
    files = sorted(str(path) for path in tmp_path.glob("backbeat-*.*"))
    asked = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *files]
    said = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0, said.stderr
    assert "backbeat" not in said.stderr


def test_what_cannot_be_scheduled_is_refused(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    with pytest.raises(ConfigError, match="is no checkout of Backbeat, it has no Makefile"):
        plan(tmp_path)
    with pytest.raises(ConfigError, match="is no file"):
        plan(place, environment=tmp_path / "none")
    with pytest.raises(ConfigError, match="such a path cannot be written"):
        plan(checkout(tmp_path, "two\nlines"))
    for name in ("root;id", "two words", "-x", "A"):
        with pytest.raises(ConfigError, match="is no name of a user"):
            plan(place, run_as=name)


def test_the_commands_print_and_write(tmp_path: Path) -> None:
    place = checkout(tmp_path)
    asked = ["schedule", "cron", "--checkout", str(place), "--drift", "02:05", "--retrain", "Wed 21:00"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0
    assert [line.split(" {")[0] for line in said.stdout.splitlines()] == ["5 2 * * *", "0 21 * * 3"]
    output = tmp_path / "units"
    said = CliRunner().invoke(app, ["schedule", "systemd", "--checkout", str(place), "--output", str(output)])
    assert said.exit_code == 0
    assert said.stdout.split() == [str(output / name) for name in units(plan(place))]
    assert {path.name for path in output.iterdir()} == set(units(plan(place)))
    assert said.stderr.startswith(
        "then: systemctl --user daemon-reload && systemctl --user enable --now backbeat-drift"
    )
    said = CliRunner().invoke(app, ["schedule", "cron", "--checkout", str(place), "--drift", "soon"])
    assert isinstance(said.exception, ConfigError)
