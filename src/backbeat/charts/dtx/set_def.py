"""The `set.def` of a song: which charts belong together, from the easiest on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from backbeat.charts.dtx.text import cp932_text
from backbeat.errors import ConfigError
from backbeat.files import atomic_path

#: Charts that a set has room for.
MOST_CHARTS = 5


def write_set_def(path: Path, title: str, files: Mapping[str, str]) -> None:
    """Write a set.def in cp932, atomically.

    Parameters
    ----------
    path
        The file, beside the charts.
    title
        Any text; written as `cp932_text` has it.
    files
        The chart of each tier, the easiest first; a tier is shown in capitals.

    Raises
    ------
    ConfigError
        If there are no charts or more than `MOST_CHARTS`, a file is not beside it, or nothing of the title can be
        written.
    """
    if not 1 <= len(files) <= MOST_CHARTS:
        raise ConfigError(f"a set of {len(files)} charts: it holds 1 to {MOST_CHARTS}")
    lines = [f"#TITLE: {cp932_text(title)}"]
    for number, (tier, file) in enumerate(files.items(), start=1):
        if not file.isascii() or Path(file).name != file or any(sign in file for sign in ";\\:\t\r\n"):
            raise ConfigError(f"{file!r}: a set names charts beside it, in ASCII")
        lines += [f"#L{number}LABEL: {cp932_text(tier).upper()}", f"#L{number}FILE: {file}"]
    data = "".join(f"{line}\r\n" for line in lines).encode("cp932")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
