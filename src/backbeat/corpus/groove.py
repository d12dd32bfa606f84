"""The `groove` corpus: human drum performances through soundfont, sample and synthesised kits, alone or in a piece.

Beats are those of the click that the drummers heard (`corpus.performances`), with the constant by which a performance
runs ahead of it taken out; performances that do not keep to the click are left out, because their beats are not known.
Splits divide performers. The genre is the first word of the performance's style.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from backbeat.corpus.contract import Corpus, Track
from backbeat.corpus.performances import INFO, LICENCE, Performance, load_performances, performer_splits
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.jobs import fingerprint, make_corpus
from backbeat.corpus.rendered.render import AudioFormat, render_score, sources_of, write_track
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.errors import ConfigError, CorpusError
from backbeat.music import Beats, TimeSignature

#: Performances shorter than this have too few beats to be worth a track.
SHORTEST_S = 5.0

#: Below this share of strokes on the grid a drummer was not with the click (`Performance.grid_fit`).
LEAST_GRID_FIT = 0.3


@dataclass(frozen=True)
class GrooveParams:
    """What defines a groove corpus.

    Parameters
    ----------
    seed
        Decides which performances come first, their excerpts, kits and effects.
    tracks
        How many; when more than there are performances they come again with other kits. 0 for each once.
    duration_s
        The longest excerpt.
    arranged_share
        Chance that a performance is played inside a composed piece, where one takes it, rather than alone.
    soundfonts, kits, sources_licence, effects
        As in `RenderedParams`.
    audio
        Form of the audio files.

    Raises
    ------
    ConfigError
        If the numbers make no corpus.
    """

    seed: int = 0
    tracks: int = 0
    duration_s: float = 30.0
    arranged_share: float = 0.0
    soundfonts: tuple[str, ...] = ()
    kits: tuple[str, ...] = ()
    sources_licence: str = ""
    effects: EffectsParams = field(default_factory=EffectsParams)
    audio: AudioFormat = field(default_factory=AudioFormat)

    def __post_init__(self) -> None:
        if self.seed < 0 or self.tracks < 0:
            raise ConfigError(f"seed and tracks must be 0 or more, not {self.seed} and {self.tracks}")
        if not 0 <= self.arranged_share <= 1:
            raise ConfigError(f"arranged_share must lie in 0..1, not {self.arranged_share:g}")
        if not self.duration_s >= SHORTEST_S:
            raise ConfigError(f"excerpts of {self.duration_s:g} s are too short: choose at least {SHORTEST_S:g} s")


@dataclass(frozen=True)
class GrooveJob:
    """One track to make."""

    params: GrooveParams
    index: int
    id: str
    performance: Performance
    split: str


def make_groove_corpus(
    root: Path, performances_folder: Path, params: GrooveParams, *, workers: int | None = None, progress: bool = True
) -> Corpus:
    """Render human drum performances to a corpus at `root`.

    Parameters
    ----------
    root
        Where it will appear when it is whole; a corpus that is there is replaced.
    performances_folder
        The Groove MIDI Dataset or a folder like it.
    params
        What it is to be.
    workers, progress
        As in `rendered.render.render_corpus`.

    Raises
    ------
    CorpusError
        If the folder has no performance of use, a source cannot be read, or `root` holds something else.
    """
    performances = load_performances(performances_folder)
    splits = performer_splits(performances)
    chosen = _chosen(performances, params)
    if not chosen:
        raise CorpusError(f"{performances_folder}: no performance of {SHORTEST_S:g} s or more that keeps to its click")
    jobs = [
        GrooveJob(params, index, f"groove-{index:06d}", performance, splits[performance.performer])
        for index, performance in enumerate(chosen)
    ]
    sources = sources_of(params.soundfonts, params.kits)
    mark = fingerprint(asdict(params), [*sources.soundfonts, performances_folder / INFO], sources.kits)
    return make_corpus(root, jobs, render_performance, mark, workers=workers, progress=progress)


def _chosen(performances: Sequence[Performance], params: GrooveParams) -> list[Performance]:
    """Return the performance of each track: those of use in an order of the seed, over again if need be."""
    long_enough = [one for one in performances if not one.is_fill and one.duration_s >= SHORTEST_S]
    order = np.random.default_rng(params.seed).permutation(len(long_enough))
    wanted = params.tracks or len(long_enough)
    useful: list[Performance] = []
    for number in order:
        if len(useful) == wanted:
            break
        if long_enough[number].grid_fit >= LEAST_GRID_FIT:
            useful.append(long_enough[number])
    if params.tracks and useful:
        return [useful[index % len(useful)] for index in range(params.tracks)]
    return useful


def render_performance(job: GrooveJob, folder: Path) -> Track:
    """Render and write one performance under `folder`; return its row."""
    params = job.params
    excerpt, composing, rendering = np.random.SeedSequence([params.seed, job.index]).spawn(3)
    rng = np.random.default_rng(excerpt)
    score = None
    if rng.random() < params.arranged_share:
        score = arranged_score(job.id, job.performance, params.duration_s, composing)
    if score is None:
        score = performance_score(job.id, job.performance, params.duration_s, rng)
    made = render_score(
        score,
        rendering,
        sources_of(params.soundfonts, params.kits),
        params.effects,
        channels=params.audio.channels,
        keep_stems=params.audio.keep_stems,
    )
    return write_track(folder, score, made, params.audio, job.split, params.sources_licence)


def arranged_score(
    track_id: str, performance: Performance, duration_s: float, seed: np.random.SeedSequence
) -> Score | None:
    """Compose a piece around a performance; None where no style of `compose` takes it (its meter, tempo or style)."""
    from backbeat.corpus.rendered.compose import ComposeParams, compose
    from backbeat.corpus.rendered.styles import STYLES

    fitting = [name for name, style in STYLES.items() if performance.style in style.human]
    if not fitting:
        return None
    choosing, composing = seed.spawn(2)
    style = fitting[int(np.random.default_rng(choosing).integers(len(fitting)))]
    params = ComposeParams(duration_s, style, performance_share=1.0, drumless_share=0.0)
    score = compose(track_id, composing, params, (performance,))
    return replace(score, style=performance.style) if score.source == performance.source else None


def performance_score(track_id: str, performance: Performance, longest_s: float, rng: np.random.Generator) -> Score:
    """Cut an excerpt of a performance that begins shortly before a bar, as a score of drums alone."""
    signature = performance.time_signature
    beat_s = _beat_quarters(signature) * 60 / performance.bpm
    strokes = performance.notes
    times_s = (strokes.beats + performance.advance_beats) * 60 / performance.bpm
    end_s = float(times_s[-1]) + 0.5
    bar_s = beat_s * signature.beats_per_bar
    first_bar = int(max(0.0, times_s[0] + 0.5 * beat_s) // bar_s)
    last_bar = max(first_bar, int((end_s - longest_s) // bar_s))
    begin_s = int(rng.integers(first_bar, last_bar + 1)) * bar_s - float(rng.uniform(0.05, 0.6))
    duration_s = min(longest_s, end_s - begin_s)
    notes = tuple(
        Note(float(time_s - begin_s), 0.1, int(pitch), int(velocity))
        for time_s, pitch, velocity in zip(times_s, strokes.pitches, strokes.velocities, strict=True)
        if begin_s <= time_s < begin_s + duration_s
    )
    numbers = np.arange(int(np.ceil(max(begin_s, 0.0) / beat_s)), int((begin_s + duration_s) / beat_s) + 1)
    beats_s = np.asarray(numbers * beat_s - begin_s, dtype=np.float64)
    inside = (beats_s >= 0) & (beats_s < duration_s)
    beats = Beats(beats_s[inside], numbers[inside] % signature.beats_per_bar + 1)
    return Score(
        id=track_id,
        style=performance.style,
        duration_s=duration_s,
        beats=beats,
        tempo_bpm=60 / beat_s,
        time_signature=signature,
        key=None,
        parts=(Part("drums", "drums", 0, notes, is_drums=True),),
        source=performance.source,
        licence=LICENCE,
    )


def _beat_quarters(signature: TimeSignature) -> float:
    """Return the length of a counted beat in quarter notes, which is what the data set's tempo counts."""
    return (3 if signature.is_compound else 1) * 4 / signature.denominator
