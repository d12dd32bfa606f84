"""Test sets that stay as they are from one training to the next: a track changes its split never.

What was tested on is known from the `dvc.lock` that the run began with, and DVC's cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from backbeat.errors import CorpusError

_LISTED = 5


def label_hashes(lock: str) -> dict[str, str]:
    """Return the hash of every file of labels that a `dvc.lock` has, by its path; `lock` is its text."""
    stages: Mapping[str, Any] = (yaml.safe_load(lock) or {}).get("stages", {})
    return {
        out["path"]: out["md5"]
        for name, stage in stages.items()
        if name.startswith("validate@")
        for out in stage.get("outs", [])
        if out["path"].endswith(".jsonl") and "/audio/" not in out["path"]
    }


def moved(before: str, after: str) -> list[str]:
    """Return the ids of the tracks that came into the test split, or left it; both texts have a JSON object a line."""
    old, new = (
        {line["id"]: line["split"] == "test" for line in map(json.loads, text.splitlines())} for text in (before, after)
    )
    return sorted(name for name, tested in old.items() if name in new and new[name] != tested)


def check_frozen(before: str, tree: Path, cache: Path) -> tuple[int, list[str]]:
    """Hold the labels in `tree` to those of the `dvc.lock` whose text is `before`.

    Returns
    -------
    How many files of labels are those of before or keep every track's split, and the paths of those of before that
    cannot be looked at, because the cache has them no more.

    Raises
    ------
    CorpusError
        If tracks have changed sides between test and the rest.
    """
    kept, lost = 0, []
    now = label_hashes((tree / "dvc.lock").read_text(encoding="utf-8"))
    for path, digest, text in _changed(before, now, cache):
        if text is None:
            lost.append(path)
            continue
        names = moved(text, (tree / path).read_text(encoding="utf-8"))
        if names:
            listed = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
            raise CorpusError(
                f"{path}: tracks have come into the test set or left it since {digest[:8]}: {listed}; what models are "
                "compared on must stay (to change it on purpose, run `dvc repro` and commit dvc.lock first)"
            )
        kept += 1
    same = sum(now.get(path) == digest for path, digest in label_hashes(before).items())
    return kept + same, lost


def _changed(before: str, now: Mapping[str, str], cache: Path) -> Iterator[tuple[str, str, str | None]]:
    for path, digest in label_hashes(before).items():
        if path in now and now[path] != digest:
            file = cache / "files" / "md5" / digest[:2] / digest[2:]
            yield path, digest, file.read_text(encoding="utf-8") if file.is_file() else None
