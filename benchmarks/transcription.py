"""Which way of listening hears drums best? Real drum recordings, transcribed in every mode.

`python benchmarks/transcription.py --real FOLDER` reads MDB Drums (`backbeat.corpus.mdb_drums`) and prints, in
Markdown, a row for the onset model as it is and for each mode of `backbeat chart`, alone and together: F of all tracks
together (micro) at ±50 ms, with the 95% interval over tracks. "plain, read from its chart" has been quantised, written
as DTX and read back; "plain, played freely" the same with `--expressive`. The drums alone come first, then the songs
that have a full mix, and those once more with the recording of their drums as a perfect stem. Lanes are taken back to
the ten drums.

`--measures` chooses the columns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from backbeat.analysis.analyzer import shipped_models
from backbeat.analysis.hearing import hear
from backbeat.charts.chart import LANES, Strokes
from backbeat.charts.dtx.reader import read_dtx
from backbeat.charts.dtx.writer import DtxHeader, Sound, without_collisions, write_dtx
from backbeat.charts.quantising.quantise import QuantiseOptions, quantise
from backbeat.charts.transcription.transcribe import Modes, Transcriber, Transcription
from backbeat.corpus.annotated import AnnotatedTrack
from backbeat.corpus.mdb_drums import read_mdb_drums
from backbeat.errors import BackbeatError
from backbeat.features import LogMel
from backbeat.music import DRUMS, Onsets
from backbeat.onset.detector import OnsetDetector
from backbeat.onset.score import GROUPS, score_track
from backbeat.statistics import micro_f_interval

MODES: dict[str, Modes] = {
    "plain": Modes(),
    "rock": Modes(rock=True),
    "ensemble": Modes(ensemble=True),
    "multi-scale": Modes(multi_scale=True),
    "advanced features": Modes(advanced_features=True),
    "ensemble, advanced": Modes(ensemble=True, advanced_features=True),
    "rock, advanced": Modes(rock=True, advanced_features=True),
    "all four": Modes(rock=True, ensemble=True, multi_scale=True, advanced_features=True),
}
MEASURES = ("drums", "kick", "snare", "hihat", "toms", "cymbals")

#: From a track to the drums that are heard in it.
Listener = Callable[[AnnotatedTrack], Onsets]


def drums_of(strokes: Strokes) -> Onsets:
    """Take strokes back from lanes to the ten drums."""
    classes = {"crash_left": "crash", "crash_right": "crash", "ride_bell": "ride"}
    return Onsets(strokes.times_s, [classes.get(lane, lane) for lane in strokes.lanes], strokes.velocities)


def ways(transcriber: Transcriber, stems: Mapping[str, Path] | None) -> Iterator[tuple[str, Listener]]:
    """Yield every way of listening with its name; `stems` are drum stems by the name of a track's file."""
    detector = OnsetDetector.from_folder(shipped_models()["onset"])
    front_end = LogMel(detector.spec.features)

    def model(track: AnnotatedTrack) -> Onsets:
        path = track.audio_path if stems is None else stems[track.audio_path.stem]
        return detector.detect(hear(path, front_end).spectrogram)[1]

    yield "the onset model", model
    for name, modes in MODES.items():

        def transcribed(track: AnnotatedTrack, modes: Modes = modes) -> Onsets:
            stem = None if stems is None else stems[track.audio_path.stem]
            return drums_of(transcriber.transcribe(track.audio_path, drums=stem, modes=modes).strokes)

        yield name, transcribed
    for name, options in (
        ("read from its chart", QuantiseOptions()),
        ("played freely", QuantiseOptions(expressive=True)),
    ):

        def read_back(track: AnnotatedTrack, options: QuantiseOptions = options) -> Onsets:
            stem = None if stems is None else stems[track.audio_path.stem]
            return drums_of(in_dtx(transcriber.transcribe(track.audio_path, drums=stem), options))

        yield f"plain, {name}", read_back


def in_dtx(heard: Transcription, options: QuantiseOptions) -> Strokes:
    """Quantise, write as DTX, and read back."""
    chart, _ = quantise(heard.strokes, heard.beats, heard.onsets_s, heard.duration_s, options)
    chart, _ = without_collisions(chart)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chart.dtx"
        write_dtx(
            path, chart, DtxHeader(title="song", level=5.0, music="song.ogg"), dict.fromkeys(LANES, Sound("a.ogg"))
        )
        return read_dtx(path).strokes()


def print_table(
    title: str, tracks: Sequence[AnnotatedTrack], measures: Sequence[str], found: Iterator[tuple[str, Listener]]
) -> None:
    """Print a row a way of listening."""
    print(f"\n{title}\n\n| | " + " | ".join(f"{name} F" for name in measures) + " | s a track |")
    print("| --- " * (len(measures) + 2) + "|", flush=True)
    for name, listener in found:
        began = time.perf_counter()
        scores = [score_track(track.onsets, None, listener(track)) for track in tracks if track.onsets is not None]
        seconds = (time.perf_counter() - began) / len(tracks)
        cells = []
        for measure in measures:
            counts = ([score[f"{measure}_{count}"] for score in scores] for count in ("tp", "fp", "fn"))
            cells.append(str(micro_f_interval(*counts)))
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.2f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, help="with drum_only/, full_mix/ and subclass/")
    parser.add_argument("--measures", nargs="+", default=MEASURES, choices=(*DRUMS, *GROUPS, "drums"))
    given = parser.parse_args()
    try:
        transcriber = Transcriber.load()
        alone, mixes = read_mdb_drums(given.real), read_mdb_drums(given.real, mix=True)
        stems = {track.audio_path.stem: track.audio_path for track in alone}
        print_table(f"Drums alone, {len(alone)} tracks", alone, given.measures, ways(transcriber, None))
        print_table(f"Full mixes, {len(mixes)} tracks", mixes, given.measures, ways(transcriber, None))
        print_table("Full mixes with their drums as a stem", mixes, given.measures, ways(transcriber, stems))
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
