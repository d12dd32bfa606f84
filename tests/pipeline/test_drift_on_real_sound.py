"""Drift on recordings: other music like the reference is none, speech and whales are."""

from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from backbeat.analysis.analyzer import shipped_models
from backbeat.audio import decode, encode
from backbeat.dataset import TASKS
from backbeat.files import sha256_file
from backbeat.monitoring.comparing import direct
from backbeat.monitoring.drift import DriftSettings, Verdict, check
from backbeat.monitoring.reference import Reference
from backbeat.monitoring.reference_making import Wanted, measure, table_from
from backbeat.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/data/real"
SETTINGS = read_settings(DriftSettings, yaml.safe_load((ROOT / "conf/monitoring/drift.yaml").read_text())["check"])
CLIP_S = 5.0

pytestmark = [
    pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/real is not there"),
    pytest.mark.skipif(not all(path.is_dir() for path in shipped_models().values()), reason="no weights ship"),
]


def clips(path: Path, folder: Path, count: int) -> list[Wanted]:
    """Cut `count` clips from a recording, evenly placed; they overlap."""
    audio = decode(path)
    length = round(CLIP_S * audio.sample_rate_hz)
    made = []
    for number in range(count):
        start = number * (audio.samples.shape[1] - length) // max(count - 1, 1)
        target = folder / f"{path.stem}-{number}.flac"
        encode(target, audio.samples[:, start : start + length], audio.sample_rate_hz)
        made.append(Wanted(path.parent.name, path.stem, "test", target, sha256_file(target), True))
    return made


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """Two halves of the music, no recording in both, and what is no music: as tables of a reference."""
    folder = tmp_path_factory.mktemp("clips")
    tracks = [*sorted((REAL / "genre").glob("*/*.flac")), *sorted((REAL / "beats").glob("*.flac"))]
    paths = {
        "one half": (tracks[::2], 3),
        "the other": (tracks[1::2], 3),
        "no music": (
            [REAL / "music" / f"{name}.ogg" for name in ("198-209-0000", "5703-47212-0000", "glacier-bay-humpback")],
            30,
        ),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            name: table_from(
                list(
                    measure(
                        [clip for path in found for clip in clips(path, folder, count)], shipped_models(), workers=1
                    )
                )
            )
            for name, (found, count) in paths.items()
        }
    finally:
        torch.set_num_threads(threads)


def judged(rows: pd.DataFrame, reference: Reference) -> Verdict:
    return check(rows.assign(at=0.0, **{f"{task}_version": "1" for task in TASKS}), reference, SETTINGS, direct)


def test_other_music_is_no_drift_and_no_music_is(rows: dict[str, pd.DataFrame]) -> None:
    music = Reference(rows["one half"], {"models": {}})
    same = judged(rows["the other"], music)
    assert (same.drift, same.rows) == (False, 96), same.reason
    other = judged(rows["no music"], music)
    assert other.drift is True
    assert other.embedding is not None
    assert other.embedding.drift
    assert other.groups["output"].drift
