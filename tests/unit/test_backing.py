from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chart_music import bar_of, chart_of
from numpy.typing import NDArray
from scipy.signal import butter, correlate, sosfilt

from backbeat.audio import AudioLimits, decode, encode
from backbeat.charts.backing import mixed, preview_start_s, write_backing, write_preview
from backbeat.charts.chart import Chart
from backbeat.errors import AudioLimitError, AudioNotFoundError, ConfigError

RATE_HZ = 44100
Samples = NDArray[np.float32]


def music(seconds: float, rate_hz: int = RATE_HZ, channels: int = 2, seed: int = 0) -> Samples:
    """Dull noise that beats twice a second, and begins at once."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    low = butter(2, min(1500, 0.3 * rate_hz), fs=rate_hz, output="sos")
    noise = sosfilt(low, rng.standard_normal((channels, count)) * np.sqrt(rate_hz / RATE_HZ))
    beat = np.exp(-8 * (np.arange(count) / rate_hz % 0.5))
    return (0.4 * noise * (0.1 + beat)).astype(np.float32)


def lag_samples(heard: Samples, meant: Samples) -> float:
    """How many samples later `heard` is, to fractions of one."""
    count = min(heard.size, meant.size)
    both = correlate(heard[:count], meant[:count])
    top = int(np.argmax(both))
    left, middle, right = both[top - 1 : top + 2]
    return top - (count - 1) + 0.5 * (left - right) / (left - 2 * middle + right)


def backing_of(tmp_path: Path, *parts: Path) -> Samples:
    write_backing(tmp_path / "bgm.ogg", mixed(parts))
    assert soundfile.info(tmp_path / "bgm.ogg").subtype == "VORBIS"
    return decode(tmp_path / "bgm.ogg", allow_silence=True).samples


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus"])
def test_the_music_begins_at_the_sample_at_which_analysis_hears_it(tmp_path: Path, suffix: str) -> None:
    song = tmp_path / f"song{suffix}"
    encode(song, music(4), RATE_HZ if suffix != ".opus" else 48000)
    heard = decode(song)
    written = backing_of(tmp_path, song)
    assert decode(tmp_path / "bgm.ogg").sample_rate_hz == heard.sample_rate_hz
    assert written.shape == heard.samples.shape
    for side in range(2):
        assert abs(lag_samples(written[side], heard.samples[side])) < 0.05
        assert np.corrcoef(written[side], heard.samples[side])[0, 1] > 0.95
    if suffix in (".wav", ".flac", ".mp3"):
        assert abs(lag_samples(written[0], music(4)[0])) < 0.05


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000, 96000])
def test_the_music_keeps_its_rate(tmp_path: Path, rate_hz: int) -> None:
    encode(tmp_path / "song.wav", music(2, rate_hz), rate_hz)
    written = backing_of(tmp_path, tmp_path / "song.wav")
    assert soundfile.info(tmp_path / "bgm.ogg").samplerate == rate_hz
    assert written.shape == (2, 2 * rate_hz)


def test_a_rate_that_vorbis_lacks_is_resampled_in_place(tmp_path: Path) -> None:
    encode(tmp_path / "song.wav", music(1, 352800), 352800)
    written = backing_of(tmp_path, tmp_path / "song.wav")
    assert soundfile.info(tmp_path / "bgm.ogg").samplerate == 48000
    assert abs(lag_samples(written[0], decode(tmp_path / "song.wav", sample_rate_hz=48000).samples[0])) < 0.05


def test_one_channel_and_six_become_two(tmp_path: Path) -> None:
    encode(tmp_path / "mono.wav", music(1, channels=1), RATE_HZ)
    both = backing_of(tmp_path, tmp_path / "mono.wav")
    assert np.abs(both[0] - both[1]).max() < 1e-3
    surround = np.zeros((6, RATE_HZ), np.float32)
    surround[2] = music(1, channels=1)[0]  # the centre
    surround[3] = 0.9  # the low-frequency channel, which no front speaker plays
    encode(tmp_path / "surround.wav", surround, RATE_HZ)
    left, right = backing_of(tmp_path, tmp_path / "surround.wav")
    assert np.corrcoef(left, surround[2])[0, 1] > 0.95
    assert np.abs(left - right).max() < 1e-3
    assert abs(left.mean()) < 0.01


def test_stems_are_summed_and_never_wrap(tmp_path: Path) -> None:
    parts = []
    for seed, name in enumerate(("bass", "vocals", "other")):
        stem = 0.9 * music(2, seed=seed) / np.abs(music(2, seed=seed)).max()
        stem[:, 1000:1400] = 0.95  # all at once: 2.85 in the sum
        parts.append(tmp_path / f"{name}.wav")
        encode(parts[-1], stem, RATE_HZ)
    sum_of_all = sum(decode(path).samples for path in parts)
    mix = mixed(parts)
    assert mix.gain == pytest.approx(0.891 / np.abs(sum_of_all).max(), rel=1e-3)
    written = backing_of(tmp_path, *parts)
    assert np.corrcoef(written[0], sum_of_all[0])[0, 1] > 0.97
    played, _ = soundfile.read(tmp_path / "bgm.ogg", dtype="int16")
    assert played[1050:1350].min() > 20000
    assert abs(lag_samples(written[0], sum_of_all[0])) < 0.05


def test_stems_of_other_lengths_and_rates_begin_together(tmp_path: Path) -> None:
    encode(tmp_path / "long.wav", music(3), RATE_HZ)
    encode(tmp_path / "short.wav", music(1, 48000, seed=3), 48000)
    mix = mixed([tmp_path / "long.wav", tmp_path / "short.wav"])
    assert mix.length == 3 * RATE_HZ
    expected = decode(tmp_path / "long.wav").samples
    expected[:, :RATE_HZ] += decode(tmp_path / "short.wav", sample_rate_hz=RATE_HZ).samples
    assert np.concatenate(list(mix.blocks()), axis=1) == pytest.approx(expected, abs=1e-6)


def test_a_song_with_headroom_is_left_as_it_is(tmp_path: Path) -> None:
    encode(tmp_path / "song.wav", 0.88 * music(1) / np.abs(music(1)).max(), RATE_HZ)
    assert mixed([tmp_path / "song.wav"]).gain == 1.0
    encode(tmp_path / "hot.wav", 3 * music(1) / np.abs(music(1)).max(), RATE_HZ, bit_depth=32, floating=True)
    assert mixed([tmp_path / "hot.wav"]).gain == pytest.approx(0.891 / 3, rel=1e-3)


def test_silence_is_music_too(tmp_path: Path) -> None:
    encode(tmp_path / "silence.wav", np.zeros((1, RATE_HZ)), RATE_HZ)
    assert np.abs(backing_of(tmp_path, tmp_path / "silence.wav")).max() < 1e-4


def test_what_is_spooled_is_the_same(tmp_path: Path) -> None:
    encode(tmp_path / "song.wav", music(5), RATE_HZ)
    write_backing(tmp_path / "a.flac", mixed([tmp_path / "song.wav"]))
    mix = mixed([tmp_path / "song.wav"], spool=tmp_path)
    assert isinstance(mix.parts[0][0], np.memmap)
    write_backing(tmp_path / "b.flac", mix)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_errors_leave_what_was_there(tmp_path: Path) -> None:
    encode(tmp_path / "song.wav", music(2), RATE_HZ)
    with pytest.raises(ConfigError, match="nothing to mix"):
        mixed([])
    with pytest.raises(AudioNotFoundError):
        mixed([tmp_path / "song.wav", tmp_path / "none.wav"])
    with pytest.raises(AudioLimitError):
        mixed([tmp_path / "song.wav"], limits=AudioLimits(max_seconds=1))
    (tmp_path / "bgm.ogg").write_bytes(b"kept")
    mix = mixed([tmp_path / "song.wav"])
    broken = replace(mix, parts=((mix.parts[0][0], np.ones((3, 3), np.float32)),))
    with pytest.raises(ValueError, match="mismatch"):
        write_backing(tmp_path / "bgm.ogg", broken)
    assert (tmp_path / "bgm.ogg").read_bytes() == b"kept"


def sixty_seconds(tmp_path: Path, loud_from_s: float) -> Path:
    samples = 0.2 * music(60, 22050)
    first = round(loud_from_s * 22050)
    samples[:, first : first + 20 * 22050] *= 4
    encode(tmp_path / "song.wav", samples, 22050)
    return tmp_path / "song.wav"


def test_the_preview_is_where_the_song_is_densest_and_loudest(tmp_path: Path) -> None:
    even = chart_of({"kick": "x.x.", "snare": ".x.x"}, 30)  # bars of 2 s
    mix = mixed([sixty_seconds(tmp_path, 30.0)])
    assert preview_start_s(mix, even) == 30.0
    dense = Chart(even.bars, tuple(note for note in even.notes if 6 <= note.bar < 16 or note.tick == 0))
    flat = mixed([sixty_seconds(tmp_path, 59.9)])
    assert preview_start_s(flat, dense) == 12.0
    assert preview_start_s(mix, Chart(even.bars, ())) == 30.0
    late = Chart((bar_of(bpm=100.0),) * 25, ())
    start_s = write_preview(tmp_path / "preview.ogg", mix, late)
    assert start_s == pytest.approx(30.0, abs=2.4)
    assert start_s / 2.4 == pytest.approx(round(start_s / 2.4))


def test_the_preview_is_faded_and_is_the_song(tmp_path: Path) -> None:
    mix = mixed([sixty_seconds(tmp_path, 30.0)])
    start_s = write_preview(tmp_path / "preview.ogg", mix, chart_of({"kick": "x.x."}, 30))
    preview = decode(tmp_path / "preview.ogg")
    assert preview.duration_s == pytest.approx(20.0)
    first = round(start_s * 22050)
    meant = mix.read(first, first + 20 * 22050)
    inside = slice(22050, 17 * 22050)
    assert abs(lag_samples(preview.samples[0, inside], meant[0, inside])) < 0.05
    assert np.abs(preview.samples[:, :200]).max() < 0.02
    assert np.abs(preview.samples[:, -200:]).max() < 0.02
    assert preview.samples[0, -8820:].std() < 0.15 * preview.samples[0, inside].std()


def test_the_preview_of_a_short_song_is_the_song(tmp_path: Path) -> None:
    encode(tmp_path / "song.wav", music(5), RATE_HZ)
    mix = mixed([tmp_path / "song.wav"])
    assert write_preview(tmp_path / "preview.ogg", mix, chart_of({"kick": "x.x."}, 3)) == 0.0
    assert decode(tmp_path / "preview.ogg").duration_s == pytest.approx(5.0)
