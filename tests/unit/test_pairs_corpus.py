"""Pairs of a take and a beat: how they are cut from songs, written and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backbeat.corpus.contract import Corpus, Pair, Track, read_corpus, write_annotations, write_pairs
from backbeat.corpus.rendered.compose import ComposeParams
from backbeat.corpus.rendered.effects import EffectsParams
from backbeat.corpus.rendered.jobs import make_corpus
from backbeat.corpus.rendered.pairs import (
    PAIRED_STYLES,
    PairJob,
    PairsParams,
    compose_pair,
    divided,
    excerpt,
    heard_throughout,
    render_pairs,
)
from backbeat.corpus.rendered.render import AudioFormat, RenderJob, compose_track
from backbeat.corpus.rendered.score import Note, Part, Score
from backbeat.corpus.validate import validate_folder
from backbeat.dataset import label_lines, read_labels, write_labels
from backbeat.errors import AnnotationError, ConfigError, CorpusError
from backbeat.music import Beats, TimeSignature

PARAMS = PairsParams(
    seed=3,
    tracks=3,
    duration_s=8.0,
    styles=("house", "rock"),
    kit_variety=0.0,
    effects=EffectsParams(strength=0.0),
    audio=AudioFormat(24000),
    backing_share=0.5,
)


def song() -> Score:
    times_s = np.arange(0.0, 8.0, 0.5)
    drums = tuple(Note(float(time_s), 0.1, 36, 100) for time_s in times_s)
    parts = (
        Part("drums", "drums", 0, drums, is_drums=True),
        Part("percussion", "drums", 0, drums[::2], is_drums=True),
        Part("bass", "bass", 33, (Note(3.0, 2.0, 40, 90), Note(3.9, 0.25, 41, 90), Note(6.0, 4.0, 43, 90))),
        Part("melody", "other", 0, (Note(1.0, 0.5, 70, 80),)),
    )
    beats = Beats(times_s, np.arange(times_s.size) % 4 + 1)
    return Score("song", "rock", 8.0, beats, 120.0, TimeSignature.parse("4/4"), None, parts, "seed-song")


def test_an_excerpt_begins_at_nought_and_keeps_what_is_held_into_it() -> None:
    half = excerpt(song(), 4.0, 8.0)
    assert half.duration_s == 4.0
    np.testing.assert_allclose(half.beats.times_s, np.arange(0.0, 4.0, 0.5))
    assert half.beats.positions is not None
    assert half.beats.positions[0] == 1
    assert half.tempo_bpm == pytest.approx(120.0)
    parts = {part.name: part.notes for part in half.parts}
    # The melody is in the other half; 0.15 s of a short tone is too little to hear; a tone ends with the excerpt.
    assert set(parts) == {"drums", "percussion", "bass"}
    assert parts["bass"] == (Note(0.0, 1.0, 40, 90), Note(2.0, 2.0, 43, 90))
    assert [note.start_s for note in parts["drums"]] == list(np.arange(0.0, 4.0, 0.5))


def test_drums_are_never_held_into_an_excerpt() -> None:
    ringing = Part("drums", "drums", 0, (Note(3.9, 2.0, 49, 100), Note(5.0, 0.1, 36, 100)), is_drums=True)
    (part,) = excerpt(replace(song(), parts=(ringing,)), 4.0, 8.0).parts
    assert [note.pitch for note in part.notes] == [36]


@pytest.mark.parametrize(
    ("parts", "of_take", "of_beat"),
    [
        ("drums", ["bass", "melody"], ["drums", "percussion"]),
        ("backing", ["melody"], ["drums", "percussion", "bass"]),
    ],
)
def test_every_part_is_in_the_take_or_in_the_beat(parts: str, of_take: list[str], of_beat: list[str]) -> None:
    take, beat = divided(song(), parts)
    assert [part.name for part in take.parts] == of_take
    assert [part.name for part in beat.parts] == of_beat


def test_what_is_silent_for_a_quarter_is_not_heard_throughout() -> None:
    take, beat = divided(song(), "drums")
    assert heard_throughout(beat)
    assert not heard_throughout(take)


def test_take_and_beat_are_of_one_song_and_never_of_the_same_moment() -> None:
    """Exact times tell nothing: what the one has was played in the half that the other has not."""
    job = PairJob(replace(PARAMS, styles=()), 0, "house-000000", "house", "train", "drums")
    for number in range(6):
        seed = np.random.SeedSequence([5, number])
        take, beat = compose_pair(job, seed)
        assert (take.id, beat.id) == ("house-000000-take", "house-000000-beat")
        assert take.source == beat.source
        assert take.duration_s == beat.duration_s == 4.0
        assert not {part.stem for part in take.parts} & {part.stem for part in beat.parts}
        wanted = ComposeParams(8.0, "house", performance_share=0.6, drumless_share=0.0, ending_share=0.0)
        songs = [
            compose_track(RenderJob(job.params, 0, job.id, "house", "train"), child, wanted)
            for child in np.random.SeedSequence([5, number]).spawn(60)[:12]
        ]
        (whole,) = [score for score in songs if score.source == take.source]
        halves = {
            side.id: {
                start_s
                for start_s in (0.0, 4.0)
                if all(
                    any(
                        abs(one.start_s - start_s - note.start_s) < 1e-9
                        for other in whole.parts
                        if other.name == part.name
                        for one in other.notes
                    )
                    for part in side.parts
                    for note in part.notes
                    if note.start_s > 0
                )
            }
            for side in (take, beat)
        }
        assert all(len(found) == 1 for found in halves.values())
        assert halves[take.id] != halves[beat.id]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return render_pairs(tmp_path_factory.mktemp("pairs") / "pairs", PARAMS, workers=1, progress=False)


def test_a_corpus_of_pairs_has_two_tracks_a_song(corpus: Corpus) -> None:
    assert len(corpus.tracks) == 6
    pairs = corpus.pairs()
    assert [pair.take for pair in pairs] == ["house-000000-take", "house-000002-take", "rock-000001-take"]
    assert {pair.parts for pair in pairs} <= {"drums", "backing"}
    tracks = {track.id: track for track in corpus.tracks}
    for pair in pairs:
        take, beat = tracks[pair.take], tracks[pair.beat]
        assert (take.split, take.genre, take.source) == (beat.split, beat.genre, beat.source)
        assert beat.tempo_bpm == pytest.approx(take.tempo_bpm, rel=0.2)
        assert (beat.key is None) == (pair.parts == "drums")
        for track in (take, beat):
            info = soundfile.info(corpus.audio_path(track))
            assert (info.samplerate, info.channels, info.frames) == (24000, 1, 96000)
    # A split has songs of its own.
    assert len({track.source for track in corpus.tracks}) == 3
    assert sorted({track.split for track in corpus.tracks}) == ["test", "train", "valid"]


def test_a_corpus_of_pairs_passes_validation(corpus: Corpus) -> None:
    assert not validate_folder(corpus.root).errors


def test_validation_names_what_is_wrong_with_pairs(tmp_path: Path) -> None:
    write_annotations(tmp_path, [Track(name, f"{name}.wav") for name in "abc"])
    (tmp_path / "pairs.csv").write_text("take,beat,parts\na,b,drums\nc,x,drums\n")
    (wrong,) = [one for one in validate_folder(tmp_path, check_audio=False).errors if one.path.endswith("pairs.csv")]
    assert wrong.line == 3
    assert "no track 'x'" in wrong.message


def test_pairs_are_the_same_for_a_seed(corpus: Corpus, tmp_path: Path) -> None:
    again = render_pairs(tmp_path / "pairs", PARAMS, workers=1, progress=False)
    assert again.tracks == corpus.tracks
    assert again.pairs() == corpus.pairs()
    assert (again.root / "pairs.csv").read_bytes() == (corpus.root / "pairs.csv").read_bytes()


def test_pairs_are_examples_of_pairing_alone(corpus: Corpus, tmp_path: Path) -> None:
    lines = label_lines(corpus)
    assert {task for task, found in lines.items() if found} == {"audio", "pairing"}
    assert len(lines["audio"]) == 6
    write_labels(tmp_path, corpus)
    labelled = read_labels(tmp_path, "pairing")
    assert [track.id for track in labelled] == [pair.take for pair in corpus.pairs()]
    assert [dict(track.values) for track in labelled] == [
        {"beat": pair.beat, "parts": pair.parts} for pair in corpus.pairs()
    ]
    with pytest.raises(CorpusError, match="which pairing learns from"):
        read_labels(tmp_path / "none", "pairing")


def test_tracks_beside_pairs_stay_examples(tmp_path: Path) -> None:
    tracks = tuple(Track(name, f"{name}.wav", genre="rock") for name in ("a", "b", "c"))
    write_annotations(tmp_path, tracks)
    write_pairs(tmp_path, [Pair("a", "b", "drums")])
    lines = label_lines(read_corpus(tmp_path))
    assert [line["id"] for line in lines["genre"]] == ["c"]
    assert [line["id"] for line in lines["pairing"]] == ["a"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("take,beat\na,b\n", CorpusError, r"pairs.csv: the columns must be take, beat, parts"),
        ("take,beat,parts\na,b,drums\nc,x,drums\n", AnnotationError, r"pairs.csv:3: there is no track 'x'"),
        ("take,beat,parts\na,b,drums\nb,c,drums\n", AnnotationError, r"pairs.csv:3: track b is in two pairs"),
        ("take,beat,parts\na,a,drums\n", AnnotationError, r"pairs.csv:2: track a is paired with itself"),
        ("take,beat,parts\na,b,\n", AnnotationError, r"pairs.csv:2: a pair needs"),
        ("take,beat,parts\na,b\n", AnnotationError, r"pairs.csv:2: a pair needs"),
        ("take,beat,parts\na,b,../x\n", AnnotationError, r"pairs.csv:2: a pair needs"),
        ("take,beat,parts\na,c,drums\n", AnnotationError, r"pairs.csv:2: tracks a and c are .* two splits"),
        ('take,beat,parts\na,"b,drums\n', CorpusError, r"pairs.csv: is not CSV"),
    ],
)
def test_wrong_pairs_are_named_by_line(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    tracks = (Track("a", "a.wav"), Track("b", "b.wav"), Track("c", "c.wav", split="test"))
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(error, match=message):
        Corpus(tmp_path, tracks).pairs()


def test_pairs_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"take,beat,parts\n\xff,b,drums\n")
    with pytest.raises(CorpusError, match="is not text in UTF-8"):
        Corpus(tmp_path, (Track("a", "a.wav"),)).pairs()


def test_a_corpus_without_pairs_has_none(tmp_path: Path) -> None:
    assert Corpus(tmp_path, (Track("a", "a.wav"),)).pairs() == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metronome_share": 0.1}, "no metronome"),
        ({"drums_alone_share": 0.1}, "drums alone"),
        ({"styles": ("waltz",)}, "'waltz' has no drums"),
        ({"audio": AudioFormat(keep_stems=True)}, "keep_stems"),
        ({"backing_share": 1.5}, "backing_share"),
    ],
)
def test_settings_that_make_no_pairs_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(PARAMS, **changes)  # type: ignore[arg-type]


def test_styles_without_drums_are_left_out() -> None:
    assert {"afro", "trap", "boom_bap", "house", "jazz"} <= set(PAIRED_STYLES)
    assert not {"classical", "waltz"} & set(PAIRED_STYLES)


def test_what_finishes_a_corpus_is_done_before_it_appears(tmp_path: Path) -> None:
    seen: list[bool] = []

    def make(job: RenderJob, folder: Path) -> tuple[Track, ...]:
        return tuple(Track(f"{job.id}-{side}", f"audio/{job.id}-{side}.wav") for side in "ab")

    def finish(folder: Path) -> None:
        seen.append((folder / "annotations.csv").is_file() and not (tmp_path / "made").exists())

    jobs = [RenderJob(PARAMS, number, f"j{number}", "rock", "train") for number in range(2)]
    made = make_corpus(tmp_path / "made", jobs, make, "mark", workers=1, progress=False, finish=finish)
    assert [track.id for track in made.tracks] == ["j0-a", "j0-b", "j1-a", "j1-b"]
    assert seen == [True]
