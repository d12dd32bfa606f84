"""The nightly look for drift and the weekly retraining as lines for cron, or as units for systemd."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from backbeat.errors import ConfigError

_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
#: What a checkout has, and these jobs need.
_NEEDED = ("Makefile", "dvc.yaml", ".ci/outcome")


@dataclass(frozen=True)
class When:
    """A time of each day or of one day of the week, on the machine's clock.

    Parameters
    ----------
    day
        "Sun" to "Sat", or empty for each.
    hour, minute
        Of the day.
    """

    day: str
    hour: int
    minute: int

    @classmethod
    def read(cls, text: str) -> When:
        """Read "03:17" or "Sun 04:23"; ConfigError says what is meant."""
        match = re.fullmatch(r"(?:([A-Za-z]+) +)?([01]?\d|2[0-3]):([0-5]\d)", text.strip())
        day = (match[1] or "")[:3].capitalize() if match else ""
        if match is None or (day and day not in _DAYS):
            raise ConfigError(f"{text!r} is no time; write 03:17 for each day or 'Sun 04:23' for one of the week")
        return cls(day, int(match[2]), int(match[3]))

    @property
    def cron(self) -> str:
        """The five fields of crontab(5)."""
        return f"{self.minute} {self.hour} * * {_DAYS.index(self.day) if self.day else '*'}"

    @property
    def calendar(self) -> str:
        """A calendar event of systemd.time(7)."""
        return f"{self.day} *-*-* {self.hour:02}:{self.minute:02}:00".strip()


@dataclass(frozen=True)
class Job:
    """A make target that runs by the clock.

    Parameters
    ----------
    target
        What make is asked for.
    says
        What it does, for people.
    found
        The codes that it ends with where it has found something, or has nothing to do: no failure.
    longest_h
        Hours after which it is ended.
    """

    target: str
    says: str
    found: tuple[int, ...]
    longest_h: int

    @property
    def name(self) -> str:
        """Of its units, and of its lines in the log."""
        return f"backbeat-{self.target}"


#: 4 is drift, 5 too little traffic to judge.
DRIFT = Job("drift", "look for drift in what the service recorded", found=(4, 5), longest_h=2)
#: 3 is a challenger that was refused, 6 another retraining at work.
RETRAIN = Job("retrain", "retrain if there is a reason, and promote what is better", found=(3, 6), longest_h=24)


@dataclass(frozen=True)
class Schedule:
    """What runs when, and where.

    Parameters
    ----------
    checkout
        The folder that has the Makefile.
    drift, retrain
        When.
    environment
        A file of NAME=value lines for both; None for none.
    run_as
        For units of the system: whose rights they have. Empty for units of a user.

    Raises
    ------
    ConfigError
        If the checkout is none, the file is missing, a path has a line break, or there can be no such user.
    """

    checkout: Path
    drift: When
    retrain: When
    environment: Path | None = None
    run_as: str = ""

    def __post_init__(self) -> None:
        missing = [name for name in _NEEDED if not (self.checkout / name).is_file()]
        if missing:
            raise ConfigError(f"{self.checkout}: is no checkout of Backbeat, it has no {missing[0]}")
        if self.environment is not None and not self.environment.is_file():
            raise ConfigError(f"{self.environment}: is no file")
        for path in (self.checkout, self.environment):
            if path is not None and not (path.is_absolute() and str(path).isprintable()):
                raise ConfigError(f"{str(path)!r}: such a path cannot be written into a schedule")
        if self.run_as and not _USER.fullmatch(self.run_as):
            raise ConfigError(f"{self.run_as!r} is no name of a user")

    @property
    def jobs(self) -> tuple[tuple[Job, When], ...]:
        """What runs, and when."""
        return ((DRIFT, self.drift), (RETRAIN, self.retrain))


def cron_lines(schedule: Schedule) -> list[str]:
    """Write lines of a crontab.

    A job that still runs is not begun again (flock); what it says goes to the system's log. Where it fails, the line
    says so, which cron mails, and ends with its code.
    """
    return [f"{when.cron} {_cron_command(schedule, job)}" for job, when in schedule.jobs]


def _cron_command(schedule: Schedule, job: Job) -> str:
    setting = "" if schedule.environment is None else f"set -a && . {shlex.quote(str(schedule.environment))} && "
    locked = f"flock --nonblock --conflict-exit-code 0 build/{job.name}.lock bash .ci/outcome {job.target}"
    command = f"cd {shlex.quote(str(schedule.checkout))} && {setting}mkdir -p build && {locked}"
    # A plain shell tells of a pipeline the code of what comes last, which is the log's: the job's goes round it.
    logged = f"{{ {{ {{ {command}; }} 2>&1 3>&-; echo $? >&3; }} | logger --tag {job.name}; }} 3>&1"
    fine = "|".join(map(str, (0, *job.found)))
    failed = f'echo "{job.name} failed with code $code: the system\'s log has it" >&2; exit "$code"'
    # To cron a bare % ends the command.
    return f'{logged} | {{ read -r code; case "$code" in {fine}) ;; *) {failed};; esac; }}'.replace("%", "\\%")


def units(schedule: Schedule) -> dict[str, str]:
    """Write systemd's units: the text of each by the name of its file."""
    made = {}
    for job, when in schedule.jobs:
        made[f"{job.name}.service"] = _service(schedule, job)
        made[f"{job.name}.timer"] = _timer(job, when)
    return made


def _service(schedule: Schedule, job: Job) -> str:
    lines = [
        "[Unit]",
        f"Description=Backbeat: {job.says}",
        "",
        "[Service]",
        "Type=oneshot",
        f"WorkingDirectory={_plain(schedule.checkout)}",
        *([] if schedule.environment is None else [f"EnvironmentFile={_plain(schedule.environment)}"]),
        *([f"User={schedule.run_as}"] if schedule.run_as else []),
        f"ExecStart=/usr/bin/env bash .ci/outcome {job.target}",
        "# What it ends with where it has found something, or has nothing to do.",
        f"SuccessExitStatus={' '.join(map(str, job.found))}",
        f"TimeoutStartSec={job.longest_h}h",
        "Nice=10",
        "NoNewPrivileges=true",
    ]
    return "\n".join(lines) + "\n"


def _timer(job: Job, when: When) -> str:
    return f"""[Unit]
Description=Backbeat: when to {job.says}

[Timer]
OnCalendar={when.calendar}
# What the machine slept through is made up for.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _plain(path: Path) -> str:
    """Keep systemd from reading anything into a path, of which it takes the rest of the line."""
    return str(path).replace("%", "%%")
