"""A corpus of composed and rendered music, from a seed: bit for bit the same on every run and any number of processes.

All that is random in a track comes from `SeedSequence([seed, index])`, so no track knows of another; `jobs` makes them
in parallel and goes on where it was interrupted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backbeat.corpus.contract import SPLITS, Corpus, Track, write_beats, write_onsets
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.jobs import fingerprint, make_corpus
from backbeat.corpus.rendered.kits import HIHAT_NOTES, SYNTHESIS_RATE_HZ, Samples
from backbeat.corpus.rendered.metronome import with_metronome
from backbeat.corpus.rendered.score import STEMS, Score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont, synthesise
from backbeat.corpus.splits import Shares
from backbeat.errors import ConfigError, CorpusError
from backbeat.files import atomic_path, sha256_file
from backbeat.music import Onsets

if TYPE_CHECKING:
    from backbeat.corpus.performances import Performance
    from backbeat.corpus.rendered.compose import ComposeParams

#: Styles in which side-chained compression is common.
PUMPING_STYLES: frozenset[str] = frozenset({"house", "techno", "disco", "electro"})

#: General MIDI notes of drums.
SNARE_NOTES: frozenset[int] = frozenset({38, 40})
SIDE_STICK, TAMBOURINE, SHAKER = 37, 54, 70

_FORMATS = {"flac": "FLAC", "wav": "WAV"}


@dataclass(frozen=True)
class AudioFormat:
    """In which form audio is written.

    Parameters
    ----------
    sample_rate_hz, channels
        1 or 2 channels; with 2, parts are placed from left to right.
    format
        "flac" or "wav", 16 bits.
    keep_stems
        Whether to write stems/<id>/<stem>.<format>, which sum to stems/<id>/mixture.<format>: the mix before
        mastering, of which the track's audio is the mastered form.

    Raises
    ------
    ConfigError
        If nothing can be written so.
    """

    sample_rate_hz: int = 44100
    channels: int = 1
    format: str = "flac"
    keep_stems: bool = False

    def __post_init__(self) -> None:
        if self.channels not in (1, 2) or not 8000 <= self.sample_rate_hz <= 192_000:
            raise ConfigError(
                f"{self.channels} channels at {self.sample_rate_hz} Hz: choose 1 or 2 at 8000 to 192000 Hz"
            )
        if self.format not in _FORMATS:
            raise ConfigError(f"format {self.format!r} must be one of {', '.join(_FORMATS)}")


@dataclass(frozen=True)
class RenderedParams:
    """What defines a rendered corpus.

    Parameters
    ----------
    seed, tracks, duration_s
        Tracks are numbered from 0; track i of a seed is the same in a larger corpus, but may be in another split.
    shares
        Parts of train, valid and test; none that is asked for stays empty if there are three tracks.
    styles
        Labels of `compose.STYLES`; empty for all. Tracks take them in turn.
    soundfonts
        Paths of .sf2/.sf3 files; empty for the one of `pretty_midi`. The first must have a General MIDI drum kit.
    kits
        Folders of drum samples (`samples.load_kit`).
    kit_variety
        How often drums are played on another kit than the one written for the style, 0..1 (`synthesise.Sources`).
    modelled_share
        How often drums that are played on another kit, and not on a machine, are modelled (`acoustic`), 0..1.
    drums_alone_share
        Chance that drums play alone where there are drums, 0..1.
    side_stick_share
        Chance that snare strokes are side sticks, for a whole piece or up to some moment of it, 0..1.
    tambourine_share
        Chance that a tambourine or a shaker plays what is written for the hi-hat, as long, 0..1.
    metronome_share
        Chance that a metronome is heard on the beats, beside the piece or in its place, 0..1.
    sources_licence
        Licence of the named soundfonts and kits, an SPDX identifier: it is added to that of every track.
    performances
        A folder of human drum performances (`corpus.performances`), or None.
    performance_share
        Chance that drums are a human performance, where one fits the style.
    effects
        How much is done to the sound.
    audio
        Form of the audio files.

    Raises
    ------
    ConfigError
        If the numbers make no corpus.
    """

    seed: int = 0
    tracks: int = 400
    duration_s: float = 30.0
    shares: Shares = field(default_factory=lambda: Shares(0.8, 0.1, 0.1))
    styles: tuple[str, ...] = ()
    soundfonts: tuple[str, ...] = ()
    kits: tuple[str, ...] = ()
    kit_variety: float = 1.0
    modelled_share: float = 0.0
    drums_alone_share: float = 0.0
    side_stick_share: float = 0.0
    tambourine_share: float = 0.0
    metronome_share: float = 0.0
    sources_licence: str = ""
    performances: str | None = None
    performance_share: float = 0.6
    effects: EffectsParams = field(default_factory=EffectsParams)
    audio: AudioFormat = field(default_factory=AudioFormat)

    def __post_init__(self) -> None:
        if self.seed < 0 or self.tracks < 1:
            raise ConfigError(f"a corpus needs a seed from 0 and at least one track, not {self.seed} and {self.tracks}")
        if not 2 <= self.duration_s <= 3600:
            raise ConfigError(f"tracks of {self.duration_s:g} s: choose 2 to 3600 s")
        for name in ("kit_variety", *(one.name for one in fields(self) if one.name.endswith("_share"))):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must lie in 0..1, not {getattr(self, name)!r}")


@dataclass(frozen=True, eq=False)
class Rendering:
    """A rendered score: audio, and the mix before mastering with its stems where they were kept.

    Shapes are (channels, samples) at `SYNTHESIS_RATE_HZ`.
    """

    audio: Samples
    mixture: Samples
    stems: dict[str, Samples]
    onsets: Onsets


def render_score(
    score: Score,
    seeds: np.random.SeedSequence,
    sources: Sources,
    effects: EffectsParams,
    *,
    channels: int = 1,
    keep_stems: bool = False,
) -> Rendering:
    """Turn a score to sound; `seeds` decides all that is random about it."""
    from backbeat.corpus.rendered.mixing import master, mix

    playing, mixing, mastering = (np.random.default_rng(child) for child in seeds.spawn(3))
    drum_tone = effects.drums * effects.strength
    stems = synthesise(score, playing, sources, channels=channels, drum_tone=drum_tone)
    kicks_s = stems.onsets.of("kick").times_s.tolist()
    mixture, kept = mix(
        stems.samples, kicks_s, mixing, effects, pumping=score.style in PUMPING_STYLES, keep_stems=keep_stems
    )
    return Rendering(master(mixture, mastering, effects), mixture, kept, stems.onsets)


def split_of_tracks(params: RenderedParams, styles: int) -> list[str]:
    """Return the split of each track: exact shares, every style spread over them as evenly as can be."""
    index = np.arange(params.tracks)
    # Multiples of the golden ratio are spread evenly however many there are; each style starts elsewhere.
    place = (index // styles * 0.6180339887498949 + index % styles * 0.41421356237309515 + 0.5) % 1
    order = np.argsort(place, kind="stable")
    wanted = {"test": params.shares.test, "valid": params.shares.valid}
    splits = ["train"] * params.tracks
    begin = 0
    for split, share in wanted.items():
        least = 1 if share > 0 and params.tracks >= len(SPLITS) else 0
        count = max(least, round(share * params.tracks))
        for number in order[begin : begin + count]:
            splits[int(number)] = split
        begin += count
    return splits


def render_corpus(root: Path, params: RenderedParams, *, workers: int | None = None, progress: bool = True) -> Corpus:
    """Compose and render a corpus at `root`, in the contract of `corpus.contract`.

    Parameters
    ----------
    root
        Where it will appear when it is whole; a corpus that is there is replaced.
    params
        What it is to be.
    workers
        Processes; as many as there are processors when left out.
    progress
        Whether to show a progress bar (lines of text where the output is no terminal).

    Raises
    ------
    ConfigError
        If a style is unknown.
    CorpusError
        If a source cannot be read, or `root` holds something else than a corpus.
    """
    from backbeat.corpus.rendered.styles import STYLES

    styles = params.styles or tuple(STYLES)
    unknown = sorted(set(styles) - set(STYLES))
    if unknown:
        raise ConfigError(f"unknown style {unknown[0]!r}; the styles are {', '.join(STYLES)}")
    splits = split_of_tracks(params, len(styles))
    jobs = [
        RenderJob(
            params, index, f"{styles[index % len(styles)]}-{index:06d}", styles[index % len(styles)], splits[index]
        )
        for index in range(params.tracks)
    ]
    return make_corpus(root, jobs, render_track, fingerprint_of(params), workers=workers, progress=progress)


def fingerprint_of(params: RenderedParams) -> str:
    """Return a name for all that decides the corpus (`jobs.fingerprint`)."""
    sources = sources_of(params.soundfonts, params.kits)
    info = [Path(params.performances).expanduser() / "info.csv"] if params.performances else []
    return fingerprint(asdict(params), [*sources.soundfonts, *info], sources.kits)


@dataclass(frozen=True)
class RenderJob:
    """One track to make."""

    params: RenderedParams
    index: int
    id: str
    style: str
    split: str


@lru_cache(maxsize=4)
def sources_of(soundfonts: tuple[str, ...], kits: tuple[str, ...]) -> Sources:
    """Return paths of soundfonts (the default where none is named) and kits; CorpusError where one is missing."""
    fonts = tuple(Path(name).expanduser() for name in soundfonts) or (default_soundfont(),)
    folders = tuple(Path(name).expanduser() for name in kits)
    for font in fonts:
        if not font.is_file():
            raise CorpusError(f"{font}: no such soundfont")
    for folder in folders:
        if not folder.is_dir():
            raise CorpusError(f"{folder}: no such folder of drum samples")
    return Sources(fonts, folders)


@lru_cache(maxsize=8)
def _performances(folder: str | None, split: str) -> tuple[Performance, ...]:
    from backbeat.corpus.performances import load_performances, performances_for_split

    if folder is None:
        return ()
    return performances_for_split(load_performances(Path(folder).expanduser()), split)


def render_track(job: RenderJob, folder: Path) -> Track:
    """Compose, render and write one track under `folder`; return its row."""
    from backbeat.corpus.rendered.compose import ComposeParams

    params = job.params
    composing, rendering = np.random.SeedSequence([params.seed, job.index]).spawn(2)
    wanted = ComposeParams(
        params.duration_s,
        job.style,
        performance_share=params.performance_share,
        drums_alone_share=params.drums_alone_share,
    )
    score = compose_track(job, composing, wanted)
    made = render_score(
        score,
        rendering,
        sources_for(params),
        params.effects,
        channels=params.audio.channels,
        keep_stems=params.audio.keep_stems,
    )
    return write_track(folder, score, made, params.audio, job.split, params.sources_licence)


def compose_track(job: RenderJob, composing: np.random.SeedSequence, wanted: ComposeParams) -> Score:
    """Compose a track, with the strokes moved and the metronome that its corpus asks for."""
    from backbeat.corpus.rendered.compose import compose

    params = job.params
    score = compose(job.id, composing, wanted, _performances(params.performances, job.split))
    sticks, metronome, jingles = (np.random.default_rng(child) for child in composing.spawn(3))
    score = with_strokes_moved(score, sticks, params.side_stick_share, SNARE_NOTES, (SIDE_STICK,))
    score = with_strokes_moved(score, jingles, params.tambourine_share, HIHAT_NOTES, (TAMBOURINE, TAMBOURINE, SHAKER))
    return with_metronome(score, metronome, params.metronome_share)


def sources_for(params: RenderedParams) -> Sources:
    """Return what a corpus's tracks are played on."""
    sources = sources_of(params.soundfonts, params.kits)
    return replace(sources, kit_variety=params.kit_variety, modelled_share=params.modelled_share)


def with_strokes_moved(
    score: Score, rng: np.random.Generator, share: float, notes: Collection[int], to: Sequence[int]
) -> Score:
    """Return the score, with a chance of `share` with another drum for the strokes on some.

    Parameters
    ----------
    score, rng, share
        The piece; what draws; the chance, 0..1.
    notes
        General MIDI notes of the strokes that move, from the beginning on, for the whole piece or a part of it.
    to
        Notes of which one takes their place.
    """
    if rng.random() >= share:
        return score
    until_s = score.duration_s * (1.0 if rng.random() < 0.6 else rng.uniform(0.3, 0.8))
    other = int(rng.choice(to))
    parts = tuple(
        replace(
            part,
            notes=tuple(
                replace(note, pitch=other) if note.pitch in notes and note.start_s < until_s else note
                for note in part.notes
            ),
        )
        if part.is_drums
        else part
        for part in score.parts
    )
    return replace(score, parts=parts)


def write_track(
    folder: Path, score: Score, made: Rendering, audio: AudioFormat, split: str, sources_licence: str = ""
) -> Track:
    """Write audio, annotations and stems of a rendered score under `folder`; return the track's row."""
    name = f"audio/{score.id}.{audio.format}"
    write_audio(folder / name, made.audio, audio)
    write_beats((folder / name).with_suffix(".beats"), score.beats)
    write_onsets((folder / name).with_suffix(".onsets"), made.onsets)
    if audio.keep_stems:
        for stem, samples in ({stem: made.stems[stem] for stem in STEMS} | {"mixture": made.mixture}).items():
            write_audio(folder / "stems" / score.id / f"{stem}.{audio.format}", samples, audio)
    return Track(
        id=score.id,
        path=name,
        split=split,
        genre=score.style,
        tempo_bpm=round(score.tempo_bpm, 3),
        time_signature=score.time_signature,
        key=score.key,
        source=score.source,
        licence=" AND ".join(dict.fromkeys(filter(None, [score.licence, sources_licence]))),
        sha256=sha256_file(folder / name),
    )


def write_audio(path: Path, samples: Samples, audio: AudioFormat) -> None:
    """Write samples of shape (channels, samples) at `SYNTHESIS_RATE_HZ` as 16-bit audio, atomically."""
    import soundfile

    if audio.sample_rate_hz != SYNTHESIS_RATE_HZ:
        import soxr

        samples = np.atleast_2d(soxr.resample(samples.T, SYNTHESIS_RATE_HZ, audio.sample_rate_hz).T)
    integers = np.round(np.clip(samples, -1, 1).T * 32767).astype(np.int16)
    # The lowest compression: a corpus is read many times, and the files are hardly larger.
    options = {"compression_level": 0.0} if audio.format == "flac" else {}
    with atomic_path(path) as temporary:
        soundfile.write(
            temporary, integers, audio.sample_rate_hz, subtype="PCM_16", format=_FORMATS[audio.format], **options
        )
