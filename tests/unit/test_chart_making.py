import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import jsonschema
import numpy as np
import pytest
import soundfile
from rendered_pieces import write_rock

from backbeat.analysis.result import ModelOrigin
from backbeat.audio import encode
from backbeat.charts.chart import Strokes, strokes_of
from backbeat.charts.chart_json import chart_schema, read_chart_json
from backbeat.charts.dtx.reader import read_dtx
from backbeat.charts.dtx.validator import check_dtx
from backbeat.charts.making import ChartMaker, ChartOptions, MadeChart, labels_of
from backbeat.charts.transcription.transcribe import Modes, Transcriber, Transcription
from backbeat.errors import AudioNotFoundError, ConfigError, CorpusError, DrumlessAudioError, ModelError
from backbeat.music import Beats, Onsets, TimeSignature
from backbeat.onset.matching import count_matches

SECONDS = 24.0


@pytest.fixture(scope="module")
def maker() -> ChartMaker:
    return ChartMaker.load()


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Onsets]:
    path = tmp_path_factory.mktemp("song") / "rock.flac"
    return path, write_rock(path, SECONDS)[1]


@pytest.fixture(scope="module")
def made(maker: ChartMaker, song: tuple[Path, Onsets], tmp_path_factory: pytest.TempPathFactory) -> MadeChart:
    steps: list[tuple[str, float]] = []
    folder = tmp_path_factory.mktemp("charts") / "rock"
    done = maker.make(
        song[0], folder, ChartOptions(title="Löwe; 獅子 🦁", artist="A\nB"), progress=lambda *step: steps.append(step)
    )
    shares = [share for _, share in steps]
    assert shares == sorted(shares)
    assert steps[-1] == ("done", 1.0)
    return done


def test_a_song_becomes_a_folder_that_plays(made: MadeChart) -> None:
    assert set(made.files) == {
        "basic", "advanced", "extreme", "midi", "json", "music", "preview", "picture", "set"
    }  # fmt: skip
    present = {path.name for path in made.folder.iterdir()}
    assert {path.name for path in made.files.values()} <= present
    assert [path for path in made.folder.parent.iterdir() if path != made.folder] == []
    whole = read_chart_json(made.files["json"]).chart
    for tier in ("basic", "advanced", "extreme"):
        assert check_dtx(made.files[tier]) == []
    assert check_dtx(made.files["extreme"], whole) == []
    music, rate_hz = soundfile.read(made.files["music"])
    assert music.shape == (SECONDS * rate_hz, 2)
    text = made.files["set"].read_bytes().decode("cp932")
    assert [line.split(": ")[1] for line in text.splitlines() if "FILE" in line] == ["bas.dtx", "adv.dtx", "ext.dtx"]
    assert made.files["picture"].stat().st_size > 20_000


def test_what_is_read_back_is_what_was_played(made: MadeChart, song: tuple[Path, Onsets]) -> None:
    played: Strokes = read_dtx(made.files["extreme"]).strokes()
    for drum, least in (("kick", 0.8), ("snare", 0.7)):
        true_s, found_s = song[1].of(drum).times_s, played.of(drum).times_s
        matched = count_matches(true_s, found_s, 0.03)
        assert 2 * matched / (true_s.size + found_s.size) > least


def test_titles_are_kept_where_the_format_can_hold_them(made: MadeChart) -> None:
    document = json.loads(made.files["json"].read_text(encoding="utf-8"))
    jsonschema.validate(document, chart_schema())
    assert (document["title"], document["artist"]) == ("Löwe; 獅子 🦁", "A B")
    headers = made.files["extreme"].read_bytes().decode("cp932").splitlines()
    assert headers[0] == "#TITLE: Lowe； 獅子 ?"
    assert all(";" not in line for line in headers[:2])


def test_harder_tiers_have_more_notes_and_higher_levels(made: MadeChart) -> None:
    notes, levels = made.report["notes"], made.report["levels"]
    assert notes["basic"] < notes["advanced"] <= notes["extreme"]
    assert 0 < levels["basic"] < levels["advanced"] <= levels["extreme"] < 10
    assert made.report["quantising"]["notes"] == notes["extreme"]


def test_what_is_made_already_is_left_alone(maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path) -> None:
    folder, plain = tmp_path / "rock", ChartOptions(plot=False)
    first = maker.make(song[0], folder, plain)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = maker.make(song[0], folder, plain)
    assert (first.skipped, again.skipped) == (False, True)
    assert again.report["notes"] == first.report["notes"]
    assert again.files == first.files
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    other = ChartOptions(plot=False, tiers=("extreme",))
    with pytest.raises(ConfigError, match="--force replaces it"):
        maker.make(song[0], folder, other)
    assert (folder / "bas.dtx").is_file()
    maker.make(song[0], folder, other, replace=True)
    assert not (folder / "bas.dtx").exists()


def test_a_folder_of_something_else_is_never_replaced(
    maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is there already and is no chart"):
        maker.make(song[0], tmp_path, replace=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    with pytest.raises(ConfigError, match=r"mine\.txt: is a file: name a folder for the charts"):
        maker.make(song[0], tmp_path / "mine.txt" / "rock")


def test_what_stops_the_work_leaves_nothing(maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path) -> None:
    def stop(step: str, _: float) -> None:
        if step == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        maker.make(song[0], tmp_path / "output" / "rock", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_music_without_drums_is_refused(maker: ChartMaker, tmp_path: Path) -> None:
    times_s = np.arange(8 * 22050) / 22050
    encode(tmp_path / "tone.wav", (0.2 * np.sin(2 * np.pi * 440 * times_s))[None], 22050)
    with pytest.raises(DrumlessAudioError, match=r"tone\.wav: has no drums that could be charted: \d+ strokes in 8 s"):
        maker.make(tmp_path / "tone.wav", tmp_path / "output" / "tone")
    assert [path.name for path in tmp_path.iterdir()] == ["tone.wav"]
    with pytest.raises(AudioNotFoundError, match="does not exist"):
        maker.make(tmp_path / "none.wav", tmp_path / "chart")


def test_meter_and_tempo_can_be_given(maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path) -> None:
    options = ChartOptions(time_signature=TimeSignature(3, 4), bpm=100.0, tiers=("extreme",), plot=False)
    made = maker.make(song[0], tmp_path / "rock", options)
    chart = read_chart_json(made.files["json"]).chart
    assert {str(bar.signature) for bar in chart.bars} == {"3/4"}
    assert {tempo.bpm for bar in chart.bars for tempo in bar.tempi} == {100.0}
    assert made.warnings


def test_a_separation_model_must_be_there_and_know_drums(
    maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKBEAT_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="backbeat models pull spleeter:4stems"):
        maker.make(song[0], tmp_path / "chart", ChartOptions(separation="spleeter:4stems"))


def test_with_stems_the_drums_are_heard_alone_and_left_out_of_the_music(
    maker: ChartMaker, song: tuple[Path, Onsets], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = 0.25 * np.sin(2 * np.pi * 220 * np.arange(round(SECONDS * 44100)) / 44100)[None]
    encode(tmp_path / "other.wav", quiet, 44100)
    stems = {"drums": song[0], "other": tmp_path / "other.wav"}
    monkeypatch.setattr(maker, "_separator", lambda _: ("spleeter:4stems", tmp_path))
    monkeypatch.setattr(maker, "_stems", lambda *_: stems)
    made = maker.make(song[0], tmp_path / "chart", ChartOptions(plot=False))
    assert set(made.report["heard_in"].values()) == {"drums"}
    assert made.report["made"]["separation"] == "spleeter:4stems"
    music, _ = soundfile.read(made.files["music"])
    # Of the tone alone: as loud as it is, and no drum in it.
    assert np.abs(music).max() == pytest.approx(0.25, abs=0.02)


class Talk:
    """Hears a stroke about every second, none with the beat, in place of a transcriber."""

    def models_of(self, _: Modes) -> Mapping[str, ModelOrigin]:
        return {}

    def transcribe(self, path: Path, **_: object) -> Transcription:
        times_s = np.arange(1.0, 30.0) + np.random.default_rng(3).uniform(-0.4, 0.4, 29)
        beats = Beats(np.arange(0.0, 31.0), np.arange(31) % 4 + 1)
        strokes = strokes_of(times_s, ["snare"] * 29, np.full(29, 0.5))
        return Transcription(strokes, beats, 31.0, times_s, np.zeros((2, 100), np.float32), {"snare": "mix"}, {})


def test_few_strokes_that_keep_to_no_beat_are_refused_unless_the_tempo_is_given(tmp_path: Path) -> None:
    maker = ChartMaker(cast(Transcriber, Talk()))
    encode(tmp_path / "talk.wav", np.random.default_rng(4).normal(0, 0.1, (1, 31 * 8000)), 8000)
    with pytest.raises(DrumlessAudioError, match=r"few strokes, \d+ ms from any beat; .* give the tempo \(--bpm\)"):
        maker.make(tmp_path / "talk.wav", tmp_path / "chart")
    made = maker.make(tmp_path / "talk.wav", tmp_path / "chart", ChartOptions(bpm=60.0, plot=False))
    assert made.warnings == ("only 0.9 strokes were heard for each quarter note: are there drums in it?",)


def test_a_soundfont_that_is_none_is_refused_before_anything_is_heard(tmp_path: Path) -> None:
    (tmp_path / "kit.sf2").write_text("no soundfont")
    with pytest.raises(CorpusError, match=r"kit\.sf2: cannot be read as a soundfont"):
        ChartMaker.load(soundfont=tmp_path / "kit.sf2")


def test_options_survive_json() -> None:
    options = ChartOptions(
        title="a", tiers=("extreme", "basic"), time_signature=TimeSignature(7, 8), bpm=93.5, modes=Modes(rock=True)
    )
    assert options.tiers == ("basic", "extreme")
    assert ChartOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    with pytest.raises(ConfigError, match="no options of a chart"):
        ChartOptions.from_dict({})
    with pytest.raises(ConfigError, match="difficulty 'hard' is none of basic, advanced, extreme"):
        ChartOptions(tiers=("hard",))
    with pytest.raises(ConfigError, match="choose 20 to 400"):
        ChartOptions(bpm=float("nan"))


def test_titles_come_from_tags_or_names(tmp_path: Path) -> None:
    encode(tmp_path / "a song.flac", np.zeros((1, 8000)), 8000)
    assert labels_of(tmp_path / "a song.flac", ChartOptions()) == ("a song", "")
    assert labels_of(tmp_path / "a song.flac", ChartOptions(title="T", artist="A")) == ("T", "A")
    assert labels_of(tmp_path / "a song.flac", ChartOptions(title="", artist="")) == ("a song", "")
