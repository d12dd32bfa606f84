"""Do charts give back what was played? Rendered songs of five minutes, against their charts as they are read back.

`python benchmarks/charts.py` composes and renders songs with known drums (from seeds: the same every time), makes
charts, writes them as DTX, reads them with the independent reader, and prints for each song:

- `notes`: the drums that were played, quantised on the true beats;
- `heard`: the drums that the onset model hears, before any quantising (what it loses, a chart cannot have);
- `audio`: the same, quantised on the beats that the beat model hears;
- `stem`: as `audio`, with the true drum stem beside the song, as a perfect separation would give it (`--stems`).

F at ±20 ms of kick, snare and hi-hat against what was played, and of the moments at which any drum is struck (what the
onset model takes for another drum, it has heard all the same); the median distance of played strokes from the chart's
nearest note of their drum, of those within 50 ms (players are not exact: what a grid leaves of their own timing is in
it, and in `notes` nothing else); the seconds that it takes from file to chart; tempi, meters, bars by division; notes
on finer places, moved beside their place, and merged with another.

Drums are played on the kit written for the style; `--kit-variety 1` draws other kits as often as the training corpus
does, and `--effects 0.5` has half of its effects. `--songs rock waltz` takes some songs only, `--seconds 60` makes them
shorter, `--notes-only` leaves the audio out, `--modes advanced_features` hears it in that mode, `--expressive` charts
as that option does, `--keep FOLDER` keeps audio between runs. `--whole` makes a whole chart folder of a song of four
minutes, with what the command line does, and tells how long it took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from backbeat.charts.chart import LANES, Chart, Strokes, strokes_of
from backbeat.charts.dtx.reader import read_dtx
from backbeat.charts.dtx.writer import DtxHeader, Sound, without_collisions, write_dtx
from backbeat.charts.making import ChartMaker, ChartOptions
from backbeat.charts.quantising.quantise import QuantiseOptions, quantise
from backbeat.charts.quantising.quantise_report import QuantiseReport
from backbeat.charts.transcription.transcribe import Modes, Transcriber, Transcription
from backbeat.corpus.rendered.compose import ComposeParams, compose
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.render import AudioFormat, render_score, write_audio
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.rendered.synthesise import Sources, default_soundfont
from backbeat.music import Beats, Onsets
from backbeat.onset.decode import merged_times_s
from backbeat.onset.matching import count_matches

#: Pieces of a song: style, seed, and meter that the seed gives.
Piece = tuple[str, int, str]
SONGS: dict[str, tuple[Piece, ...]] = {
    "rock": (("rock", 0, "4/4"),),
    "rock, drifting": (("rock", 3, "4/4"),),
    "metal": (("metal", 0, "4/4"),),
    "funk": (("funk", 0, "4/4"),),
    "drum and bass": (("drum_and_bass", 0, "4/4"),),
    "trap": (("trap", 0, "4/4"),),
    "jazz, swung": (("jazz", 0, "4/4"),),
    "blues, triplets": (("blues", 1, "12/8"),),
    "waltz": (("rock", 19, "3/4"),),
    "six-eight": (("rock", 7, "6/8"),),
    "seven-eight": (("rock", 170, "7/8"),),
    "five-four": (("jazz", 12, "5/4"),),
    "two tempi": (("rock", 4, "4/4"), ("rock", 2, "4/4")),
    "three tempi": (("funk", 0, "4/4"), ("metal", 0, "4/4"), ("funk", 1, "4/4")),
    "three meters": (("rock", 19, "3/4"), ("rock", 7, "6/8"), ("rock", 170, "7/8")),
}
#: What is scored together: of all drums only the moments at which any is struck.
ANY = "any"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "kick": ("kick",),
    "snare": ("snare",),
    "hi-hat": ("hihat_closed", "hihat_open", "hihat_pedal"),
    ANY: LANES,
}
#: The lane of drums that are not named as theirs is.
LANE_OF = {"crash": "crash_right"}
WINDOW_S, NEAR_S = 0.02, 0.05
#: Sounds of one drum that are closer are one stroke of it, to the models as here.
ONE_STROKE_S = 0.03


@dataclass(frozen=True)
class Result:
    """F by group, the median distance in milliseconds, and seconds taken."""

    f: Mapping[str, float]
    median_ms: float
    taken_s: float = float("nan")


def song_of(name: str, seconds: float) -> Score:
    """Compose the pieces of a song and join them at bar lines, `seconds` long in all."""
    pieces = []
    for style, seed, meter in SONGS[name]:
        params = ComposeParams(seconds, style, performance_share=0.0, drumless_share=0.0, ending_share=0.0)
        score = compose(name.replace(" ", "-").replace(",", ""), seed, params)
        if str(score.time_signature) != meter:
            raise SystemExit(f"{style} of seed {seed} is in {score.time_signature}, not {meter}: choose another seed")
        pieces.append(score)
    song = pieces[0]
    for number, piece in enumerate(pieces[1:], start=1):
        song = joined(song, piece, seconds * number / len(pieces), seconds)
    return song


def joined(first: Score, second: Score, about_s: float, duration_s: float) -> Score:
    """Return the first up to its downbeat at about `about_s`, then the second from its first downbeat on."""
    downbeats_s = first.beats.downbeats_s
    cut_s = float(downbeats_s[np.argmin(np.abs(downbeats_s - about_s))])
    begin_s = float(second.beats.downbeats_s[0])
    shift_s = cut_s - begin_s

    def moved(part: Part) -> Part:
        notes = [replace(one, start_s=one.start_s + shift_s) for one in part.notes if one.start_s > begin_s - 0.03]
        return replace(part, notes=_within(notes, cut_s - 0.03, duration_s))

    early = first.beats.times_s < cut_s - 0.01
    later_s = second.beats.times_s + shift_s
    late = (second.beats.times_s > begin_s - 0.01) & (later_s < duration_s)
    beats = Beats(
        np.concatenate([first.beats.times_s[early], later_s[late]]),
        np.concatenate([np.asarray(first.beats.positions)[early], np.asarray(second.beats.positions)[late]]),
    )
    parts = [replace(part, notes=_within(part.notes, 0.0, cut_s - 0.03)) for part in first.parts]
    parts += [moved(part) for part in second.parts]
    return replace(first, beats=beats, parts=tuple(part for part in parts if part.notes), duration_s=duration_s)


def _within(notes: Sequence[Note], start_s: float, end_s: float) -> tuple[Note, ...]:
    return tuple(note for note in notes if start_s <= note.start_s < end_s)


def strokes_from(onsets: Onsets) -> Strokes:
    """Return the drums among onsets as strokes; a clap with the snare is one of them, as it is one note."""
    chosen: list[int] = []
    last_s: dict[str, float] = {}
    for index, (time_s, name) in enumerate(zip(onsets.times_s.tolist(), onsets.classes, strict=True)):
        if name != "note" and time_s - last_s.get(name, -1.0) >= ONE_STROKE_S:
            chosen.append(index)
            last_s[name] = time_s
    lanes = [LANE_OF.get(onsets.classes[index], onsets.classes[index]) for index in chosen]
    return strokes_of(onsets.times_s[chosen], lanes, onsets.velocities[chosen])


def scored(played: Strokes, chart: Strokes, taken_s: float = float("nan")) -> Result:
    """Score strokes of a chart against those that were played."""
    f, away_s = {}, []
    for name, lanes in GROUPS.items():
        truth_s, found_s = played.of(*lanes).times_s, chart.of(*lanes).times_s
        if name == ANY:
            truth_s, found_s = (merged_times_s(times_s, ONE_STROKE_S) for times_s in (truth_s, found_s))
        total = truth_s.size + found_s.size
        f[name] = 2 * count_matches(truth_s, found_s, WINDOW_S) / total if truth_s.size else float("nan")
        if name != ANY and truth_s.size and found_s.size:
            after = np.clip(np.searchsorted(found_s, truth_s), 1, max(1, found_s.size - 1))
            near_s = np.minimum(np.abs(found_s[after - 1] - truth_s), np.abs(found_s[after % found_s.size] - truth_s))
            away_s.append(near_s[near_s <= NEAR_S])
    return Result(f, 1000 * float(np.median(np.concatenate(away_s))), taken_s)


def read_back(chart: Chart, folder: Path) -> Strokes:
    """Return the notes of a chart as its DTX has them."""
    chart, _ = without_collisions(chart)
    sounds = {lane: Sound("drum.ogg") for lane in LANES}
    write_dtx(folder / "chart.dtx", chart, DtxHeader(title="song", level=5.0, music="song.ogg"), sounds)
    return read_dtx(folder / "chart.dtx").strokes()


@dataclass(frozen=True)
class Recording:
    """A rendered song, and its drums alone."""

    song: Path
    drums: Path


def recorded(score: Score, number: int, folder: Path, effects: float, kit_variety: float) -> Recording:
    """Render a song, unless it is there."""
    name = f"{score.id}-{score.duration_s:g}-{effects:g}-{kit_variety:g}"
    made = Recording(folder / f"{name}.flac", folder / f"{name}-drums.flac")
    if not (made.song.exists() and made.drums.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        sources = Sources((default_soundfont(),), kit_variety=kit_variety)
        seeds = np.random.SeedSequence([7, number])
        rendering = render_score(score, seeds, sources, EffectsParams(strength=effects), keep_stems=True)
        write_audio(made.song, rendering.audio, AudioFormat())
        write_audio(made.drums, rendering.stems["drums"], AudioFormat())
    return made


def row(name: str, how: str, result: Result, chart: Chart | None, report: QuantiseReport | None) -> str:
    """Return a line of the table."""
    cells = "".join(f"{value:8.3f}" for value in result.f.values())
    text = f"{name:18}{how:7}{cells}{result.median_ms:8.2f}{result.taken_s:7.1f}"
    if chart is None or report is None:
        return text
    meters = ",".join(dict.fromkeys(meter.signature for meter in report.meters))
    divisions = " ".join(f"{kind[:2]}{count}" for kind, count in report.divisions.items() if count)
    return f"{text}{len(report.tempi):6}  {meters:12} {divisions:20} {report.finer:5}{report.moved:5}{report.merged:5}"


def charted(heard: Transcription, how: QuantiseOptions) -> tuple[Chart, QuantiseReport]:
    """Quantise what was heard."""
    return quantise(heard.strokes, heard.beats, heard.onsets_s, heard.duration_s, how)


def whole_chart_s(path: Path) -> float:
    """Return how long it takes to make a folder of a chart, all files, with models that are loaded."""
    maker = ChartMaker.load()
    with tempfile.TemporaryDirectory() as scratch:
        began = time.perf_counter()
        maker.make(path, Path(scratch) / "chart", ChartOptions(separation="none"))
        return time.perf_counter() - began


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", nargs="*", default=list(SONGS), choices=list(SONGS), metavar="SONG")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--kit-variety", type=float, default=0.0, help="how often other kits are drawn, 0..1")
    parser.add_argument("--effects", type=float, default=0.25, help="strength of the effects on the sound, 0..1")
    names = [field.name for field in fields(Modes)]
    parser.add_argument("--modes", nargs="*", default=[], choices=names, help="ways of hearing the audio")
    parser.add_argument("--expressive", action="store_true", help="keep the players' timing")
    parser.add_argument("--notes-only", action="store_true", help="leave the audio out")
    parser.add_argument("--stems", action="store_true", help="hear the true drum stem as well")
    parser.add_argument("--whole", action="store_true", help="time a whole chart of four minutes, and nothing else")
    parser.add_argument("--keep", type=Path, help="folder for the audio, which is not made anew")
    given = parser.parse_args()
    modes = Modes(**dict.fromkeys(given.modes, True))
    options = QuantiseOptions(expressive=given.expressive)
    torch.set_num_threads(1)  # as the command line has it
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        if given.whole:
            score = song_of("rock", 240.0)
            path = recorded(score, 0, folder, given.effects, given.kit_variety).song
            print(f"a song of 4 minutes took {whole_chart_s(path):.1f} s")
            return
        print(
            f"{'song':18}{'from':7}{'kick':>8}{'snare':>8}{'hi-hat':>8}{'any':>8}{'med ms':>8}{'s':>7}{'tempi':>6}"
            f"  {'meters':12} {'divisions':20}{'finer':>6}{'moved':>5}{'merged':>7}"
        )
        transcriber = None if given.notes_only else Transcriber.load()
        all_rows: dict[str, list[Result]] = {}
        for name in given.songs:
            score = song_of(name, given.seconds)
            played = strokes_from(score.onsets())
            chart, report = quantise(played, score.beats, score.onsets().times_s, score.duration_s, options)
            results: list[tuple[str, Result, Chart | None, QuantiseReport | None]] = []
            results.append(("notes", scored(played, read_back(chart, Path(scratch))), chart, report))
            if transcriber is not None:
                made = recorded(score, list(SONGS).index(name), folder, given.effects, given.kit_variety)
                for how, drums in [("audio", None), *([("stem", made.drums)] if given.stems else [])]:
                    began = time.perf_counter()
                    heard = transcriber.transcribe(made.song, drums=drums, modes=modes)
                    chart, report = charted(heard, options)
                    taken_s = time.perf_counter() - began
                    if drums is None:
                        results.append(("heard", scored(played, heard.strokes), None, None))
                    result = scored(played, read_back(chart, Path(scratch)), taken_s)
                    results.append((how, result, chart, report))
            for how, result, one, said in results:
                print(row(name, how, result, one, said), flush=True)
                all_rows.setdefault(how, []).append(result)
    for how, rows in all_rows.items():
        f = {group: float(np.nanmean([result.f[group] for result in rows])) for group in GROUPS}
        median_ms, taken_s = (
            float(np.mean([getattr(one, field) for one in rows])) for field in ("median_ms", "taken_s")
        )
        print(row("mean", how, Result(f, median_ms, taken_s), None, None))


if __name__ == "__main__":
    main()
