"""A corpus of pairs: from each composed song a take and the beat that belongs under it, as two files.

The two are cut from different halves of the song, and each is mixed and mastered by itself. So neither where notes fall
exactly nor a room, a noise or a codec that both share tells which belong together: only what music shares with itself,
its tempo, its metre, its swing and its style.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backbeat.corpus.contract import Corpus, Pair, Track, write_pairs
from backbeat.corpus.rendered.jobs import make_corpus
from backbeat.corpus.rendered.render import (
    RenderedParams,
    RenderJob,
    compose_track,
    fingerprint_of,
    render_score,
    sources_for,
    split_of_tracks,
    write_audio,
)
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.styles import STYLES
from backbeat.errors import ConfigError, CorpusError
from backbeat.files import sha256_file
from backbeat.music import Beats

#: Styles that have drums.
PAIRED_STYLES: tuple[str, ...] = tuple(name for name, style in STYLES.items() if style.drums_share > 0)

#: Something must begin in each of so many equal parts of a side, or there is too little to hear.
_HEARD_PARTS = 4
#: A held tone that sounds into a side is heard if so much of it is left, seconds.
_HELD_S = 0.3
#: How often a song is composed anew until both sides are heard throughout.
_ATTEMPTS = 60


@dataclass(frozen=True)
class PairsParams(RenderedParams):
    """What defines a corpus of pairs.

    As `RenderedParams` has it; `tracks` and `duration_s` are of songs, of which each gives two files of half the
    length, and `styles` are by default those that have drums.

    Parameters
    ----------
    backing_share
        Chance that the beat is all but the melody, and the take the melody; else the beat is the drums alone, and the
        take all the rest.

    Raises
    ------
    ConfigError
        If the numbers make no corpus, or ask for what pairs cannot have.
    """

    backing_share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metronome_share or self.drums_alone_share:
            raise ConfigError("pairs have no metronome and no drums alone: metronome_share and drums_alone_share are 0")
        if self.audio.keep_stems:
            raise ConfigError("pairs are cut from songs and have no stems: keep_stems must be false")
        lacking = sorted(set(self.styles) - set(PAIRED_STYLES))
        if lacking:
            raise ConfigError(f"style {lacking[0]!r} has no drums for pairs; choose of {', '.join(PAIRED_STYLES)}")


@dataclass(frozen=True)
class PairJob(RenderJob):
    """One song to make."""

    parts: str


def render_pairs(root: Path, params: PairsParams, *, workers: int | None = None, progress: bool = True) -> Corpus:
    """Compose and render a corpus of pairs at `root`.

    Parameters
    ----------
    root, workers, progress
        As in `render.render_corpus`.
    params
        What it is to be.

    Raises
    ------
    CorpusError
        If a source cannot be read, `root` holds something else than a corpus, or no song of a style can be halved.
    """
    styles = params.styles or PAIRED_STYLES
    splits = split_of_tracks(params, len(styles))
    jobs = []
    for index, split in enumerate(splits):
        style = styles[index % len(styles)]
        drawn = np.random.default_rng([params.seed, index, 1]).random()
        parts = "backing" if drawn < params.backing_share else "drums"
        jobs.append(PairJob(params, index, f"{style}-{index:06d}", style, split, parts))
    pairs = [Pair(f"{job.id}-take", f"{job.id}-beat", job.parts) for job in jobs]
    return make_corpus(
        root,
        jobs,
        render_pair,
        fingerprint_of(params),
        workers=workers,
        progress=progress,
        finish=lambda folder: write_pairs(folder, pairs),
    )


def render_pair(job: PairJob, folder: Path) -> tuple[Track, ...]:
    """Compose a song and write its take and its beat under `folder`; return their rows."""
    params = job.params
    composing, *rendering = np.random.SeedSequence([params.seed, job.index]).spawn(3)
    tracks = []
    for side, seeds in zip(compose_pair(job, composing), rendering, strict=True):
        made = render_score(side, seeds, sources_for(params), params.effects, channels=params.audio.channels)
        name = f"audio/{side.id}.{params.audio.format}"
        write_audio(folder / name, made.audio, params.audio)
        tracks.append(
            Track(
                id=side.id,
                path=name,
                split=job.split,
                genre=side.style,
                tempo_bpm=round(side.tempo_bpm, 3),
                time_signature=side.time_signature,
                key=side.key if any(not part.is_drums for part in side.parts) else None,
                source=side.source,
                licence=" AND ".join(dict.fromkeys(filter(None, [side.licence, params.sources_licence]))),
                sha256=sha256_file(folder / name),
            )
        )
    return tuple(tracks)


def compose_pair(job: PairJob, composing: np.random.SeedSequence) -> tuple[Score, Score]:
    """Compose songs until one has a take and a beat that are heard throughout their halves; CorpusError if none has."""
    from backbeat.corpus.rendered.compose import ComposeParams

    params = job.params
    half_s = params.duration_s / 2
    wanted = ComposeParams(
        params.duration_s, job.style, performance_share=params.performance_share, drumless_share=0.0, ending_share=0.0
    )
    for seed in composing.spawn(_ATTEMPTS):
        score = compose_track(job, seed, wanted)
        first = float(np.random.default_rng(seed.spawn(1)[0]).integers(2)) * half_s
        take, beat = divided(score, job.parts)
        take = excerpt(replace(take, id=f"{job.id}-take"), first, first + half_s)
        beat = excerpt(replace(beat, id=f"{job.id}-beat"), half_s - first, 2 * half_s - first)
        if all(heard_throughout(side) for side in (take, beat)) and any(part.is_drums for part in beat.parts):
            return take, beat
    raise CorpusError(f"no song of style {job.style!r} has parts {job.parts!r} of {half_s:g} s; make songs longer")


def divided(score: Score, parts: str) -> tuple[Score, Score]:
    """Return the take and the beat of a song: what is left, and the "drums", or the "backing" of the melody."""

    def of_beat(part: Part) -> bool:
        return part.stem == "drums" if parts == "drums" else part.name != "melody"

    beat, take = ([part for part in score.parts if of_beat(part) == wanted] for wanted in (True, False))
    return replace(score, parts=tuple(take)), replace(score, parts=tuple(beat))


def excerpt(score: Score, start_s: float, end_s: float) -> Score:
    """Cut a score to a stretch of it; tones that are held into it begin with it."""
    inside = (score.beats.times_s >= start_s) & (score.beats.times_s < end_s)
    positions = score.beats.positions
    beats = Beats(score.beats.times_s[inside] - start_s, None if positions is None else positions[inside])
    parts = tuple(replace(part, notes=_notes_between(part, start_s, end_s)) for part in score.parts)
    return replace(
        score,
        duration_s=end_s - start_s,
        beats=beats,
        tempo_bpm=beats.tempo_bpm or score.tempo_bpm,
        parts=tuple(part for part in parts if part.notes),
    )


def _notes_between(part: Part, start_s: float, end_s: float) -> tuple[Note, ...]:
    notes = []
    for note in part.notes:
        begin_s, stop_s = max(note.start_s, start_s), min(note.start_s + note.duration_s, end_s)
        held = not part.is_drums and stop_s - start_s >= _HELD_S
        if note.start_s < end_s - 0.02 and (note.start_s >= start_s or held):
            notes.append(replace(note, start_s=begin_s - start_s, duration_s=max(0.03, stop_s - begin_s)))
    return tuple(notes)


def heard_throughout(score: Score) -> bool:
    """Tell whether something begins in every quarter of a score."""
    starts_s = score.onsets().times_s
    quarters = np.floor(starts_s / score.duration_s * _HEARD_PARTS).astype(int)
    return set(range(_HEARD_PARTS)) <= set(quarters.tolist())
