"""What the story tells while it runs: lines for whoever watches, and a page to read afterwards."""

from __future__ import annotations

import time
from pathlib import Path


class Account:
    """An account in chapters, each with the seconds that it took.

    Parameters
    ----------
    path
        Where the page is written, in Markdown, anew with each line: what stopped a story is its last line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begun = time.monotonic()
        self._lines = ["# The loop, once round", ""]
        path.parent.mkdir(parents=True, exist_ok=True)

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._add(f"\n## {title}\n")

    def say(self, words: str) -> None:
        """Tell what happened, and when."""
        self._add(f"- {time.monotonic() - self._begun:5.0f} s  {words}")

    def show(self, text: str) -> None:
        """Show what a program said."""
        self._add("\n```\n" + text.rstrip() + "\n```\n")

    @property
    def seconds(self) -> float:
        """How long the story has run."""
        return time.monotonic() - self._begun

    def _add(self, line: str) -> None:
        print(line, flush=True)
        self._lines.append(line)
        self._path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
