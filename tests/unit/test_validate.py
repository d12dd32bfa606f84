"""Validation: each kind of mistake is found, alone or with others, where it is; a good corpus passes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.contract import Corpus, Track, read_corpus, write_annotations
from backbeat.corpus.validate import ValidationReport, validate, validate_folder
from backbeat.corpus.validation_report import report_html, verdict
from backbeat.errors import CorpusError
from backbeat.music import TimeSignature

RATE_HZ = 8000
GOOD_BEATS = "".join(f"{0.5 * index + 0.25:.3f}\t{index % 4 + 1}\n" for index in range(8))


def make(root: Path, tracks: list[Track] | None = None) -> Corpus:
    """Write a small good corpus of two genres: 4 s of noise each, beats at 120 BPM in 4/4."""
    if tracks is None:
        splits = {"a": "train", "b": "train", "c": "valid", "d": "test"}
        tracks = [
            Track(f"{genre}-{name}", f"audio/{genre}-{name}.wav", split, genre, 120.0, TimeSignature(4, 4))
            for genre in ("jazz", "rock")
            for name, split in splits.items()
        ]
    rows = []
    for track in tracks:
        path = root / track.path
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(track.id.encode()))
        soundfile.write(path, rng.normal(0, 0.1, 4 * RATE_HZ), RATE_HZ)
        path.with_suffix(".beats").write_text(GOOD_BEATS)
        rows.append(replace(track, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    write_annotations(root, rows)
    return read_corpus(root)


def alter(root: Path, change: Callable[[Track], Track]) -> Corpus:
    corpus = read_corpus(root)
    write_annotations(root, [change(track) for track in corpus.tracks])
    return read_corpus(root)


def found(report: ValidationReport, level: str) -> list[tuple[str, int | None, str]]:
    return [(Path(one.path).name, one.line, one.message) for one in report.problems if one.level == level]


def test_a_good_corpus_has_no_problems(tmp_path: Path) -> None:
    report = validate(make(tmp_path))
    assert report.problems == ()
    assert report.ok
    report.raise_for_errors()
    assert report.counts == {
        "tracks": 8,
        "with_beats": 8,
        "with_bars": 8,
        "with_onsets": 0,
        "beats": 64,
        "onsets": 0,
        "seconds": 32.0,
        "splits": {"train": 4, "valid": 2, "test": 2},
        "genres": {name: {"train": 2, "valid": 1, "test": 1} for name in ("jazz", "rock")},
        "onset_classes": {},
    }


BEAT_CASES = [
    ("0.5 1\n0.5 2\n", "error", 2, "beat at 0.5 s appears twice"),
    ("0.5 1\n1.0 2\n0.75 3\n", "error", 3, "beats are not in order: 0.75 s follows 1 s"),
    ("0.5 1\n0.55 2\n", "error", 2, "impossible interval: 0.050 s after the beat before, 1200 BPM"),
    ("0.5 1\n0.62 2\n", "warning", 2, "0.120 s after the beat before, 500 BPM: a subdivision?"),
    ("0.5 1\n3.7 2\n", "warning", 2, "3.200 s after the beat before, 19 BPM: a pause, or beats left out?"),
    ("0.5 1\n1.0 2\n2.0 3\n", "warning", 3, "the interval suddenly doubles, from 0.500 to 1.000 s"),
    ("0.5 1\n1.5 2\n2.0 3\n", "warning", 3, "the interval suddenly halves, from 1.000 to 0.500 s"),
    ("0.5 1\n1.0 2\n1.5 4\n", "error", 3, "bar count jumps from 2 to 4"),
    ("0.5 1\n1.0 2\n1.5 2\n", "error", 3, "bar count jumps from 2 to 2"),
    ("0.5 1\n1.0 1\n1.5 2\n", "warning", 2, "a bar of a single beat: two downbeats in a row"),
    (
        "0.1 1\n0.5 2\n0.9 3\n1.3 1\n1.7 2\n2.1 1\n",
        "warning",
        6,
        "the bar before has 2 beats, the one before that 3",
    ),
    ("0.5 1\n1.0 2\n4.2 3\n", "error", 3, "beat at 4.2 s lies after the end of the audio at 4.000 s"),
    ("0.5 1\n1.0\n", "error", 2, "has no position in the bar, though other beats have one"),
    ("0.5 1\n1.0 0\n", "error", 2, "'0' is not a position in the bar"),
    ("0.5 1\n1.0 1.5\n", "error", 2, "'1.5' is not a position in the bar"),
    ("0.5 1\n1.0 nan\n", "error", 2, "'nan' is not a position in the bar"),
    ("0.5 1\nsoon 2\n", "error", 2, "'soon' is not a time in seconds"),
    ("inf 1\n", "error", 1, "'inf' is not a time in seconds"),
    ("-1 1\n0.5 2\n", "error", 1, "time -1 s is negative"),
    ("# nothing\n", "warning", 1, "holds no beats; a track without annotation has no file"),
]


@pytest.mark.parametrize(("text", "level", "line", "message"), BEAT_CASES)
def test_each_mistake_in_beats_is_named(tmp_path: Path, text: str, level: str, line: int, message: str) -> None:
    track = Track("x", "x.wav")
    corpus = make(tmp_path, [track])
    corpus.beats_path(track).write_text(text)
    assert ("x.beats", line, message) in found(validate(corpus), level)


ONSET_CASES = [
    ("0.5 kick\n0.6 gong\n", "error", 2, "unknown onset class 'gong'"),
    ("0.5 kick\n0.4 snare\n", "error", 2, "onsets are not in order: 0.4 s follows 0.5 s"),
    ("0.5 kick 1.2\n", "error", 1, "velocity '1.2' lies outside (0, 1]"),
    ("0.5 kick loud\n", "error", 1, "velocity 'loud' lies outside (0, 1]"),
    ("0.5 kick\n0.5 kick\n", "warning", 2, "kick at 0.5 s appears twice"),
    ("5 kick\n", "error", 1, "onset at 5 s lies after the end of the audio at 4.000 s"),
    ("x\n", "error", 1, "'x' is not a time in seconds"),
]


@pytest.mark.parametrize(("text", "level", "line", "message"), ONSET_CASES)
def test_each_mistake_in_onsets_is_named(tmp_path: Path, text: str, level: str, line: int, message: str) -> None:
    track = Track("x", "x.wav")
    corpus = make(tmp_path, [track])
    corpus.onsets_path(track).write_text(text)
    problems = found(validate(corpus), level)
    assert any(name == "x.onsets" and at == line and said.startswith(message) for name, at, said in problems)


def test_pickups_and_incomplete_last_bars_are_right(tmp_path: Path) -> None:
    track = Track("x", "x.wav")
    corpus = make(tmp_path, [track])
    positions = [3, 4, 1, 2, 3, 4, 1, 2]
    text = "".join(f"{0.4 * index + 0.1:.2f} {position}\n" for index, position in enumerate(positions))
    corpus.beats_path(track).write_text(text)
    assert [one.message for one in validate(corpus).problems if one.path.endswith(".beats")] == []


def test_warnings_alike_are_summed_up(tmp_path: Path) -> None:
    track = Track("x", "x.wav")
    corpus = make(tmp_path, [track])
    corpus.beats_path(track).write_text("".join(f"{0.12 * index:.2f}\n" for index in range(20)))
    warnings = found(validate(corpus), "warning")
    beats = [one for one in warnings if one[0] == "x.beats"]
    assert len(beats) == 6
    assert beats[-1] == ("x.beats", 7, "14 more of: intervals too short for beats")


def test_a_source_in_two_splits_is_an_error(tmp_path: Path) -> None:
    make(tmp_path)
    corpus = alter(tmp_path, lambda t: replace(t, source="band") if t.id in ("jazz-a", "jazz-d") else t)
    assert found(validate(corpus), "error") == [
        ("annotations.csv", 5, "source 'band' is in test here and in train with jazz-a (train, line 2)")
    ]


def test_a_source_that_is_another_tracks_id_counts(tmp_path: Path) -> None:
    make(tmp_path)
    corpus = alter(tmp_path, lambda t: replace(t, source="jazz-a") if t.id == "jazz-d" else t)
    assert not validate(corpus).ok


@pytest.mark.parametrize("check_audio", [True, False])
def test_the_same_audio_in_two_splits_is_an_error(tmp_path: Path, check_audio: bool) -> None:
    corpus = make(tmp_path)
    first, last = corpus.tracks[0], corpus.tracks[3]
    corpus.audio_path(last).write_bytes(corpus.audio_path(first).read_bytes())
    corpus = alter(tmp_path, lambda t: replace(t, sha256=first.sha256) if t.id == last.id else t)
    report = validate(corpus, check_audio=check_audio)
    assert found(report, "error") == [
        ("annotations.csv", 5, "is the same audio as jazz-a (train, line 2), byte for byte")
    ]


def test_the_same_audio_in_one_split_is_a_warning(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    first, second = corpus.tracks[:2]
    corpus.audio_path(second).write_bytes(corpus.audio_path(first).read_bytes())
    corpus = alter(tmp_path, lambda t: replace(t, sha256=""))
    report = validate(corpus)
    assert report.ok
    assert [one.track_id for one in report.warnings] == ["jazz-b"]


def test_missing_changed_and_unreadable_audio_are_errors(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    missing, changed, unreadable, empty = corpus.tracks[:4]
    corpus.audio_path(missing).unlink()
    soundfile.write(corpus.audio_path(changed), np.ones(4 * RATE_HZ) * 0.1, RATE_HZ)
    corpus.audio_path(unreadable).write_text("this is not audio")
    corpus.audio_path(empty).write_bytes(b"")
    report = validate(alter(tmp_path, lambda t: t if t.id == changed.id else replace(t, sha256="")))
    errors = {one.track_id: one for one in report.errors}
    assert set(errors) == {missing.id, changed.id, unreadable.id, empty.id}
    assert errors[missing.id].message == "its audio audio/jazz-a.wav is missing"
    assert "has changed: its SHA-256 is" in errors[changed.id].message
    assert errors[unreadable.id].path == str(corpus.audio_path(unreadable))
    assert "empty" in errors[empty.id].message
    # Without opening anything only what is missing is seen.
    assert [one.track_id for one in validate(corpus, check_audio=False).errors] == [missing.id]


def test_two_rows_of_one_path_are_an_error(tmp_path: Path) -> None:
    make(tmp_path)
    corpus = alter(tmp_path, lambda t: replace(t, path="audio/jazz-a.wav", sha256="") if t.id == "jazz-b" else t)
    assert ("annotations.csv", 3, "path audio/jazz-a.wav is also that of jazz-a (train, line 2)") in found(
        validate(corpus), "error"
    )


def test_genres_that_are_missing_rare_or_unknown_to_training_are_told(tmp_path: Path) -> None:
    make(tmp_path)
    genres = {"jazz-b": "", "jazz-d": "polka", "rock-a": "Rock"}
    report = validate(alter(tmp_path, lambda t: replace(t, genre=genres.get(t.id, t.genre))))
    assert found(report, "warning") == [
        ("annotations.csv", 2, "genre 'jazz' has only one track in train, too few to learn it from"),
        ("annotations.csv", 3, "has no genre, though other rows have one"),
        ("annotations.csv", 6, "genre 'Rock' has only one track in train, too few to learn it from"),
        ("annotations.csv", 7, "genre 'rock' has only one track in train, too few to learn it from"),
        ("annotations.csv", 7, "genres 'Rock' and 'rock' may be one, spelt in two ways"),
    ]
    assert found(report, "error") == [
        ("annotations.csv", 5, "genre 'polka' has no track in train, too few to learn it from")
    ]


def test_an_empty_split_is_told(tmp_path: Path) -> None:
    make(tmp_path)
    report = validate(alter(tmp_path, lambda t: replace(t, split="test")))
    assert ("annotations.csv", None, "split train is empty") in found(report, "error")
    assert ("annotations.csv", None, "split valid is empty") in found(report, "warning")


@pytest.mark.parametrize(
    ("tempo_bpm", "ending"),
    [
        (125.0, None),
        (240.0, ": it is twice the tempo of the beats, another metrical level"),
        (60.0, ": it is half the tempo of the beats, another metrical level"),
        (80.0, ": it is two thirds of the tempo of the beats, another metrical level"),
        (100.0, "the beats go at 120.0"),
    ],
)
def test_a_tempo_far_from_the_beats_is_told(tmp_path: Path, tempo_bpm: float, ending: str | None) -> None:
    make(tmp_path)
    report = validate(alter(tmp_path, lambda t: replace(t, tempo_bpm=tempo_bpm) if t.id == "rock-a" else t))
    assert report.ok
    messages = [one.message for one in report.warnings]
    if ending is None:
        assert messages == []
    else:
        (message,) = messages
        assert message.endswith(ending)


def test_a_time_signature_that_the_bars_deny_is_an_error(tmp_path: Path) -> None:
    make(tmp_path)
    report = validate(alter(tmp_path, lambda t: replace(t, time_signature=TimeSignature(3, 4))))
    assert len(report.errors) == 8
    assert report.errors[0].message == "time_signature is 3/4, 3 beats to a bar, but most bars have 4"


def test_compound_bars_counted_in_eighths_are_a_warning(tmp_path: Path) -> None:
    track = Track("x", "x.wav", time_signature=TimeSignature(6, 8))
    corpus = make(tmp_path, [track])
    beats = "".join(f"{0.25 * index:.2f} {index % 6 + 1}\n" for index in range(13))
    corpus.beats_path(track).write_text(beats)
    report = validate(corpus)
    assert report.ok
    assert any("bars are counted in 6, not in 2 dotted beats" in one.message for one in report.warnings)


def test_all_is_found_in_one_go_with_the_rows_that_cannot_be_read(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    corpus.beats_path(corpus.tracks[0]).write_text("0.5 1\n0.5 3\nx\n9 4\n")
    with (tmp_path / "annotations.csv").open("a") as table:
        table.write("bad id,x.wav,train\nrock-a,y.wav,train\n")
    report = validate_folder(tmp_path)
    lines = [(Path(one.path).name, one.line) for one in report.errors]
    assert lines == [("annotations.csv", 10), ("annotations.csv", 11), *[("jazz-a.beats", n) for n in (2, 2, 3, 4)]]
    with pytest.raises(CorpusError) as caught:
        report.raise_for_errors()
    assert "has 6 errors, first " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_event_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    corpus.beats_path(corpus.tracks[0]).write_bytes(b"\xff\xfe")
    assert found(validate(corpus), "error") == [("jazz-a.beats", None, "is not text in UTF-8")]


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_every_problem_and_fetches_nothing(tmp_path: Path) -> None:
    corpus = make(tmp_path / "<b>mine")
    corpus.beats_path(corpus.tracks[0]).write_text("0.5 1\n0.4 3\n<script> 1\n")
    report = validate(corpus)
    page = _Text()
    page.feed(report_html(report))
    for problem in report.problems:
        assert problem.message in page.text
        assert problem.path in page.text
    assert page.links == []
    assert "<script>" not in report_html(report)
    assert verdict(report) == "3 errors and 0 warnings: the pipeline stops here until the errors are mended."
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["errors"] == 3


def test_a_folder_that_is_no_corpus_yet_is_judged_as_it_would_be_taken(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number, name in enumerate(("jazz/a", "jazz/b", "jazz/c", "rock/d", "rock/e", "rock/f")):
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, rng.normal(0, 0.1, 4 * RATE_HZ), RATE_HZ)
        path.with_suffix(".beats").write_text(GOOD_BEATS if number else GOOD_BEATS + "9.0\t1\n")
    (tmp_path / "jazz/b.beats").write_text(GOOD_BEATS + "1.0\t1\n")
    (tmp_path / "jazz/c.beats").write_text(GOOD_BEATS.replace("\t", ","))
    (tmp_path / "rock/d.beats").write_text("soon\n")
    (tmp_path / "rock/lost.onsets").write_text("1.0\n")
    (tmp_path / "rock/f.wav").write_text("not audio")
    before = sorted(tmp_path.rglob("*"))
    report = validate_folder(tmp_path)
    errors = {(one.path, one.line): one.message for one in report.errors}
    assert set(errors) == {
        (str(tmp_path / "jazz/a.beats"), 9),
        (str(tmp_path / "jazz/b.beats"), 9),
        (str(tmp_path / "rock/d.beats"), 1),
        (str(tmp_path / "rock/lost.onsets"), None),
        (str(tmp_path / "rock/f.wav"), None),
    }
    assert report.counts["tracks"] == 6
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_column_hides_nothing(tmp_path: Path) -> None:
    make(tmp_path)
    path = tmp_path / "annotations.csv"
    lines = path.read_text().splitlines()
    lines = [lines[0] + ",colour", *(line + ",blue" for line in lines[1:])]
    lines[3] = lines[3].replace("4/4", "4")
    path.write_text("\n".join(lines) + "\n")
    errors = found(validate_folder(tmp_path), "error")
    assert [(name, line) for name, line, _ in errors] == [("annotations.csv", 1), ("annotations.csv", 4)]
    assert "'colour'" in errors[0][2]
    with pytest.raises(CorpusError, match="column 'colour'"):
        read_corpus(tmp_path)


def test_halves_of_songs_need_no_genre_to_be_learnt_and_broken_pairs_are_named(tmp_path: Path) -> None:
    corpus = make(tmp_path)
    lone = [replace(track, genre=f"{track.genre} {track.id[-1]}") for track in corpus.tracks]
    write_annotations(tmp_path, lone)
    assert not validate(read_corpus(tmp_path)).ok
    pairs = "".join(f"jazz-{name},rock-{name},drums\n" for name in "abcd")
    (tmp_path / "pairs.csv").write_text("take,beat,parts\n" + pairs)
    assert validate(read_corpus(tmp_path)).ok
    (tmp_path / "pairs.csv").write_text("take,beat,parts\njazz-a,rock-b,drums\njazz-b,rock-z,drums\n")
    (problem,) = [one for one in found(validate(read_corpus(tmp_path)), "error") if one[0] == "pairs.csv"]
    assert problem[1] == 3
    assert "rock-z" in problem[2]
