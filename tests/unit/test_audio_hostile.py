"""Files that a program meets in the wild: each gives one clear line, or a result, and never noise or a hang."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hostile import RATE_HZ, Expectation, make_hostile_files, music

from backbeat.audio import AudioLimits, decode, encode, find_audio, probe
from backbeat.errors import (
    AudioError,
    AudioLimitError,
    AudioNotFoundError,
    ConfigError,
    DamagedAudioError,
    SilentAudioError,
    UnsupportedAudioError,
)

Hostile = dict[str, tuple[Path, Expectation]]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    return make_hostile_files(tmp_path_factory.mktemp("hostile"))


def test_each_is_refused_or_heard(hostile: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(hostile) > 50
    failures = []
    for name, (path, expected) in hostile.items():
        try:
            audio = decode(path)
        except AudioError as error:
            text = str(error)
            if type(error) is not expected.error or expected.text not in text:
                failures.append(f"{name}: {type(error).__name__} {text}")
            if not text.startswith(str(path)) or "\n" in text or len(text) - len(str(path)) > 160:
                failures.append(f"{name}: message {text!r}")
        else:
            said = " ".join(audio.warnings)
            if expected.error is not None or expected.text not in said:
                failures.append(f"{name}: heard, {audio.warnings}")
            if not np.isfinite(audio.samples).all() or not 2.5 < audio.duration_s < 6.2:
                failures.append(f"{name}: {audio.duration_s} s")
    assert failures == []
    streams = capfd.readouterr()
    assert streams.out + streams.err == ""


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus", ".m4a", ".wma"])
def test_times_stay_true_behind_damage(hostile: Hostile, suffix: str) -> None:
    good = hostile["cut.wav"][0].parent / f"good{suffix}"
    whole, broken = decode(good, mono=True), decode(hostile[f"corrupt{suffix}"][0], mono=True)
    assert broken.duration_s == pytest.approx(whole.duration_s, abs=0.001)
    assert broken.warnings
    rate_hz = whole.sample_rate_hz
    np.testing.assert_allclose(broken.mono[-rate_hz:-200], whole.mono[-rate_hz:-200], atol=1e-4)


@pytest.mark.parametrize("name", ["tagged.mp3", "junk_before.mp3", "mp3_as.wav"])
def test_wrapping_does_not_shift(hostile: Hostile, name: str) -> None:
    good = decode(hostile["cut.wav"][0].parent / "good.mp3")
    np.testing.assert_array_equal(decode(hostile[name][0]).samples, good.samples)


def test_silence_is_accepted_when_asked(hostile: Hostile) -> None:
    path = hostile["silent.wav"][0]
    assert decode(path, allow_silence=True).samples.max() == 0
    with pytest.raises(SilentAudioError):
        decode(path)


def test_quiet_is_not_silent(tmp_path: Path) -> None:
    encode(tmp_path / "quiet.wav", music(1.0) * 10 ** (-70 / 20), RATE_HZ, bit_depth=24)
    assert decode(tmp_path / "quiet.wav").warnings == ()


def test_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.wav"
    encode(path, music(1.0), RATE_HZ)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(AudioNotFoundError, match="permission denied"):
        decode(path)


def test_limits_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "long.flac"
    encode(path, music(5.0), RATE_HZ)
    with pytest.raises(AudioLimitError, match=r"lasts 5\.0 s, over the limit of 4\.0 s"):
        decode(path, limits=AudioLimits(max_seconds=4))
    with pytest.raises(AudioLimitError, match=r"over the limit of 1000 bytes"):
        decode(path, limits=AudioLimits(max_bytes=1000))
    with pytest.raises(AudioLimitError, match=r"more than 97\.66 KiB of memory"):
        decode(path, limits=AudioLimits(max_memory_bytes=100_000))
    assert decode(path, limits=AudioLimits(max_seconds=5, max_bytes=path.stat().st_size)).duration_s == 5
    with pytest.raises(ConfigError):
        AudioLimits(max_seconds=0)


def test_limits_when_the_header_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(tmp_path / "one.mp3", music(2.0), RATE_HZ)
    path = tmp_path / "many.mp3"
    path.write_bytes((tmp_path / "one.mp3").read_bytes() * 20)
    assert probe(path).duration_s == 2.0
    blocks = []
    real = np.einsum
    monkeypatch.setattr(np, "einsum", lambda *args, **kwargs: (blocks.append(1), real(*args, **kwargs))[1])
    with pytest.raises(AudioLimitError, match="longer than the limit"):
        decode(path, limits=AudioLimits(max_seconds=6))
    assert 2 <= len(blocks) <= 4  # stopped on the way, at blocks of 3 s


def test_header_that_promises_hours(tmp_path: Path) -> None:
    path = tmp_path / "lie.wav"
    encode(path, music(3.0), RATE_HZ)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 40, 2_000_000_000)
    path.write_bytes(data)
    audio = decode(path, limits=AudioLimits(max_seconds=10))
    assert audio.duration_s == 3.0
    assert audio.warnings[0].startswith("truncated: 3.0 s of 226")


def test_random_damage_never_escapes(tmp_path: Path, hostile: Hostile, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(11)
    path = tmp_path / "fuzz"
    outcomes = set()
    messages = []
    for good in sorted(hostile["cut.wav"][0].parent.glob("good.*")):
        for _ in range(12):
            data = bytearray(good.read_bytes())
            for at in rng.integers(0, rng.choice([100, 2000, len(data)]), rng.integers(1, 20)):
                data[at] = rng.integers(256)
            path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
            try:
                outcomes.add(bool(decode(path, mono=True, sample_rate_hz=16000).warnings))
            except AudioError as error:
                outcomes.add(type(error))
                messages.append(str(error))
    assert not any("\n" in message for message in messages)
    assert {True, False, DamagedAudioError, UnsupportedAudioError} <= outcomes
    assert capfd.readouterr().err == ""


def test_nan_is_named_by_its_time_in_any_block(tmp_path: Path) -> None:
    samples = music(5.0, 44100, 1)
    samples[0, 44100 * 4 + 441] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples.T, 44100, "DOUBLE")
    with pytest.raises(DamagedAudioError, match=r"nan\.wav: holds NaN at 4\.010 s"):
        decode(tmp_path / "nan.wav")


def test_find_audio(tmp_path: Path) -> None:
    for name in ("b.MP3", "a.wav", "notes.txt", ".hidden.wav", "sub/c.Flac", "sub/.git/d.wav", "Z/e.opus"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_audio([tmp_path / "notes.txt", tmp_path, tmp_path / "gone.wav"])
    names = [path.relative_to(tmp_path).as_posix() for path in found]
    assert names == ["notes.txt", "Z/e.opus", "a.wav", "b.MP3", "sub/c.Flac", "gone.wav"]


def test_real_recordings(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath.parent / "shared" / "data" / "real" / "music"
    if not folder.is_dir():
        pytest.skip("../shared/data/real/music is not here")
    for path in find_audio([folder]):
        audio = decode(path, mono=True, sample_rate_hz=24000)
        assert audio.warnings == ()
        assert audio.info.duration_s == pytest.approx(audio.duration_s, abs=0.001)
