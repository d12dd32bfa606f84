"""How commands of the pipeline that are no stages tell of errors: as the command line does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from backbeat.errors import BackbeatError


@contextmanager
def errors_in_a_line() -> Iterator[None]:
    """End the program with what an error of ours says, in one line on stderr, and with its exit code."""
    try:
        yield
    except BackbeatError as error:
        print(f"backbeat: error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
