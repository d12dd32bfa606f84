"""A take with a beat under it, to listen to: in its tempo, bar on bar, in its key and as loud as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.audio.stretching import TimeMap, split, stretch
from backbeat.errors import ConfigError

if TYPE_CHECKING:
    from backbeat.analysis import Analysis, Analyzer
    from backbeat.audio import AudioLimits
    from backbeat.recommend.beats.selecting import BeatAnswer

#: The loudest sample of a mix, 1.5 dB below full scale: lossy formats overshoot by about one.
PEAK = 10 ** (-1.5 / 20)
_RATES_HZ = (44100, 48000)
#: Of longer takes a preview has the beginning: there is nothing new to hear later, and memory stays small.
LONGEST_S = 600.0
#: A beat's loop is not longer than this: it comes round soon enough, and memory stays small.
_LOOP_S = 90.0
#: Beats that lie on a line to this accuracy, seconds, were played to a click; the line is then truer than each of them.
_STEADY_S = 0.03
_JOIN_S, _FADE_S = 0.01, 0.5
#: A stroke may begin so long before its beat.
_EARLY_S = 0.03
_UNKNOWN_BAR = 4

#: Told the share that is done and the step.
Progress = Callable[[float, str], None]


@dataclass(frozen=True, eq=False)
class Pulse:
    """Where the beats of a recording are, counted from its first downbeat.

    Parameters
    ----------
    counts
        Shape (points,), beats from the first downbeat, increasing; the first is 0.
    times_s
        Shape (points,), when.
    beats_per_bar
        Of most bars.
    """

    counts: NDArray[np.float64]
    times_s: NDArray[np.float64]
    beats_per_bar: int

    @property
    def tempo_bpm(self) -> float:
        """Beats a minute on the whole."""
        return float(60 * (self.counts[-1] - self.counts[0]) / (self.times_s[-1] - self.times_s[0]))


def pulse_of(analysis: Analysis) -> Pulse | None:
    """Return the pulse of a recording by its bars; None where there is not one whole bar."""
    times_s = np.array([beat.time_s for beat in analysis.beats])
    downbeats = np.array([place for place, beat in enumerate(analysis.beats) if beat.position == 1], dtype=np.int64)
    if downbeats.size > 1:
        lengths, often = np.unique(np.diff(downbeats), return_counts=True)
        bar = int(lengths[np.argmax(often)])
    else:
        bar = _UNKNOWN_BAR
    first = int(downbeats[0]) if downbeats.size else 0
    if times_s.size > 1:
        # A loop ends where its next bar would begin: there is no beat to be heard there.
        after_s = times_s[-1] + float(np.median(np.diff(times_s)))
        times_s = np.append(times_s, after_s) if after_s <= analysis.duration_s + _STEADY_S else times_s
    bars = (times_s.size - 1 - first) // bar
    if bars < 1:
        return None
    chosen = first + bar * np.arange(bars + 1)
    counts = (chosen - first).astype(np.float64)
    every = np.arange(first, times_s.size)
    slope, start = np.polyfit(every - first, times_s[every], 1)
    if np.abs(start + slope * (every - first) - times_s[every]).max() <= _STEADY_S:
        return Pulse(counts, start + slope * counts, bar)
    return Pulse(counts, times_s[chosen], bar)


def write_preview(
    take: Path,
    beat: Path,
    answer: BeatAnswer,
    out: Path,
    *,
    analyzer: Analyzer | None = None,
    take_analysis: Analysis | None = None,
    limits: AudioLimits | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the mix of a take and a beat as `answer` puts them together, atomically; the suffix chooses the format.

    The beat begins with the take, its downbeats on the take's, and is repeated in whole bars for as long as the take
    lasts, of which ten minutes are written at most. Where either has no bar, it plays at its own tempo from its first
    beat on.

    Parameters
    ----------
    take, beat
        Recordings.
    answer
        Its level and transposition are used; the stretch is that of the bars as they are heard.
    out
        `.wav`, `.flac`, `.mp3` or another format of `backbeat.audio.encode`.
    analyzer
        Hears the bars; None loads the shipped models.
    take_analysis
        Of the take, where it is there already.
    limits
        For both recordings.
    progress
        Told how far it is.

    Raises
    ------
    AudioError
        If a recording cannot be heard, or `out` cannot be written in its format.
    ConfigError
        If `out` is one of the recordings.
    """
    from backbeat.analysis import Analyzer
    from backbeat.audio import encode

    if out.exists() and any(one.exists() and out.samefile(one) for one in (take, beat)):
        raise ConfigError(f"{out}: the preview would replace what it is made of; name another file")
    tell: Progress = (lambda _, __: None) if progress is None else progress
    analyzer = Analyzer.load() if analyzer is None else analyzer
    tell(0.0, "hearing the beat")
    beat_analysis = analyzer.analyze(beat, limits)
    take_analysis = analyzer.analyze(take, limits) if take_analysis is None else take_analysis
    tell(0.3, "stretching the beat")
    rate_hz = take_analysis.sample_rate_hz if take_analysis.sample_rate_hz in _RATES_HZ else _RATES_HZ[0]
    voice, music = (_stereo(path, rate_hz, limits)[:, : round(LONGEST_S * rate_hz)] for path in (take, beat))
    under = under_take(
        music,
        rate_hz,
        voice.shape[1],
        pulse_of(take_analysis),
        pulse_of(beat_analysis),
        level=answer.level,
        semitones=answer.transpose_semitones,
        onsets_s=np.array([onset.time_s for onset in beat_analysis.onsets]),
    )
    tell(0.9, "mixing")
    encode(out, mixed(voice, under, rate_hz), rate_hz)
    tell(1.0, "done")


def under_take(
    music: NDArray[np.float32],
    rate_hz: int,
    length: int,
    take: Pulse | None,
    beat: Pulse | None,
    *,
    level: float = 1.0,
    semitones: int = 0,
    onsets_s: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Return a beat in the time of a take, shape (channels, length).

    Parameters
    ----------
    music
        The beat, shape (channels, samples).
    rate_hz
        Of it and of the result.
    length
        Of the take, samples.
    take, beat
        Their pulses; where one is None the beat keeps its tempo.
    level
        Beats of the beat to one of the take.
    semitones
        By which it is transposed.
    onsets_s
        Of the beat.
    """
    strokes = np.zeros(0) if onsets_s is None else onsets_s * rate_hz
    begin, end = _loop(beat, music.shape[1], rate_hz)
    if take is None or beat is None:
        times = TimeMap(np.array([0.0, length]), np.array([0.0, length]))
    else:
        times = _time_map(take, beat, _octave(take, beat, level), begin, end, rate_hz, length)
    needed = times(np.array([0.0, length]))
    # One time round more at either end than is heard: a stroke's start lies before its beat.
    rounds = np.arange(np.floor(needed[0] / (end - begin)) - 1, np.ceil(needed[1] / (end - begin)) + 1)
    offset = float(rounds[0]) * (end - begin)
    within = strokes[(strokes >= begin) & (strokes < end)] - begin
    onsets = (rounds[:, None] * (end - begin) - offset + within).ravel()
    sounding, struck = (_looped(part, begin, end, rounds.size, rate_hz) for part in split(music, rate_hz))
    moved = TimeMap(times.output, times.input - offset)
    return stretch(sounding, struck, rate_hz, moved, length, semitones=semitones, onsets=onsets)


def mixed(take: NDArray[np.float32], beat: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """Return the two together, the beat as loud as the take by BS.1770-4, and all below `PEAK`."""
    from backbeat.audio.loudness import loudness_lufs

    ours, theirs = loudness_lufs(take, rate_hz), loudness_lufs(beat, rate_hz)
    gain = 1.0 if ours is None or theirs is None else 10 ** ((ours - theirs) / 20)
    fade = min(beat.shape[1], round(_FADE_S * rate_hz))
    beat = beat * np.float32(gain)
    beat[:, beat.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    both = take + beat
    peak = float(np.abs(both).max(initial=0.0))
    return both if peak <= PEAK else both * np.float32(PEAK / peak)


def _loop(beat: Pulse | None, length: int, rate_hz: int) -> tuple[int, int]:
    """Return where the loop of a beat begins and ends, samples: whole bars, or all of it where none is known."""
    if beat is None:
        return 0, length
    starts_s = beat.times_s[beat.times_s <= beat.times_s[0] + _LOOP_S]
    last = starts_s[-1] if starts_s.size > 1 else beat.times_s[1]
    first = max(0, round(float(beat.times_s[0]) * rate_hz))
    lead = min(first, round(_EARLY_S * rate_hz))
    return first - lead, min(length, round(float(last) * rate_hz) - lead)


def _octave(take: Pulse, beat: Pulse, level: float) -> float:
    """Return the level, or one an octave or more away where the pulses are not those that the level was found by."""
    return level * 2.0 ** round(float(np.log2(beat.tempo_bpm / (take.tempo_bpm * level))))


def _time_map(take: Pulse, beat: Pulse, level: float, begin: int, end: int, rate_hz: int, length: int) -> TimeMap:
    """Map the take's time to that of the looped beat, both in samples; the loop begins at input 0."""
    lead = max(0.0, float(beat.times_s[0]) * rate_hz - begin)
    inside = beat.times_s * rate_hz <= end + lead + 1
    counts, places = beat.counts[inside], beat.times_s[inside] * rate_hz - begin - lead
    places[0], places[-1] = 0.0, end - begin
    whole = counts[-1]
    takes = TimeMap(take.counts * level, take.times_s * rate_hz)
    first, last = takes.inverse(np.array([0.0, length]))
    rounds = np.arange(np.floor(first / whole) - 1, np.ceil(last / whole) + 1)
    bars = (rounds[:, None] * whole + counts[:-1]).ravel()
    at = np.unique(np.concatenate([bars, takes.output]))
    at = at[(at >= first - 1) & (at <= last + 1)]
    at = np.union1d(at, [first - 1, last + 1])
    at = at[np.concatenate([[True], np.diff(at) > 1e-6])]
    round_of, within = np.divmod(at, whole)
    return TimeMap(takes(at), round_of * (end - begin) + np.interp(within, counts, places) + lead)


def _looped(part: NDArray[np.float32], begin: int, end: int, rounds: int, rate_hz: int) -> NDArray[np.float32]:
    """Repeat a stretch of samples; what leads into its start is faded into its end."""
    body = part[:, begin:end].copy()
    join = min(round(_JOIN_S * rate_hz), begin, end - begin)
    if join:
        ramp = np.linspace(0, 1, join, dtype=np.float32)
        body[:, -join:] = body[:, -join:] * (1 - ramp) + part[:, begin - join : begin] * ramp
    return np.tile(body, (1, rounds))


def _stereo(path: Path, rate_hz: int, limits: AudioLimits | None) -> NDArray[np.float32]:
    """Return a recording in stereo, shape (2, samples)."""
    from backbeat.audio import AudioLimits, decode
    from backbeat.audio.mixing import stereo_weights

    audio = decode(path, sample_rate_hz=rate_hz, limits=AudioLimits() if limits is None else limits)
    stereo: NDArray[np.float32] = stereo_weights(audio.info.channel_names) @ audio.samples
    return stereo
