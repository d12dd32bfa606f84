"""Ours and other programs on the same recordings in one run: how right, how fast, how much memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from backbeat.beat import score as beat_score
from backbeat.evaluation.benchmark import only_drums_annotated
from backbeat.evaluation.measures import MEASURES
from backbeat.evaluation.programs import Heard, hear, installed
from backbeat.evaluation.scoring import HEADLINES, EvaluationSettings
from backbeat.look import BEAT, FAINT, SOFT, WAVE, drawing, plain_axes, title
from backbeat.onset import score as onset_score
from backbeat.statistics import Interval, summarise

if TYPE_CHECKING:
    from backbeat.corpus.annotated import AnnotatedTrack

#: The measure of each kind that the picture shows.
PRINCIPAL = {"beat": "beat_f", "onset": "onset_micro_f"}
_MEBIBYTE = 2**20


@dataclass(frozen=True)
class Result:
    """One program on one set of recordings.

    Parameters
    ----------
    kind
        "beat", "onset" or "analysis" (which has no scores).
    set, program, version
        What heard what.
    tracks, audio_s
        How many recordings, and how long they are together.
    real_time_factor
        Seconds of computing for each second of audio, decoding included and loading not.
    peak_bytes
        Most memory that the program's process held.
    scores
        By measure.
    """

    kind: str
    set: str
    program: str
    version: str
    tracks: int
    audio_s: float
    real_time_factor: float
    peak_bytes: int
    scores: Mapping[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values for JSON."""
        return {
            "kind": self.kind,
            "set": self.set,
            "program": self.program,
            "version": self.version,
            "tracks": self.tracks,
            "audio_s": round(self.audio_s, 3),
            "real_time_factor": round(self.real_time_factor, 6),
            "peak_mib": round(self.peak_bytes / _MEBIBYTE, 1),
            "scores": {name: interval.to_dict() for name, interval in self.scores.items()},
        }


def bench(
    sets: Mapping[str, Sequence[AnnotatedTrack]],
    models: Path,
    settings: EvaluationSettings,
    *,
    threads: int = 2,
    told: Callable[[str], None] = lambda _: None,
) -> list[Result]:
    """Let every installed program hear every set.

    Parameters
    ----------
    sets
        By name, as `backbeat.corpus.sources.evaluation_sets` finds them.
    models
        The folder of our model folders.
    settings
        Of the intervals.
    threads
        Processor threads, for programs that take a number.
    told
        Called with what is about to run.

    Returns
    -------
    By kind and set, ours first; the whole analysis last.

    Raises
    ------
    AudioError
        If a recording cannot be heard.
    """
    programs = installed()
    results = []
    for kind in ("beat", "onset"):
        for name, tracks in sets.items():
            chosen = [track for track in tracks if (track.beats if kind == "beat" else track.onsets) is not None]
            if not chosen:
                continue
            for program in programs:
                told(f"{program}: {kind} of {name}, {len(chosen)} recordings")
                heard = hear(program, kind, [track.audio_path for track in chosen], models, threads)
                scores = _scores(kind, chosen, heard, settings)
                results.append(_result(kind, name, program, programs[program], chosen, heard, scores))
    every = {track.audio_path: track for tracks in sets.values() for track in tracks}
    told(f"backbeat: everything, {len(every)} recordings")
    heard = hear("backbeat", "analysis", list(every), models, threads)
    results.append(_result("analysis", "all", "backbeat", programs["backbeat"], list(every.values()), heard, {}))
    return results


def _result(
    kind: str,
    name: str,
    program: str,
    version: str,
    tracks: Sequence[AnnotatedTrack],
    heard: Heard,
    scores: Mapping[str, Interval],
) -> Result:
    from backbeat.audio import probe

    lengths_s = [probe(track.audio_path).duration_s for track in tracks]
    # Speed is over those whose header says how long they are: nearly all.
    known = [(took, length) for took, length in zip(heard.seconds, lengths_s, strict=True) if length]
    audio_s = sum(length for _, length in known)
    factor = sum(took for took, _ in known) / audio_s if audio_s else float("nan")
    return Result(kind, name, program, version, len(tracks), audio_s, factor, heard.peak_bytes, scores)


def _scores(
    kind: str, tracks: Sequence[AnnotatedTrack], heard: Heard, settings: EvaluationSettings
) -> dict[str, Interval]:
    rows = []
    only_drums = kind == "onset" and only_drums_annotated(tracks)
    for track, answer in zip(tracks, heard.answers, strict=True):
        if track.beats is not None and kind == "beat":
            row = beat_score.score_track(track.beats, answer)
            if answer.positions is None:
                row = {name: value for name, value in row.items() if not name.startswith(("downbeat", "meter"))}
        elif track.onsets is not None:
            onsets, drums = answer
            # Of a song of which only the drums are annotated, ours answers with the drums.
            row = onset_score.score_track(track.onsets, drums if only_drums and drums is not None else onsets, drums)
        else:
            continue
        rows.append(row)
    made = summarise(
        pd.DataFrame(rows), confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
    )
    found = {
        str(row["measure"]): Interval(row["value"], row["low"], row["high"], int(row["count"]))
        for row in made.to_dict("records")
        if row["count"]
    }
    return {name: found[name] for name in HEADLINES[kind] if name in found}


def draw(path: Path, results: Sequence[Result], confidence: float) -> None:
    """Draw each program's principal score on each set with its interval, and how fast each is."""
    shown = [result for result in results if result.kind in PRINCIPAL and PRINCIPAL[result.kind] in result.scores]
    groups = list(dict.fromkeys((result.kind, result.set) for result in shown))
    lines = len(shown) + len(groups)
    with drawing(path, 9.0, 0.9 + 0.27 * lines) as figure:
        axes, speed = figure.subplots(1, 2, width_ratios=[3, 2], sharey=True)
        place, ticks, labels = 0.0, [], []
        for kind, name in groups:
            measure = PRINCIPAL[kind]
            axes.text(0, place, f"{MEASURES[measure].label}, {name}", fontsize=8.5, weight="bold", va="center")
            place += 1
            for result in shown:
                if (result.kind, result.set) != (kind, name):
                    continue
                ours = result.program == "backbeat"
                found, colour = result.scores[measure], BEAT if ours else WAVE
                axes.plot([found.low, found.high], [place, place], color=colour, linewidth=3, alpha=0.45)
                axes.plot([found.value], [place], "o", color=colour, markersize=6)
                axes.text(1.02, place, f"{found.value:.3f}", fontsize=8, va="center", color=SOFT)
                speed.barh(place, result.real_time_factor, color=colour, height=0.55)
                pace = f" {result.real_time_factor:.4f}"
                speed.text(result.real_time_factor, place, pace, fontsize=8, va="center", color=SOFT)
                ticks.append(place)
                labels.append(result.program)
                place += 1
        axes.set_yticks(ticks, labels, fontsize=8)
        axes.set_xlim(0, 1.12)
        axes.set_ylim(place, -1)
        for one in (axes, speed):
            plain_axes(one)
            one.grid(axis="x", color=FAINT, linewidth=0.6)
        speed.locator_params(axis="x", nbins=4)
        speed.set_xlim(0, 1.25 * max(result.real_time_factor for result in shown))
        speed.tick_params(axis="y", left=False, labelleft=False)
        title(axes, "How right", f"{confidence:.0%} intervals over recordings")
        title(speed, "How fast", "seconds for a second of audio, decoding included")
