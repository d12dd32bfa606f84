"""Training that goes on from weights that there are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_training import TRAINER, places, settings, weights

from backbeat.errors import ConfigError, ModelError
from backbeat.features import FeatureParams
from backbeat.learning import Optimisation
from backbeat.model import CARD, load_spec
from backbeat.starting import going_on, started, take_weights
from backbeat.tracking import Tracking, prepare_store
from backbeat.training import Places, TaskSettings, train

__all__ = ["places"]


def still(task: str) -> TaskSettings:
    """Settings with which training changes next to nothing."""
    made = settings(task, epochs=1)
    return replace(made, optimisation=replace(made.optimisation, learning_rate=1e-9))


def test_going_on_is_gentler_and_shorter() -> None:
    optimisation = Optimisation(16, 4, 20.0, 3e-3, 0.01, 1.0, 0)
    gentler = going_on(optimisation)
    assert gentler.learning_rate == pytest.approx(3e-4)
    assert gentler == replace(optimisation, epochs=4, learning_rate=gentler.learning_rate)
    assert going_on(replace(optimisation, epochs=1)).epochs == 1
    assert going_on(optimisation, 7).epochs == 7


def test_a_run_is_gone_on_from_and_named(places: Callable[[str], Places], mlflow_uri: str) -> None:
    import mlflow

    tracking = Tracking(mlflow_uri, "tests")
    first = train(settings("onset", epochs=4), TRAINER, tracking, places("first"), {})
    task = replace(still("onset"), start_from=first.run)
    with started(task.start_from, tracking) as start:
        assert start is not None
        assert load_spec(start).run == first.run
        spec = train(task, TRAINER, tracking, places("second"), {}, start)
    before, after = weights(places("first")), weights(places("second"))
    # Normalisation goes on counting what it hears.
    for name in sorted(name for name in before if "running" not in name and "tracked" not in name):
        np.testing.assert_allclose(after[name], before[name], atol=1e-6, err_msg=name)
    assert spec.start_from == first.run
    assert first.start_from == ""
    assert f"Training began from: the weights of `{first.run}`" in (places("second").output / CARD).read_text()
    assert "Training began from: nothing" in (places("first").output / CARD).read_text()
    client = mlflow.MlflowClient(tracking.uri)
    assert client.get_run(spec.run).data.tags["start"] == first.run
    with started(str(places("first").output), tracking) as start:
        assert start == places("first").output
    with started("", tracking) as start:
        assert start is None


@pytest.mark.parametrize("start_from", ["0" * 32, "../elsewhere", "models/none"])
def test_what_is_neither_run_nor_folder_is_refused(mlflow_uri: str, start_from: str) -> None:
    tracking = Tracking(mlflow_uri, "tests")
    prepare_store(tracking)
    with pytest.raises(ConfigError, match=f"{start_from}"), started(start_from, tracking):
        pass


def test_other_genres_get_a_new_head_on_the_same_network(
    places: Callable[[str], Places], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train(settings("genre"), TRAINER, Tracking("", ""), places("first"), {})
    for path in (tmp_path / "labels/genre").glob("*.jsonl"):
        path.write_text(path.read_text().replace('"low"', '"deep"'))
    spec = train(still("genre"), TRAINER, Tracking("", ""), places("second"), {}, places("first").output)
    assert spec.classes == ("deep", "high")
    assert spec.start_from == str(places("first").output)
    assert "knows high, low, the data have deep, high: its head begins anew" in caplog.text
    before, after = weights(places("first")), weights(places("second"))
    np.testing.assert_allclose(after["embedding.weight"], before["embedding.weight"], atol=1e-6)
    assert not np.allclose(after["head.weight"], before["head.weight"], atol=1e-3)


def test_a_model_that_does_not_fit_is_refused(places: Callable[[str], Places]) -> None:
    train(settings("beat", epochs=1), TRAINER, Tracking("", ""), places("first"), {})
    start = places("first").output
    wider = settings("beat", network={"channels": [4, 4], "width": 12, "layers": 2, "kernel": 3})
    with pytest.raises(ModelError, match="does not fit the network"):
        train(wider, TRAINER, Tracking("", ""), places("second"), {}, start)
    with pytest.raises(ModelError, match="is a model for beat, not for onset"):
        train(settings("onset"), TRAINER, Tracking("", ""), places("second"), {}, start)
    with pytest.raises(ModelError, match="learnt from other spectrograms"):
        take_weights(start, None, "beat", FeatureParams(mel_bands=32))  # type: ignore[arg-type]
