"""Which run of which experiment a training writes to."""

from pathlib import Path

import pytest

from backbeat.errors import ConfigError
from backbeat.tracking import Tracking, tracked_run


def test_under_mlflow_run_the_run_that_it_opened_is_used(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    client = mlflow.MlflowClient(mlflow_uri)
    opened = client.create_run(client.create_experiment("theirs"))
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.info.run_id)
    with tracked_run(Tracking(mlflow_uri, "ours"), "beat-20", {"task": "beat"}) as run:
        assert run.run_id == opened.info.run_id
        run.metrics({"loss": 1.5})
    found = client.get_run(opened.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "beat-20"
    assert found.data.metrics == {"loss": 1.5}
    assert found.data.tags["task"] == "beat"
    assert client.get_experiment_by_name("ours") is None


def test_a_run_goes_on_whatever_experiment_it_is_of(mlflow_uri: str) -> None:
    with tracked_run(Tracking(mlflow_uri, "first"), "beat-20", {}) as first:
        pass
    with tracked_run(Tracking(mlflow_uri, "second"), "evaluation", {}, run_id=first.run_id) as again:
        assert again.run_id == first.run_id
    with tracked_run(Tracking(mlflow_uri, "second"), "evaluation", {}, run_id="unknown") as other:
        assert other.run_id != first.run_id


def test_a_store_that_makes_no_sense_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"), tracked_run(Tracking("gopher://x", "e"), "n", {}):
        pass
