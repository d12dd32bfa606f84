"""`backbeat monitor`: watch a service by what it keeps of its answers."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

_EPILOG = """[bold]Examples[/bold]

backbeat monitor                                    (beside the service, in the folder where that was started)

BACKBEAT_MONITORING=watch.yaml backbeat monitor --once                                       (for cron: all that is due)

BACKBEAT_MONITORING__TARGETS__TEAM='{url: "https://...", secret: "..."}' backbeat monitor test-alert
"""

monitor_app = typer.Typer(
    invoke_without_command=True,
    help="Watch a service: look for drift, judge the rules, tell who is to be told, tidy up.",
)


@monitor_app.callback(epilog=_EPILOG)
def monitor(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, and end.")] = False,
) -> None:
    """Watch a service: look for drift, judge the rules, tell who is to be told, tidy up; until stopped.

    Settings are those of conf/monitoring/default.yaml; BACKBEAT_MONITORING names a file of yours that goes before it.
    Of several on one database one leads, and another takes over when it ends.
    """
    if context.invoked_subcommand is not None:
        return
    from backbeat.logs import configure
    from backbeat.monitoring.settings import load_monitoring
    from backbeat.monitoring.watch import Monitor, drift_check

    settings = load_monitoring()
    configure(settings.level)
    watcher = Monitor(settings, drift_check(settings))
    if once:
        if not watcher.once():
            typer.echo("another monitor leads: what is due is its to do", err=True)
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watcher.end())
    watcher.run()


@monitor_app.command(
    "test-alert",
    epilog="Example: [bold]BACKBEAT_MONITORING=watch.yaml backbeat monitor test-alert[/bold]",
)
def test_alert() -> None:
    """Send a test message to every target; end with 1 where one does not take it. The monitor tries that again."""
    from backbeat.errors import MonitoringError
    from backbeat.logs import configure
    from backbeat.monitoring.settings import load_monitoring
    from backbeat.monitoring.watch import send_test

    settings = load_monitoring()
    configure(settings.level)
    failed = send_test(settings)
    for name, target in sorted(settings.targets.items()):
        if target.url and name not in failed:
            typer.echo(f"{name}: arrived")
    if failed:
        raise MonitoringError("; ".join(f"{name}: {cause}" for name, cause in sorted(failed.items())))
