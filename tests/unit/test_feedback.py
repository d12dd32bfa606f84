"""Corrections: kept once, made a corpus whose recordings never change sides."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from backbeat.audio.encode import encode
from backbeat.corpus.contract import read_corpus
from backbeat.corpus.folder import import_folder
from backbeat.errors import AnnotationError, CorpusError
from backbeat.files import sha256_file
from backbeat.monitoring import feedback
from backbeat.monitoring.feedback import Correction
from backbeat.monitoring.store import MonitoringStore


def recording(audio: Path, number: int) -> tuple[str, str]:
    """Write a recording; give its hash and the name of its file."""
    audio.mkdir(exist_ok=True)
    sound = 0.1 * np.random.default_rng(number).standard_normal((1, 8000)).astype(np.float32)
    encode(audio / "new.wav", sound, 8000)
    digest = sha256_file(audio / "new.wav")
    (audio / "new.wav").rename(audio / f"{digest}.wav")
    return digest, f"{digest}.wav"


def genre(audio: Path, number: int, label: str = "jazz", at: float = 1.0, licence: str = "CC0-1.0") -> Correction:
    digest, name = recording(audio, number)
    return Correction(f"request-{number}", 0, "genre", {"label": label}, {"answer": "rock", "model": {"version": "1"}},
                      "ann", licence, digest, name, at)  # fmt: skip


def test_a_correction_is_kept_once_and_pending_until_it_was_trained_on(tmp_path: Path) -> None:
    store = MonitoringStore.at(tmp_path)
    audio, folder = tmp_path / "audio", tmp_path / "corrections"
    with pytest.raises(CorpusError, match="/v1/feedback"):
        feedback.write_corpus(store, audio, folder)
    given = [genre(audio, number, at=float(number)) for number in range(6)]
    assert [feedback.add(store, one) for one in given] == [True] * 6
    assert feedback.add(store, given[3]) is False
    assert feedback.pending(store) == 6
    version = feedback.write_corpus(store, audio, folder)
    assert feedback.version_of(folder) == version
    assert feedback.write_corpus(store, audio, folder) == version
    late = genre(audio, 9, at=9.0)
    feedback.add(store, late)
    assert feedback.mark(store, folder) == 6
    assert feedback.mark(store, folder) == 0
    assert feedback.pending(store) == 1
    assert {one.corpus for one in feedback.corrections(store)} == {version, None}
    assert feedback.write_corpus(store, audio, folder) != version
    store.close()


def test_the_corpus_holds_what_is_right_and_where_it_is_from(tmp_path: Path) -> None:
    store = MonitoringStore.at(tmp_path)
    audio, folder = tmp_path / "audio", tmp_path / "corrections"
    first = genre(audio, 1, "jazz", at=1.0)
    again = Correction(**{**vars(first), "truth": {"label": "swing"}, "at": 2.0, "author": "bob", "licence": ""})
    beats = Correction("request-1", 0, "beat", {"beats": [[0.1, 1], [0.5, 2], [0.9, 1]]}, {"answer": [0.3]}, "ann", "",
                       first.sha256, first.audio, 3.0)  # fmt: skip
    bare = Correction("request-2", 0, "beat", {"beats": [[0.2, None], [0.6, None]]}, {}, "ann", "CC BY 4.0",
                      *recording(audio, 2), 4.0)  # fmt: skip
    for one in (first, again, beats, bare):
        feedback.add(store, one)
    feedback.write_corpus(store, audio, folder)
    corpus = read_corpus(folder)
    tracks = {track.id: track for track in corpus.tracks}
    assert len(tracks) == 2
    both, only_beats = tracks[first.sha256[:16]], tracks[bare.sha256[:16]]
    assert (both.genre, both.licence, both.sha256) == ("swing", "CC0-1.0", first.sha256)
    assert (only_beats.genre, only_beats.licence) == ("", "CC BY 4.0")
    found = corpus.beats(both)
    assert found is not None
    assert found.positions is not None
    assert found.positions.tolist() == [1, 2, 1]
    plain = corpus.beats(only_beats)
    assert plain is not None
    assert plain.positions is None
    lines = [json.loads(line) for line in (folder / feedback.PROVENANCE).read_text().splitlines()]
    assert [line["author"] for line in lines] == ["ann", "bob", "ann", "ann"]
    assert lines[0]["answer"] == {"answer": "rock", "model": {"version": "1"}}
    # The pipeline takes it as it is.
    taken = import_folder(folder, tmp_path / "corpus")
    assert {track.id: track.split for track in taken.tracks} == {track.id: track.split for track in corpus.tracks}
    store.close()


def test_a_recording_keeps_its_split_however_many_come(tmp_path: Path) -> None:
    hashes = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(4000)]
    splits = [feedback.split_of(one) for one in hashes]
    assert splits.count("test") / 4000 == pytest.approx(0.25, abs=0.02)
    assert splits.count("valid") / 4000 == pytest.approx(0.15, abs=0.02)
    store = MonitoringStore.at(tmp_path)
    audio, folder = tmp_path / "audio", tmp_path / "corrections"
    before: dict[str, str] = {}
    for count in range(1, 9):
        feedback.add(store, genre(audio, count, at=float(count)))
        feedback.write_corpus(store, audio, folder)
        now = {track.id: track.split for track in read_corpus(folder).tracks}
        assert now.items() >= before.items()
        before = now
    assert len(before) == 8
    store.close()


def test_a_missing_recording_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    store = MonitoringStore.at(tmp_path)
    audio, folder = tmp_path / "audio", tmp_path / "corrections"
    first, second = genre(audio, 1), genre(audio, 2)
    feedback.add(store, first)
    version = feedback.write_corpus(store, audio, folder)
    feedback.add(store, second)
    (audio / second.audio).unlink()
    with pytest.raises(CorpusError, match="is missing; restore it"):
        feedback.write_corpus(store, audio, folder)
    assert feedback.version_of(folder) == version
    store.close()


def test_beats_that_cannot_be_are_refused() -> None:
    made = Correction("request-1", 0, "beat", {"beats": [[0.5, None], [0.4, None]]}, {}, "ann", "", "00", "00.wav")
    with pytest.raises(AnnotationError, match="do not increase"):
        made.beats()


#: Where a process is killed, as code that puts a bomb there; and how many corrections are pending afterwards.
_BOMBS = {
    "before a correction is committed": ("add", "event.listen(store.engine, 'commit', bomb)", 2),
    "after a correction was committed": ("add", "feedback.IntegrityError = None", 3),
    "before the corpus takes its place": ("corpus", "Path.replace = bomb", 2),
    "in the middle of the corpus": ("corpus", "contract.write_annotations = annotated.write_annotations = bomb", 2),
    "before corrections are marked": ("mark", "event.listen(store.engine, 'commit', bomb)", 2),
}
_KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from backbeat.corpus import annotated, contract
from backbeat.monitoring import feedback
from backbeat.monitoring.feedback import Correction
from backbeat.monitoring.store import MonitoringStore

def bomb(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

root, what, digest = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
store = MonitoringStore.at(root)
{bomb}
if what == "add":
    said = Correction("request-9", 0, "genre", {{"label": "blues"}}, {{}}, "ann", "", digest, digest + ".wav", 9.0)
    feedback.add(store, said)
elif what == "corpus":
    feedback.write_corpus(store, root / "audio", root / "corrections")
else:
    feedback.mark(store, root / "corrections")
bomb()
"""


@pytest.mark.parametrize("where", _BOMBS)
def test_a_kill_loses_no_correction_and_leaves_no_half_corpus(tmp_path: Path, where: str) -> None:
    what, code, expected = _BOMBS[where]
    store = MonitoringStore.at(tmp_path)
    audio, folder = tmp_path / "audio", tmp_path / "corrections"
    feedback.add(store, genre(audio, 1, at=1.0))
    version = feedback.write_corpus(store, audio, folder)
    feedback.add(store, genre(audio, 2, at=2.0))
    digest, _ = recording(audio, 9)
    if what == "mark":
        version = feedback.write_corpus(store, audio, folder)
    ran = subprocess.run(
        [sys.executable, "-c", _KILLED.format(bomb=code), str(tmp_path), what, digest], check=False, capture_output=True
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert feedback.pending(store) == expected
    assert feedback.version_of(folder) == version
    assert read_corpus(folder).tracks
    # Whoever comes next does all of it.
    assert feedback.add(store, genre(audio, 3, at=3.0))
    assert feedback.write_corpus(store, audio, folder) == feedback.version_of(folder)
    assert feedback.mark(store, folder) == expected + 1
    assert feedback.pending(store) == 0
    store.close()
