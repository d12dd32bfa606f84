"""`backbeat schedule`: the nightly look for drift and the weekly retraining, for those without CI."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

schedule_app = typer.Typer(
    no_args_is_help=True, help="Look for drift every night and retrain every week, by cron or systemd."
)

_DRIFT = Annotated[str, typer.Option("--drift", metavar="TIME", help="When to look for drift: 03:17, each day.")]
_RETRAIN = Annotated[str, typer.Option("--retrain", metavar="TIME", help="When to retrain: 'Sun 04:23', each week.")]
_CHECKOUT = Annotated[Path, typer.Option("--checkout", metavar="FOLDER", help="Where Backbeat's Makefile is.")]
_ENVIRONMENT = Annotated[
    Path | None,
    typer.Option(
        "--environment", metavar="FILE", help="NAME=value lines for both: MLFLOW_TRACKING_URI, DVC_REMOTE and the like."
    ),
]


@schedule_app.command(
    "cron",
    epilog="Examples: [bold]backbeat schedule cron[/bold]; "
    "[bold]backbeat schedule cron --drift 02:00 --retrain 'Sat 22:30' --checkout /srv/backbeat[/bold]",
)
def cron(
    drift: _DRIFT = "03:17",
    retrain: _RETRAIN = "Sun 04:23",
    checkout: _CHECKOUT = Path(),
    environment: _ENVIRONMENT = None,
) -> None:
    """Print lines for `crontab -e`; what the jobs say goes to the system's log."""
    from backbeat.scheduling import Schedule, When, cron_lines

    there = None if environment is None else environment.resolve()
    for line in cron_lines(Schedule(checkout.resolve(), When.read(drift), When.read(retrain), there)):
        typer.echo(line)


@schedule_app.command(
    "systemd",
    epilog="Examples: [bold]backbeat schedule systemd --output ~/.config/systemd/user[/bold]; "
    "[bold]backbeat schedule systemd --output /etc/systemd/system --run-as music --checkout /srv/backbeat[/bold]",
)
def systemd(
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Where the units are written.")],
    drift: _DRIFT = "03:17",
    retrain: _RETRAIN = "Sun 04:23",
    checkout: _CHECKOUT = Path(),
    environment: _ENVIRONMENT = None,
    run_as: Annotated[
        str, typer.Option("--run-as", metavar="USER", help="For units of the system: who they run as.")
    ] = "",
) -> None:
    """Write a service and a timer for each; those of the same names are replaced."""
    from backbeat.files import write_text
    from backbeat.scheduling import Schedule, When, units

    there = None if environment is None else environment.resolve()
    made = units(Schedule(checkout.resolve(), When.read(drift), When.read(retrain), there, run_as))
    for name, text in made.items():
        write_text(output / name, text)
        typer.echo(output / name)
    control = "systemctl" if run_as else "systemctl --user"
    timers = " ".join(name for name in made if name.endswith(".timer"))
    typer.echo(f"then: {control} daemon-reload && {control} enable --now {timers}", err=True)
