"""Finding audio files in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

#: Suffixes of files that are taken when a folder is given; a file that is named itself is taken whatever its name.
AUDIO_SUFFIXES = frozenset(
    {
        ".wav",
        ".wave",
        ".rf64",
        ".w64",
        ".flac",
        ".mp3",
        ".mp2",
        ".ogg",
        ".oga",
        ".opus",
        ".webm",
        ".m4a",
        ".m4b",
        ".m4p",
    }
    | {".mp4", ".aac", ".alac", ".wma", ".aif", ".aiff", ".aifc", ".caf", ".au", ".mka", ".wv", ".ape", ".tta"}
)


def find_audio(paths: Iterable[Path | str]) -> list[Path]:
    """Return the files among `paths`, and the audio files in the folders among them.

    Files stay as given, also when their suffix is unknown, and keep the order of `paths`. Folders are walked in sorted
    order; hidden files and folders are skipped, and links to folders are not followed. A path that does not exist stays
    too: whoever decodes it reports it in its place.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found.extend(_walk(path))
        else:
            found.append(path)
    return found


def _walk(folder: Path) -> list[Path]:
    """Return the audio files below `folder`, sorted by path."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found.extend(
            Path(root, name)
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES
        )
    return sorted(found)
