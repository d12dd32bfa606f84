"""Where a service is, and what lets one in: options that all commands have that ask one."""

from __future__ import annotations

from typing import Annotated

import typer

Url = Annotated[str, typer.Option("--url", metavar="URL", envvar="BACKBEAT_URL", help="Where the service is.")]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", envvar="BACKBEAT_KEY", help="A key or token, where one is wanted.", show_default=False
    ),
]
HERE = "http://localhost:8000"
