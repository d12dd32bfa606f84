"""Model folders like those that ship, with other words in their specifications."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from backbeat.analysis.analyzer import shipped_models
from backbeat.files import write_json
from backbeat.model import SPEC, load_spec


def like_shipped(folder: Path, task: str = "beat", **words: object) -> Path:
    shutil.copytree(shipped_models()[task], folder)
    write_json(folder / SPEC, replace(load_spec(folder), **words).to_dict())  # type: ignore[arg-type]
    return folder
