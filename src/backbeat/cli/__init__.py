"""The command line: `backbeat analyze`, `separate`, `train` and all the others that `backbeat --help` names.

Only what every command needs is imported here; torch, matplotlib and the like come in where they are used, so that
`backbeat --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from backbeat.cli.analyzing import EPILOG, analyze
from backbeat.cli.benching import EPILOG as BENCH_EPILOG
from backbeat.cli.benching import bench
from backbeat.cli.cataloguing import catalogue_app
from backbeat.cli.charting import EPILOG as CHART_EPILOG
from backbeat.cli.charting import chart
from backbeat.cli.corpus import corpus_app
from backbeat.cli.maintaining import maintenance_app
from backbeat.cli.models import models_app
from backbeat.cli.monitoring import monitor_app
from backbeat.cli.moods import EPILOG as MOOD_EPILOG
from backbeat.cli.moods import fit_mood
from backbeat.cli.probing import PROBE_EPILOG, probe
from backbeat.cli.recommending import recommend_app
from backbeat.cli.registered import registered_app
from backbeat.cli.remote import remote_app
from backbeat.cli.scheduling import schedule_app
from backbeat.cli.scoring import EPILOG as EVALUATE_EPILOG
from backbeat.cli.scoring import evaluate
from backbeat.cli.separating import EPILOG as SEPARATE_EPILOG
from backbeat.cli.separating import WORKER_EPILOG, separate, worker
from backbeat.cli.tracing import EPILOG as TRACE_EPILOG
from backbeat.cli.tracing import trace
from backbeat.cli.training import EPILOG as TRAIN_EPILOG
from backbeat.cli.training import train
from backbeat.errors import BackbeatError

#: The exit code of a program that Ctrl-C ended (128 + SIGINT).
_INTERRUPTED = 130

app = typer.Typer(
    name="backbeat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from backbeat import __version__

        typer.echo(f"backbeat {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Example: [bold]backbeat analyze song.mp3[/bold]. Each command has its own --help.",
)
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Hear music: beats and bars, drums and onsets, genre, key, tempo and loudness."""


app.command("analyze", epilog=EPILOG)(analyze)
app.command("evaluate", epilog=EVALUATE_EPILOG)(evaluate)
app.command("bench", epilog=BENCH_EPILOG)(bench)
app.command("train", epilog=TRAIN_EPILOG)(train)
app.command("separate", epilog=SEPARATE_EPILOG)(separate)
app.command("worker", epilog=WORKER_EPILOG)(worker)
app.command("chart", epilog=CHART_EPILOG)(chart)
app.command("trace", epilog=TRACE_EPILOG)(trace)
app.command("probe", epilog=PROBE_EPILOG)(probe)
models_app.add_typer(registered_app)
models_app.command("fit-mood", epilog=MOOD_EPILOG)(fit_mood)
app.add_typer(models_app, name="models")
app.add_typer(corpus_app, name="corpus")
app.add_typer(recommend_app, name="recommend")
app.add_typer(catalogue_app, name="catalogue")
app.add_typer(maintenance_app, name="maintenance")
app.add_typer(remote_app, name="remote")
app.add_typer(schedule_app, name="schedule")
app.add_typer(monitor_app, name="monitor")


def main() -> None:
    """Run the command line: the console's entry point.

    What the user can mend is one line on stderr and exit code 1 (2 where the arguments themselves are wrong); Ctrl-C
    ends quietly with 130; a reader that has gone away, as in `backbeat ... | head`, is no error.
    """
    # A file may have a name that is no text; it is shown with escapes, which JSON reads as well.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            app(prog_name="backbeat")
        finally:
            # While it can still be caught that nobody reads any more.
            sys.stdout.flush()
    except BackbeatError as error:
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        # Python would complain about stdout once more while it shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except OSError as error:
        name = error.filename if error.filename is not None else "a file"
        _fail(f"{name}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(f"backbeat: error: {message}\n")
    sys.exit(code)
