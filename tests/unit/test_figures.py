"""Pictures: what they mark as right and wrong, which stretch they choose, and that they are the same every time."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
from listeners import make_track, reading_model

from backbeat.errors import ConfigError
from backbeat.evaluation import figures, track_figures
from backbeat.evaluation.measures import BY_STYLE, MEASURES, NARROW, limits
from backbeat.evaluation.track_figures import Heard, compare, worst_stretch_s
from backbeat.genre.score import expected_calibration_error, score_genres
from backbeat.look import drawing
from backbeat.statistics import Interval

PNG = b"\x89PNG\r\n\x1a\n"


def curves(losses=(3.0, 1.0, 2.0)) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(len(losses)), "train_loss": losses, "valid_loss": losses})


def is_svg(path) -> bool:
    return ElementTree.fromstring(path.read_bytes()).tag.endswith("svg")  # noqa: S314


def test_matches_are_those_of_the_score():
    marks = compare(np.array([1.0, 2.0, 3.0]), np.array([1.04, 2.2, 3.0, 3.02]), 0.05)
    assert marks.true_hit.tolist() == [True, False, True]
    assert marks.found_hit.sum() == 2
    assert marks.found_hit[0]
    assert not marks.found_hit[1]
    assert marks.errors_s.size == 3
    assert compare(np.empty(0), np.array([1.0]), 0.05).errors_s.tolist() == [1.0]


def test_the_stretch_with_most_errors_is_shown():
    assert worst_stretch_s(np.array([20.0, 21.0, 22.0]), 60.0, 8.0) == (18.0, 26.0)
    assert worst_stretch_s(np.array([59.9]), 60.0, 8.0)[1] == 60.0
    assert worst_stretch_s(np.empty(0), 60.0, 8.0) == (0.0, 8.0)
    assert worst_stretch_s(np.array([3.0]), 9.0, 8.0) == (0.0, 9.0)


def test_reliability_bins_make_up_the_calibration_error():
    rng = np.random.default_rng(5)
    confidences = rng.uniform(0.2, 1.0, 200)
    correct = (rng.random(200) < confidences**2).astype(float)
    table = figures.reliability_bins(confidences, correct)
    assert table["count"].sum() == 200
    gaps = (table["confidence"] - table["accuracy"]).abs() * table["count"]
    assert gaps.sum() / 200 == pytest.approx(expected_calibration_error(confidences, correct))


def test_learning_curves_name_the_epoch_that_was_kept(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(figures, "title", lambda axes, *lines: said.append(lines))
    figures.learning_curves(tmp_path / "a.svg", "beat", curves())
    assert said == [("Learning curve, beat", "validation loss 1.000 at epoch 2 of 3")]
    assert is_svg(tmp_path / "a.svg")


def test_learning_curves_without_a_column_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="learning curves of beat: no valid_loss"):
        figures.learning_curves(tmp_path / "a.svg", "beat", curves().drop(columns="valid_loss"))
    with pytest.raises(ConfigError, match="no epoch"):
        figures.learning_curves(tmp_path / "a.svg", "beat", curves(()))
    assert not (tmp_path / "a.svg").exists()


def test_scores_by_style_take_groups_without_an_interval_or_a_measure(tmp_path):
    groups = {
        "all": {"beat_f": Interval(0.8, 0.7, 0.9, 12), "downbeat_f": Interval(0.5, 0.4, 0.6, 11)},
        "jazz": {"beat_f": Interval(0.6, math.nan, math.nan, 1)},
        "": {"beat_f": Interval(0.9, 0.8, 1.0, 11), "downbeat_f": Interval(0.5, 0.4, 0.6, 11)},
    }
    figures.scores_by_style(tmp_path / "a.svg", "beat", groups, ("beat_f", "downbeat_f", "cmlt"), 0.95)
    assert is_svg(tmp_path / "a.svg")
    with pytest.raises(ConfigError, match="has none of the measures cmlt"):
        figures.scores_by_style(tmp_path / "b.svg", "beat", groups, ("cmlt",), 0.95)


def test_confusion_and_reliability_are_drawn(tmp_path):
    probabilities = np.array([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]])
    scores = score_genres(["jazz", "jazz", "rock"], probabilities, ("jazz", "rock"))
    figures.confusion_matrix(tmp_path / "confusion.svg", scores)
    figures.reliability(tmp_path / "reliability.png", probabilities.max(axis=1), np.array([1.0, 0.0, 1.0]), 0.1)
    assert is_svg(tmp_path / "confusion.svg")
    assert (tmp_path / "reliability.png").read_bytes().startswith(PNG)


def drawn_marks(monkeypatch) -> list[tuple[float, int, int, int, int]]:
    """Record each lane that is drawn: base, true and found events, and how many of them have their match."""
    lanes = []
    original = track_figures._lane

    def record(axes, base, heard, column, colour, marks, *rest):
        lanes.append(
            (base, marks.true_s.size, marks.found_s.size, int(marks.true_hit.sum()), int(marks.found_hit.sum()))
        )
        original(axes, base, heard, column, colour, marks, *rest)

    monkeypatch.setattr(track_figures, "_lane", record)
    return lanes


def heard(task: str, late_s: float = 0.0) -> tuple:
    track = make_track(0, duration_s=12.0, late_s=late_s)
    model = reading_model(task)
    activations = model.activations(track.log_mel)
    return track, model, Heard("made/t000", "F 1.000", track.log_mel, 100.0, activations, model.frame_rate_hz)


@pytest.mark.parametrize(("late_s", "hits"), [(0.0, 22), (0.2, 0)])
def test_beats_are_marked_right_or_wrong(tmp_path, monkeypatch, late_s, hits):
    lanes = drawn_marks(monkeypatch)
    track, model, view = heard("beat", late_s)
    track_figures.draw_beats(tmp_path / "a.png", view, track.beats, model.decode(view.activations))
    assert [(base, hit) for base, _, _, hit, _ in lanes] == [(1.0, hits), (0.0, 6 if hits else 0)]
    assert lanes[0][1:3] == (22, 22)
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)


def test_each_drum_that_sounds_has_a_lane(tmp_path, monkeypatch):
    lanes = drawn_marks(monkeypatch)
    track, model, view = heard("onset")
    track_figures.draw_onsets(tmp_path / "a.png", view, track.onsets, *model.decode(view.activations))
    # Kick at the bottom, then snare, closed hi-hat, and any onset on top: 22 strokes and 6 notes between them.
    assert sorted(lanes) == [(0.0, 11, 11, 11, 11), (1.0, 11, 11, 11, 11), (2.0, 22, 22, 22, 22), (3.0, 28, 28, 28, 28)]


def test_a_picture_is_the_same_every_time(tmp_path):
    for suffix in (".png", ".svg"):
        for name in ("a", "b"):
            figures.learning_curves(tmp_path / f"{name}{suffix}", "beat", curves())
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_other_formats_are_refused(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"a\.gif: a picture is one of \.png, \.svg, \.pdf"),
        drawing(tmp_path / "a.gif", 1, 1),
    ):
        pass


def test_every_measure_that_is_shown_is_explained():
    from backbeat.evaluation.scoring import HEADLINES

    for names in (*HEADLINES.values(), *NARROW.values(), *BY_STYLE.values()):
        for name in names:
            assert MEASURES[name].meaning.endswith("."), name


def test_limits_are_short():
    assert limits(Interval(0.9, 0.84, 0.996, 5)) == ".84–1.0"
    assert limits(Interval(0.9, math.nan, math.nan, 1)) == ""
