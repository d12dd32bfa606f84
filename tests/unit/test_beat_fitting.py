"""Weights found again from choices made by known ones, confidence that means what it says, and files that are none."""

import json
from pathlib import Path

import numpy as np
import pytest
from beat_choices import weights

from backbeat.errors import ConfigError, ModelError
from backbeat.recommend.beats.confidence import calibrate, calibration_error
from backbeat.recommend.beats.fitting import Choice, fit
from backbeat.recommend.beats.rules import RULES, RuleFits
from backbeat.recommend.beats.scoring import read_weights

STRONG, WEAK = RULES.index("tempo"), RULES.index("energy")


def made_choices(count: int, beats: int = 30, seed: int = 0) -> list[Choice]:
    """Choices by chance, of scores in which tempo weighs 6, the model 4, energy 1, and all else nothing."""
    random = np.random.default_rng(seed)
    choices = []
    for _ in range(count):
        values = random.random((len(RULES), beats)).astype(np.float32)
        similarity = random.uniform(-1, 1, beats).astype(np.float32)
        utility = 6 * values[STRONG] + values[WEAK] + 4 * similarity + random.gumbel(size=beats)
        rules = RuleFits(values, np.ones_like(values), np.ones(beats), np.ones(beats), np.zeros(beats, dtype=np.int64))  # type: ignore[arg-type]
        choices.append(Choice(rules, similarity, int(np.argmax(utility))))
    return choices


def test_the_weights_that_made_the_choices_are_found() -> None:
    found = fit(made_choices(300), {"from": "a test"}, with_model=True)
    assert found.weights["tempo"] == pytest.approx(6, rel=0.2)
    assert found.weights["learned"] == pytest.approx(4, rel=0.2)
    assert found.weights["energy"] == pytest.approx(1, abs=0.5)
    assert all(found.weights[name] < 0.5 for name in ("key", "style", "metre", "pulse"))
    assert all(weight >= 0 for weight in found.weights.values())
    assert found.centres["tempo"] == pytest.approx(0.5, abs=0.03)
    assert found.origin == {"from": "a test", "takes": 300, "seed": 0}


def test_fitting_is_reproducible_and_leaves_the_model_out_where_it_is_not_asked() -> None:
    choices = made_choices(60)
    alone = fit(choices, {}, with_model=False, seed=3)
    assert alone == fit(choices, {}, with_model=False, seed=3)
    assert alone.weights["learned"] == 0
    with pytest.raises(ConfigError, match="4 takes are too few"):
        fit(choices[:4], {}, with_model=False)


def test_confidence_is_calibrated_on_takes_that_it_was_not_fitted_on() -> None:
    found = fit(made_choices(200), {}, with_model=True)
    scores, together = [], []
    for choice in made_choices(200, seed=1):
        score = found.parts(choice.rules, choice.similarity).sum(axis=0, dtype=np.float64)
        scores.append(score)
        together.append(np.arange(score.size) == choice.truth)
    confidence = found.confidence(np.concatenate(scores))
    truth = np.concatenate(together)
    assert calibration_error(confidence, truth) < 0.06
    assert confidence[truth].mean() > 0.75 > 0.3 > confidence[~truth].mean()


def test_a_calibration_error_is_the_gap_to_what_happened() -> None:
    together = np.array([True, True, False, False, False, False])
    # Of pairs at 0.85, with both sides weighing the same, two thirds belong together: half a side against a quarter.
    confidence = np.array([0.85, 0.15, 0.85, 0.15, 0.15, 0.15])
    gap = 0.375 * abs(0.85 - 0.25 / 0.375) + 0.625 * abs(0.15 - 0.25 / 0.625)
    assert calibration_error(confidence, together) == pytest.approx(gap)


def test_scores_that_say_nothing_give_even_odds() -> None:
    random = np.random.default_rng(0)
    slope, offset = calibrate(random.normal(size=2000), np.arange(2000) < 100)
    assert abs(slope) < 0.3
    assert abs(offset) < 0.1


@pytest.mark.parametrize("text", ["", "[1]", '{"rules": {}}', '{"rules": {"weights": {}, "centres": {}}}'])
def test_damaged_weights_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fitted.json"
    path.write_text(text)
    with pytest.raises(ModelError, match="no weights of beat selection"):
        read_weights(path)


def test_weights_of_other_rules_are_refused(tmp_path: Path) -> None:
    values = weights().to_dict()
    values["weights"]["mood"] = 1.0
    path = tmp_path / "fitted.json"
    path.write_text(json.dumps({"rules": values}))
    with pytest.raises(ModelError, match="fit them anew"):
        read_weights(path)
