"""Is a separation model worth having on real songs? Drums out of full mixes, against the drums alone.

`python benchmarks/separated_drums.py MDB_DRUMS_FOLDER --model models/separation` prints for each song of which there is
both: SDR, SIR and SAR of the drum stem against the recording of the drums alone (which is not mastered as the song is;
BSS Eval's filters make up for tone and level); and what the onset model hears in the song, the stem and the drums.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from backbeat.analysis.analyzer import shipped_models
from backbeat.audio import decode
from backbeat.corpus.mdb_drums import read_mdb_drums
from backbeat.errors import BackbeatError
from backbeat.features import LogMel, log_mel
from backbeat.onset.detector import OnsetDetector
from backbeat.onset.score import score_track
from backbeat.separation.files import SeparationOptions, StemFormat, separate_file
from backbeat.separation.score import score_stems
from backbeat.separation.store import load_network, locate, read_spec

SHOWN = ("kick", "snare", "hihat", "drums", "onset")


def main() -> None:
    """Print a line a song and source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with drum_only/, full_mix/ and subclass/")
    parser.add_argument("--model", default="models/separation", help="a model folder, or spleeter:4stems")
    parser.add_argument("--onsets", type=Path, default=shipped_models()["onset"], help="the onset model")
    given = parser.parse_args()
    try:
        folder = locate(given.model)
        network, label = load_network(folder), read_spec(folder).label
        detector = OnsetDetector.from_folder(given.onsets)
        front_end = LogMel(detector.spec.features)
        alone = {track.audio_path.stem: track for track in read_mdb_drums(given.folder)}
        print(f"{label}\n{'':34}{'SDR':>7}{'gained':>8}{'SIR':>7}{'SAR':>7}   F:" + "".join(f"{x:>8}" for x in SHOWN))
        with tempfile.TemporaryDirectory() as scratch:
            for track in read_mdb_drums(given.folder, mix=True):
                name = track.audio_path.stem
                how = SeparationOptions(("drums",), StemFormat("wav", 24))
                made = separate_file(track.audio_path, Path(scratch) / name, network, label, how)
                files = {"song": track.audio_path, "stem": made.stems["drums"], "drums": alone[name].audio_path}
                sound = {kind: decode(path, mono=True).mono for kind, path in files.items()}
                scores = _scores(sound["song"], sound["stem"], sound["drums"])
                rate_hz = detector.spec.features.sample_rate_hz
                for kind, path in files.items():
                    heard = log_mel(decode(path, sample_rate_hz=rate_hz, mono=True).mono, front_end)
                    found = score_track(track.onsets, *detector.detect(heard))
                    cells = "".join(f"{x:{width}.1f}" for x, width in zip(scores, (7, 8, 7, 7), strict=True))
                    cells = cells if kind == "stem" else " " * len(cells)
                    print(f"{name + ', ' + kind:34}{cells}     " + "".join(f"{found[x + '_f']:8.3f}" for x in SHOWN))
    except BackbeatError as error:
        raise SystemExit(f"error: {error}") from None


def _scores(song: np.ndarray, stem: np.ndarray, drums: np.ndarray) -> list[float]:
    length = min(song.size, stem.size, drums.size)
    song, stem, drums = song[:length], stem[:length], drums[:length]
    # The rest is what the song has beside the drums at the level at which they are nearest to it.
    drums = drums * float(np.dot(song, drums) / np.dot(drums, drums))
    true, made = np.stack([drums, song - drums]), np.stack([stem, song - stem])
    found = score_stems(["drums", "rest"], *(np.repeat(pair[:, None], 2, axis=1) for pair in (true, made)))
    return [found[f"drums_{measure}"] for measure in ("sdr", "sdr_gain", "sir", "sar")]


if __name__ == "__main__":
    main()
