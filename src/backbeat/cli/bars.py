"""The bar that shows how far a single file is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def file_bar(name: str) -> Iterator[Callable[..., None]]:
    """Show on stderr how far a file is, where there is a terminal, until the block ends.

    Gives a function to be called with the share that is done and, where there is more to tell, what is being done.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    shown = escape(name)
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(shown, total=1.0)

        def show(share: float, step: str = "") -> None:
            progress.update(task, completed=share, description=f"{shown}: {step}" if step else shown)

        yield show
