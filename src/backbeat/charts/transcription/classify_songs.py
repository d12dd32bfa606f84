"""Rendered songs as the stroke classifier sees them: composed, played and heard in memory, from a seed and a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.augment import Augmentation, augment
from backbeat.charts.transcription.classify import describe, moments_of, stroke_times_s
from backbeat.errors import ConfigError
from backbeat.music import DRUMS, Onsets

if TYPE_CHECKING:
    from backbeat.corpus.performances import Performance
    from backbeat.features import LogMel
    from backbeat.onset.detector import OnsetDetector

#: Where time is kept, in varied songs, instead of on hi-hat or ride: crashes, an open hi-hat, toms, a ride.
_TIME_NOTES: tuple[int, ...] = (49, 57, 49, 57, 46, 43, 41, 47, 48, 53, 51)
_TOM_NOTES: tuple[int, ...] = (48, 45, 43, 41)
_RIDE_NOTES: frozenset[int] = frozenset({51, 59})
#: A stroke belongs to the nearest moment, at most so many frames away.
_LABEL_FRAMES = 4
#: How a song is varied to be heard once more.
_VARIED = Augmentation(gain_db=10.0, tone_db=4.0, shift_bands=2, lowpass=0.25, noise=0.3)


@dataclass(frozen=True)
class StrokeTraining:
    """What is trained, and on what.

    Parameters
    ----------
    seed
        Decides all that is random.
    songs, varied_songs, valid_songs, duration_s
        Rendered songs to learn from, such songs in which rare drums are common, songs to settle thresholds on; and
        their length.
    soundfonts, kits, performances, sources_licence
        As in `RenderedParams`; soundfonts come after the one that every installation has.
    drums_alone_share, varied_alone_share
        Chance that drums play alone, in songs and in varied ones.
    time_moved_share, snare_moved_share
        Chance in a varied song that time is kept on another drum than hi-hat or ride, and that a tom plays what is
        written for the snare.
    networks, hidden, epochs, dropout, learning_rate, batch
        The networks and how they learn.

    Raises
    ------
    ConfigError
        If there are too few songs.
    """

    seed: int = 7001
    songs: int = 400
    varied_songs: int = 520
    valid_songs: int = 130
    duration_s: float = 30.0
    soundfonts: tuple[str, ...] = ()
    kits: tuple[str, ...] = ()
    performances: str | None = None
    sources_licence: str = "CC-BY-4.0 AND CC0-1.0 AND MIT"
    drums_alone_share: float = 0.25
    varied_alone_share: float = 0.4
    time_moved_share: float = 0.55
    snare_moved_share: float = 0.12
    networks: int = 3
    hidden: tuple[int, ...] = (96, 48)
    epochs: int = 5
    dropout: float = 0.3
    learning_rate: float = 2e-3
    batch: int = 1024

    def __post_init__(self) -> None:
        if self.songs + self.varied_songs < 1 or min(self.songs, self.varied_songs) < 0 or self.valid_songs < 1:
            raise ConfigError(
                f"{self.songs} and {self.varied_songs} songs to learn from and {self.valid_songs} to settle on: too few"
            )


@dataclass(frozen=True, eq=False)
class HeardSong:
    """A rendered song as the classifier sees it.

    Parameters
    ----------
    described
        Shape (moments, features), of all hearings.
    labels
        Shape (moments, drums), 0 or 1.
    times_s
        Shape (moments, 10), when each drum would be struck; of the plain hearing, which comes first.
    plain
        How many of the moments are of the plain hearing.
    truth
        What was played.
    """

    described: NDArray[np.float32]
    labels: NDArray[np.float32]
    times_s: NDArray[np.float64]
    plain: int
    truth: Onsets


@dataclass(frozen=True)
class SongJob:
    """A song to make: its number, and which kind it is, "plain", "valid" or "varied"."""

    training: StrokeTraining
    kind: str
    index: int


def jobs_of(training: StrokeTraining) -> tuple[list[SongJob], list[SongJob]]:
    """Return the songs to learn from, and those to settle thresholds on."""
    learned = [SongJob(training, "plain", index) for index in range(training.songs)]
    learned += [SongJob(training, "varied", index) for index in range(training.varied_songs)]
    return learned, [SongJob(training, "valid", index) for index in range(training.valid_songs)]


def heard_songs(jobs: Sequence[SongJob], workers: int) -> Iterator[HeardSong]:
    """Render songs in `workers` processes, and hear them; in order."""
    if workers < 2:
        yield from map(hear_song, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(hear_song, jobs, chunksize=4)


def hear_song(job: SongJob) -> HeardSong:
    """Compose, render, hear and describe one song; those to learn from once more, with another sound."""
    import soxr
    import torch

    from backbeat.corpus.rendered.kits import SYNTHESIS_RATE_HZ
    from backbeat.features import log_mel

    torch.set_num_threads(1)
    _, front_end = listener()
    samples, truth = _rendered(job)
    mono = soxr.resample(samples.mean(axis=0), SYNTHESIS_RATE_HZ, front_end.params.sample_rate_hz).astype(np.float32)
    rng = None if job.kind == "valid" else np.random.default_rng([job.training.seed, job.kind == "varied", job.index])
    return described_song(log_mel(mono, front_end), truth, rng)


def described_song(
    spectrogram: NDArray[np.floating],
    truth: Onsets,
    rng: np.random.Generator | None = None,
) -> HeardSong:
    """Hear and describe a song.

    Parameters
    ----------
    spectrogram
        Shape (frames, mel_bands); half its precision is enough, as for corpora on disk.
    truth
        What is played in it.
    rng
        Draws how it is varied to be heard once more; None where it is heard only once.
    """
    import torch

    detector, _ = listener()
    plain = spectrogram.astype(np.float16).astype(np.float32)
    hearings = [plain]
    if rng is not None:
        hearings.append(augment(torch.from_numpy(plain)[None], _VARIED, rng)[0].numpy())
    described, labels, times_s = [], [], []
    for heard in hearings:
        activations = detector.activations(heard)
        moments = moments_of(activations)
        if moments.size:
            described.append(describe(heard, activations, moments))
            labels.append(_labels(moments, detector.frame_rate_hz, truth))
            times_s.append(stroke_times_s(activations, moments, detector.frame_rate_hz))
        elif heard is plain:
            break
    if not described:
        nothing = np.empty((0, 0), np.float32), np.empty((0, len(DRUMS)), np.float32), np.empty((0, len(DRUMS)))
        return HeardSong(*nothing, 0, truth)
    return HeardSong(np.concatenate(described), np.concatenate(labels), times_s[0], len(times_s[0]), truth)


@lru_cache(maxsize=1)
def listener() -> tuple[OnsetDetector, LogMel]:
    """Return the shipped onset model and its front end."""
    from backbeat.analysis.analyzer import shipped_models
    from backbeat.features import LogMel
    from backbeat.onset.detector import OnsetDetector

    detector = OnsetDetector.from_folder(shipped_models()["onset"])
    return detector, LogMel(detector.spec.features)


def _rendered(job: SongJob) -> tuple[NDArray[np.float32], Onsets]:
    """Return the sound of a song, and what is played in it."""
    from backbeat.corpus.performances import load_performances, performances_for_split
    from backbeat.corpus.rendered.compose import ComposeParams, compose
    from backbeat.corpus.rendered.effects import EffectsParams
    from backbeat.corpus.rendered.kits import HIHAT_NOTES
    from backbeat.corpus.rendered.metronome import with_metronome
    from backbeat.corpus.rendered.render import (
        SHAKER,
        SIDE_STICK,
        SNARE_NOTES,
        TAMBOURINE,
        render_score,
        sources_of,
        with_strokes_moved,
    )
    from backbeat.corpus.rendered.styles import STYLES
    from backbeat.corpus.rendered.synthesise import default_soundfont

    training, varied = job.training, job.kind == "varied"
    seed = training.seed + ("plain", "valid", "varied").index(job.kind)
    composing, rendering = np.random.SeedSequence([seed, job.index]).spawn(2)
    style = tuple(STYLES)[job.index % len(STYLES)]
    players: tuple[Performance, ...] = ()
    if training.performances is not None:
        split = "valid" if job.kind == "valid" else "train"
        players = performances_for_split(load_performances(Path(training.performances).expanduser()), split)
    alone = training.varied_alone_share if varied else training.drums_alone_share
    params = ComposeParams(training.duration_s, style, drums_alone_share=alone)
    score = compose(f"{style}-{job.index}", composing, params, players)
    sticks, jingles, metronome = (np.random.default_rng(child) for child in composing.spawn(3))
    score = with_strokes_moved(score, sticks, 0.08, SNARE_NOTES, (SIDE_STICK,))
    score = with_strokes_moved(score, jingles, 0.08, HIHAT_NOTES, (TAMBOURINE, TAMBOURINE, SHAKER))
    if varied:
        rng = np.random.default_rng(np.random.SeedSequence([seed, job.index, 9]))
        score = with_strokes_moved(score, rng, training.time_moved_share, HIHAT_NOTES | _RIDE_NOTES, _TIME_NOTES)
        score = with_strokes_moved(score, rng, training.snare_moved_share, SNARE_NOTES, _TOM_NOTES)
    score = with_metronome(score, metronome, 0.05)
    sources = sources_of((str(default_soundfont()), *training.soundfonts), training.kits)
    made = render_score(
        score, rendering, replace(sources, modelled_share=0.4), EffectsParams(strength=1.0, drums=1.0), channels=1
    )
    return made.audio, made.onsets


def _labels(moments: NDArray[np.int64], frame_rate_hz: float, truth: Onsets) -> NDArray[np.float32]:
    """Return what is struck at each moment, shape (moments, drums); strokes far from all moments are left out."""
    labels = np.zeros((moments.size, len(DRUMS)), dtype=np.float32)
    for column, name in enumerate(DRUMS):
        places = truth.of(name).times_s * frame_rate_hz
        after = np.clip(np.searchsorted(moments, places), 0, moments.size - 1)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(moments[before] - places) < np.abs(moments[after] - places)
        nearest = np.where(nearer, before, after)
        labels[nearest[np.abs(moments[nearest] - places) <= _LABEL_FRAMES], column] = 1.0
    return labels
