import re
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from backbeat.charts.chart import LANES
from backbeat.charts.kit import LANE_NOTES, write_kit
from backbeat.corpus.rendered.kits import attack_index
from backbeat.corpus.rendered.synthesise import Soundfont
from backbeat.errors import ConfigError, CorpusError
from backbeat.music import GENERAL_MIDI_DRUMS

RATE_HZ = 44100


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    write_kit(folder)
    return folder


def sound(kit: Path, lane: str) -> NDArray[np.float64]:
    samples, _ = soundfile.read(kit / f"{lane}.wav")
    return np.asarray(samples)


def centroid_hz(samples: NDArray[np.float64]) -> float:
    power = np.abs(np.fft.rfft(samples[:4410])) ** 2
    return float((np.fft.rfftfreq(samples[:4410].size, 1 / RATE_HZ) * power).sum() / power.sum())


def pitch_hz(samples: NDArray[np.float64]) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples[2000:], 1 << 16)))) * RATE_HZ / (1 << 16)


def test_every_lane_has_a_short_file_with_a_plain_name(tmp_path: Path) -> None:
    files = write_kit(tmp_path / "new" / "folder")
    assert tuple(files) == LANES
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == sorted(files.values())
    for name in files.values():
        assert re.fullmatch(r"[a-z_]+\.wav", name)
        info = soundfile.info(tmp_path / "new" / "folder" / name)
        assert (info.samplerate, info.channels, info.subtype) == (RATE_HZ, 1, "PCM_16")
        assert 0.05 <= info.duration <= 2.5
    assert sum(path.stat().st_size for path in (tmp_path / "new" / "folder").iterdir()) < 3e6


def test_the_notes_of_the_lanes_are_the_drums_that_general_midi_has_there() -> None:
    for lane, note in LANE_NOTES.items():
        assert GENERAL_MIDI_DRUMS[note] == {"ride_bell": "ride"}.get(
            lane, lane.removesuffix("_left").removesuffix("_right")
        )
    assert len(set(LANE_NOTES.values())) == len(LANES)


def test_it_takes_under_a_second_and_gives_the_same_bytes(kit: Path, tmp_path: Path) -> None:
    began = time.perf_counter()
    files = write_kit(tmp_path)
    assert time.perf_counter() - began < 1
    for name in files.values():
        assert (tmp_path / name).read_bytes() == (kit / name).read_bytes()


@pytest.mark.parametrize("lane", LANES)
def test_a_sound_begins_at_its_attack_and_ends_in_silence(kit: Path, lane: str) -> None:
    samples = sound(kit, lane)
    assert attack_index(samples, RATE_HZ) <= RATE_HZ / 1000
    assert np.abs(samples[:2]).max() < 0.1 * np.abs(samples).max()
    assert np.abs(samples[-44:]).max() < 0.003


def test_the_kit_is_balanced(kit: Path) -> None:
    peaks_db = {lane: 20 * np.log10(np.abs(sound(kit, lane)).max()) for lane in LANES}
    assert max(peaks_db.values()) == pytest.approx(-1.0, abs=0.01)
    assert min(peaks_db.values()) > -13
    drums = [peaks_db[lane] for lane in ("kick", "snare", "tom_high", "tom_mid", "tom_low")]
    assert max(drums) - min(drums) < 5
    assert abs(peaks_db["crash_left"] - peaks_db["crash_right"]) < 1.5


def test_the_sounds_are_what_they_are_called(kit: Path) -> None:
    bright = {lane: centroid_hz(sound(kit, lane)) for lane in LANES}
    metal = [lane for lane in LANES if lane.startswith(("hihat", "crash", "ride"))]
    assert min(bright[lane] for lane in metal) > 2 * max(
        bright[lane] for lane in LANES if lane.startswith(("kick", "tom"))
    )
    assert bright["kick"] < bright["snare"] < bright["hihat_closed"]
    assert pitch_hz(sound(kit, "tom_low")) < pitch_hz(sound(kit, "tom_mid")) < pitch_hz(sound(kit, "tom_high"))
    assert sound(kit, "hihat_open").size > 5 * sound(kit, "hihat_closed").size
    assert not np.array_equal(sound(kit, "crash_left"), sound(kit, "crash_right"))


def test_only_the_lanes_that_are_wanted_are_written(kit: Path, tmp_path: Path) -> None:
    assert write_kit(tmp_path, ["snare", "kick"]) == {"snare": "snare.wav", "kick": "kick.wav"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kick.wav", "snare.wav"]
    assert (tmp_path / "snare.wav").read_bytes() == (kit / "snare.wav").read_bytes()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown lane 'gong'"):
        write_kit(tmp_path, ["kick", "gong"])
    with pytest.raises(CorpusError, match="no such soundfont"):
        write_kit(tmp_path, soundfont=tmp_path / "none.sf2")
    (tmp_path / "bad.sf2").write_bytes(b"RIFF, but no soundfont")
    with pytest.raises(CorpusError, match="cannot be read as a soundfont"):
        write_kit(tmp_path / "kit", soundfont=tmp_path / "bad.sf2")
    assert not (tmp_path / "kit").exists()


def test_a_soundfont_without_drums_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Soundfont, "has", lambda *_: False)
    with pytest.raises(ConfigError, match=r"TimGM6mb\.sf2: has no sound for crash_left"):
        write_kit(tmp_path)
