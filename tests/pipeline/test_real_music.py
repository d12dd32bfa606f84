"""The command line on real recordings of many kinds, as they are and in every format that it reads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MUSIC = ROOT.parent / "shared/data/real/music"
WEIGHTS = ROOT / "src/backbeat/weights/beat/spec.json"

pytestmark = [
    pytest.mark.skipif(not MUSIC.is_dir(), reason="../shared/data/real/music is not there"),
    pytest.mark.skipif(not WEIGHTS.is_file(), reason="no weights ship with this checkout"),
]

#: File suffix to the arguments of `encode`.
FORMATS: dict[str, dict[str, Any]] = {
    "16.wav": {"bit_depth": 16},
    "24.wav": {"bit_depth": 24},
    "32.wav": {"bit_depth": 32},
    "float.wav": {"bit_depth": 32, "floating": True},
    "flac": {},
    "mp3": {},
    "ogg": {},
    "opus": {},
    "m4a": {},
    "aac": {},
    "wma": {},
    "aiff": {},
}


def analyze(*paths: Path) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "backbeat", "analyze", "--json", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def check(results: list[dict[str, Any]], paths: list[Path]) -> None:
    import jsonschema

    from backbeat.analysis import analysis_schema

    validator = jsonschema.Draft202012Validator(analysis_schema())
    assert [result["path"] for result in results] == [str(path) for path in paths]
    for result in results:
        validator.validate(result)


@pytest.fixture(scope="module")
def recordings() -> list[Path]:
    found = sorted(MUSIC.glob("*.og[ga]"))
    assert len(found) >= 14
    return found


def test_every_recording_gives_an_analysis(recordings: list[Path]) -> None:
    check(analyze(*recordings), recordings)


def test_every_format_gives_the_same_music(recordings: list[Path], tmp_path: Path) -> None:
    """Twelve seconds of each recording in each format: the tempo heard in FLAC is heard in the others too."""
    from backbeat.audio import decode, encode
    from backbeat.errors import SilentAudioError

    paths, names = [], []
    for recording in recordings:
        try:
            audio = decode(recording)
        except SilentAudioError:
            continue
        rate = audio.sample_rate_hz
        excerpt = audio.samples[:, : 12 * rate]
        for suffix, arguments in FORMATS.items():
            paths.append(tmp_path / f"{recording.stem}.{suffix}")
            encode(paths[-1], excerpt, rate, **arguments)
            names.append((recording.stem, suffix))
    results = analyze(*paths)
    check(results, paths)
    by_name = dict(zip(names, results, strict=True))
    same = total = 0
    for (stem, suffix), result in by_name.items():
        reference = by_name[stem, "flac"]
        assert result["duration_s"] == pytest.approx(reference["duration_s"], abs=0.06), (stem, suffix)
        if reference["tempo_bpm"] and len(reference["beats"]) > 8:
            total += 1
            same += abs((result["tempo_bpm"] or 0) / reference["tempo_bpm"] - 1) < 0.04
    # Lossy coding may move an answer that was uncertain to begin with (bird song, speech), but not many.
    assert same >= 0.85 * total
