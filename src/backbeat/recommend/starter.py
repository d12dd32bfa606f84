"""The catalogue to begin with: beats of all styles, composed and rendered from a seed, free of anyone's rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backbeat.corpus.contract import Track
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.jobs import fingerprint, make_corpus
from backbeat.corpus.rendered.loops import compose_loop, render_loop
from backbeat.corpus.rendered.pairs import PAIRED_STYLES
from backbeat.corpus.rendered.render import AudioFormat, write_audio
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.errors import ConfigError
from backbeat.files import sha256_file
from backbeat.music import Key

LICENCE = "CC0-1.0"
#: Beats are clean: a room and some dynamics, and nothing that would be heard as a flaw.
_EFFECTS = EffectsParams(strength=0.35, noise=0.0, distractors=0.0, band_limit=0.0, codec=0.0)
_AUDIO = AudioFormat(44100, channels=2)
#: How often a kit other than the one written for the style plays.
_KIT_VARIETY = 0.2


@dataclass(frozen=True)
class StarterBeat:
    """A beat that was rendered.

    Parameters
    ----------
    path
        The file.
    label
        Its style: a key of `corpus.rendered.styles.STYLES`.
    title
        "Boom bap 2".
    tempo_bpm, key
        As composed.
    """

    path: Path
    label: str
    title: str
    tempo_bpm: float
    key: Key


@dataclass(frozen=True)
class _BeatJob:
    """One beat to make."""

    id: str
    style: str
    seed: tuple[int, int]


def render_starter(
    folder: Path, *, count: int = 60, seed: int = 1, workers: int | None = None, progress: bool = True
) -> Sequence[StarterBeat]:
    """Render beats to a corpus at `folder`: loops of drums, bass and chords, the styles in turn.

    Parameters
    ----------
    folder
        Where it will appear when it is whole; a corpus that is there is replaced.
    count, seed
        How many beats; beat i of a seed is always the same.
    workers, progress
        As in `corpus.rendered.jobs.make_corpus`.

    Raises
    ------
    ConfigError
        If there are no beats to make, or the seed is negative.
    CorpusError
        If `folder` holds something else than a corpus.
    """
    if count < 1 or seed < 0:
        raise ConfigError(f"a starter catalogue needs a beat or more and a seed from 0, not {count} and {seed}")
    jobs = []
    for index in range(count):
        style = PAIRED_STYLES[index % len(PAIRED_STYLES)]
        jobs.append(_BeatJob(f"{style}-{index // len(PAIRED_STYLES) + 1:03d}", style, (seed, index)))
    mark = fingerprint({"starter": [seed, count]}, [default_soundfont()], [])
    corpus = make_corpus(folder, jobs, _render_beat, mark, workers=workers, progress=progress)
    return tuple(_beat(corpus.audio_path(track), track) for track in corpus.tracks)


def _render_beat(job: _BeatJob, folder: Path) -> Track:
    composing, rendering = np.random.SeedSequence(job.seed).spawn(2)
    loop = compose_loop(job.id, job.style, composing)
    sources = Sources((default_soundfont(),), kit_variety=_KIT_VARIETY)
    name = f"audio/{job.id}.{_AUDIO.format}"
    write_audio(folder / name, render_loop(loop, rendering, sources, _EFFECTS), _AUDIO)
    return Track(
        id=job.id,
        path=name,
        genre=job.style,
        tempo_bpm=loop.tempo_bpm,
        time_signature=loop.time_signature,
        key=loop.key,
        source=loop.source,
        licence=LICENCE,
        sha256=sha256_file(folder / name),
    )


def _beat(path: Path, track: Track) -> StarterBeat:
    number = int(track.id.rpartition("-")[2])
    title = f"{track.genre.replace('_', ' ').capitalize()} {number}"
    if track.tempo_bpm is None or track.key is None:
        raise ConfigError(f"{path}: a starter beat has a tempo and a key")
    return StarterBeat(path, track.genre, title, track.tempo_bpm, track.key)
