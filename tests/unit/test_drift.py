"""Drift: what is called so, what is not, and what is not judged; by Evidently, and by SciPy with equal results."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from monitored import RUNS, reference, settings, traffic

from backbeat.analysis.analyzer import shipped_models
from backbeat.errors import ConfigError, MonitoringError
from backbeat.monitoring.comparing import Sample, chi_square, compared, direct, embedding_threshold
from backbeat.monitoring.drift import Verdict, check, distinct
from backbeat.monitoring.reference import REFERENCE, Reference, shipped_reference
from backbeat.monitoring.reference_finding import FOLDER, References
from backbeat.tracking import Tracking, tracked_run

BEFORE = reference()


def quick(rows: pd.DataFrame, before: Reference = BEFORE, **changes: Any) -> Verdict:
    return check(rows, before, settings(**changes), direct)


def drifted(verdict: Verdict) -> set[str]:
    return {column.name for column in verdict.columns if column.drift}


def column(verdict: Verdict, name: str) -> Any:
    return next(found for found in verdict.columns if found.name == name)


def test_evidently_and_scipy_say_the_same_number_for_number() -> None:
    random = np.random.default_rng(0)
    samples = {
        "same": Sample("number", random.normal(size=90), random.normal(size=200)),
        "moved": Sample("number", random.normal(1, 1, 90), random.normal(size=200)),
        "constant": Sample("number", np.ones(90), np.ones(200)),
        "became constant": Sample("number", np.ones(90), random.normal(size=200)),
        "names": Sample("name", random.choice(list("abc"), 90), random.choice(list("abcd"), 200)),
        "one name": Sample("name", np.full(90, "a"), np.full(200, "a")),
        "other names": Sample("name", np.full(90, "a"), np.full(200, "b")),
    }
    slow, fast = compared(samples), direct(samples)
    for name in samples:
        assert slow[name] == pytest.approx(fast[name], rel=1e-12), name
    assert slow["one name"] == (1.0, 0.0)
    assert slow["other names"][1] == pytest.approx(math.sqrt(math.log(2)))


def test_the_same_verdict_by_evidently() -> None:
    rows = traffic(120, 7, quieter_db=10, shift=1.0)
    by_scipy, by_evidently = quick(rows).to_dict(), check(rows, BEFORE, settings()).to_dict()
    assert by_scipy["reason"] == by_evidently["reason"]
    assert by_scipy["embedding"] == by_evidently["embedding"]
    for one, other in zip(by_scipy["columns"], by_evidently["columns"], strict=True):
        assert one == {**other, "p": pytest.approx(other["p"]), "distance": pytest.approx(other["distance"])}


def test_traffic_like_the_reference_is_not_drift() -> None:
    verdict = quick(traffic(200, 1))
    assert verdict.drift is False
    assert verdict.reason == "as the reference"
    assert (verdict.rows, verdict.window, verdict.share) == (200, (1000.0, 1199.0), 0.0)
    assert {column.drift for column in verdict.columns} == {False}
    assert len(verdict.columns) == 29


def test_quieter_sound_is_drift_of_what_comes_in() -> None:
    verdict = quick(traffic(200, 2, quieter_db=8))
    assert verdict.drift is True
    assert drifted(verdict) == {"loudness_lufs", "level"}
    assert verdict.groups["input"].drift
    assert not verdict.groups["output"].drift
    assert "2 of 9 input columns" in verdict.reason
    assert column(verdict, "loudness_lufs").distance > 2


def test_one_column_alone_is_not_drift_of_the_whole() -> None:
    rows = traffic(200, 3)
    rows["codec"] = "opus"
    verdict = quick(rows)
    assert drifted(verdict) == {"codec"}
    assert verdict.drift is False
    assert verdict.reason.startswith("not enough for drift: 1 of 9 input columns (codec)")
    assert quick(rows, share_input=0.1).drift is True


def test_the_embedding_alone_is_drift() -> None:
    verdict = quick(traffic(200, 4, shift=0.5))
    assert drifted(verdict) == set()
    assert verdict.drift is True
    assert verdict.embedding is not None
    assert verdict.embedding.score > verdict.embedding.threshold
    assert verdict.embedding.p == pytest.approx(1 / 200)


def test_trifles_in_large_windows_are_not_drift() -> None:
    rows = traffic(2000, 5)
    rows["brightness_band"] = rows["brightness_band"].astype(float) + 0.8
    found = column(quick(rows, reference(1500)), "brightness_band")
    assert found.p < 1e-3
    assert found.distance == pytest.approx(0.2, abs=0.06)
    assert found.drift is False


def test_few_files_are_not_judged_however_different() -> None:
    verdict = quick(traffic(79, 6, quieter_db=30, shift=5.0))
    assert verdict.drift is None
    assert verdict.columns == ()
    assert verdict.reason == "too few files to judge: 79 of different content, 80 are needed"
    empty = quick(traffic(0, 6))
    assert (empty.drift, empty.rows) == (None, 0)


def test_a_file_sent_again_and_again_counts_once() -> None:
    rows = pd.concat([traffic(79, 6), *[traffic(1, 8)] * 300], ignore_index=True)
    verdict = quick(rows)
    assert verdict.rows == 80
    assert verdict.drift is False


def test_rows_of_one_file_from_several_endpoints_are_put_together() -> None:
    rows = traffic(2, 9)
    whole = rows.iloc[0].to_dict()
    beats = {
        **whole,
        **{name: math.nan for name in whole if name.startswith(("genre", "onset", "drum"))},
        "embedding": None,
    }
    genre = {**whole, **{name: math.nan for name in whole if name.startswith(("beat_v", "beat_r", "tempo"))}}
    genre["beat_confidence"] = None
    made = distinct(pd.DataFrame([genre, beats, rows.iloc[1].to_dict()], dtype=object))
    assert len(made) == 2
    first = made.iloc[0]
    assert first["genre"] == whole["genre"]
    assert first["tempo_bpm"] == whole["tempo_bpm"]
    assert first["beat_confidence"] == whole["beat_confidence"]
    assert first["embedding"] is whole["embedding"]


def test_what_was_not_asked_for_is_not_missing() -> None:
    rows = traffic(200, 10)
    for name in rows.columns:
        if name.startswith(("genre", "onset", "drum")) or name == "time_signature":
            rows[name] = math.nan
    rows["embedding"] = None
    verdict = quick(rows)
    assert verdict.drift is False
    assert column(verdict, "genre").drift is None
    assert column(verdict, "genre").reason == "not judged: traffic has it 0 times, 40 are needed"
    assert column(verdict, "tempo_bpm").drift is False
    assert verdict.embedding is None
    assert verdict.groups["output"].judged == 3


def test_more_that_has_no_tempo_is_drift_of_that_column() -> None:
    rows = traffic(200, 11)
    rows.loc[rows.index[:120], "tempo_bpm"] = None
    found = column(quick(rows), "tempo_bpm")
    assert found.drift is True
    assert found.reason == "how often there is none"
    assert found.missing_distance == pytest.approx(0.6, abs=0.05)
    rows["tempo_bpm"] = None
    found = column(quick(rows), "tempo_bpm")
    assert (found.p, found.now, found.drift) == (None, 0, True)


def test_columns_that_are_constant_or_absent_are_no_error() -> None:
    rows = traffic(200, 12).drop(columns=["brightness_band"])
    rows["duration_s"] = 30.0
    verdict = quick(rows)
    assert column(verdict, "brightness_band").drift is None
    assert column(verdict, "duration_s").drift is True
    assert column(verdict, "warnings").drift is False


def test_answers_of_other_models_are_not_compared() -> None:
    verdict = quick(traffic(200, 13, shift=3.0, runs={**RUNS, "genre": "g2"}))
    assert verdict.embedding is None
    assert column(verdict, "genre").drift is None
    assert column(verdict, "tempo_bpm").drift is False
    others = quick(traffic(200, 13, runs=dict.fromkeys(RUNS, "other")))
    assert others.groups["output"].judged == 0
    assert "of other models than the reference's" in others.reason
    assert others.drift is False


def test_false_alarms_are_rarer_than_the_level() -> None:
    alarms = sum(bool(quick(traffic(80, 100 + number), level=0.05).drift) for number in range(30))
    # Of 30 at 5 % more than 5 come once in 300 times.
    assert alarms <= 5


def test_a_new_name_is_no_infinity() -> None:
    before, now = np.array(["mp3"] * 300), np.array(["mp3"] * 99 + ["opus"])
    assert 0.05 < chi_square(before, now) <= 1
    assert chi_square(before, np.array(["opus"] * 100)) < 1e-50


def test_the_threshold_of_embeddings_is_what_permutations_reach() -> None:
    random = np.random.default_rng(0)
    before, now = (random.normal(size=(count, 6)).astype(np.float32) for count in (150, 60))
    threshold, p = embedding_threshold(now, before, level=0.05, permutations=399, seed=0)
    assert 0.05 < p <= 1
    assert 0 < threshold < 0.02
    _, moved = embedding_threshold(now + 0.7, before, level=0.05, permutations=399, seed=0)
    assert moved == 1 / 400


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"level": 0.0}, "level"),
        ({"min_rows": 1}, "min_rows"),
        ({"share_output": 0.0}, "share_output"),
        ({"permutations": 100}, "199 permutations"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(**changes)


def test_a_verdict_is_json() -> None:
    for rows in (traffic(120, 14, quieter_db=20), traffic(3, 14)):
        told = json.loads(json.dumps(quick(rows).to_dict(), allow_nan=False))
        assert {"drift", "rows", "share", "reason", "columns", "groups", "embedding", "window"} <= set(told)
    assert told["drift"] is None


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "reference.parquet"
    table = BEFORE.table.copy()
    table.loc[table.index[:30], "judged"] = False
    for name in ("tempo_bpm", "genre", "beat_confidence"):
        table.loc[table.index[:30], name] = math.nan
    table["embedding"] = [None, *table["embedding"][1:]]
    Reference(table, BEFORE.about).write(path)
    back = Reference.read(path)
    assert back.about == BEFORE.about
    assert back.runs == RUNS
    for name in ("tempo_bpm", "genre", "key_confidence", "genre_unsure", "codec", "sample_rate_hz"):
        for was, found in zip(table[name], back.table[name], strict=True):
            both_nan = isinstance(was, float) and math.isnan(was) and isinstance(found, float) and math.isnan(found)
            assert both_nan or was == found, name
    assert back.table["embedding"][0] is None
    assert back.table["embedding"][1] == pytest.approx(table["embedding"][1], abs=2e-3)
    rows = traffic(120, 15)
    first, second = quick(rows, Reference(table, BEFORE.about)), quick(rows, back)
    assert [(c.name, c.p, c.missing_p, c.before) for c in first.columns] == [
        (c.name, pytest.approx(c.p), c.missing_p, c.before) for c in second.columns
    ]
    path.write_bytes(b"PAR1 and nothing")
    with pytest.raises(MonitoringError, match="is damaged; `dvc repro reference` makes it"):
        Reference.read(path)
    with pytest.raises(MonitoringError, match="no reference here"):
        Reference.read(tmp_path / "none.parquet")


def test_the_reference_of_the_models_that_answered_is_chosen(tmp_path: Path) -> None:
    mine, shipped = tmp_path / "mine.parquet", tmp_path / "shipped.parquet"
    BEFORE.write(shipped)
    others = {task: {**thread, "run": f"new-{task}"} for task, thread in BEFORE.about["models"].items()}
    Reference(BEFORE.table, {**BEFORE.about, "models": others}).write(mine)
    references = References([mine, shipped], "", tmp_path)
    assert references.fitting(RUNS).runs == RUNS
    assert references.fitting({"beat": "new-beat"}).runs["beat"] == "new-beat"
    assert references.fitting({}).runs["beat"] == "new-beat"
    with pytest.raises(MonitoringError, match="no reference to hold traffic against"):
        References([tmp_path / "none.parquet"], "", tmp_path).fitting(RUNS)


def test_a_reference_is_found_by_the_runs_that_answered(mlflow_uri: str, tmp_path: Path) -> None:
    tracking = Tracking(mlflow_uri, "backbeat")
    shipped = tmp_path / "shipped.parquet"
    BEFORE.write(shipped)
    # A run that trained, beside which its reference was put, and one by which a model that ships was registered.
    with tracked_run(tracking, "trained", {}) as trained:
        others = {task: {**thread, "run": trained.run_id} for task, thread in BEFORE.about["models"].items()}
        Reference(BEFORE.table, {**BEFORE.about, "models": others}).write(tmp_path / "made" / REFERENCE)
        trained.files(tmp_path / "made", FOLDER)
    with tracked_run(tracking, "registered", {"trained_by": RUNS["genre"]}) as registered:
        pass
    references = References([shipped], tracking.uri, tmp_path / "cache")
    found = references.fitting(dict.fromkeys(RUNS, trained.run_id))
    assert set(found.runs.values()) == {trained.run_id}
    assert (tmp_path / "cache" / f"{trained.run_id}.parquet").is_file()
    again = references.fitting({"genre": registered.run_id})
    assert again.runs == {**RUNS, "genre": registered.run_id}
    assert references.fitting({"genre": "0" * 32}).runs == RUNS
    with pytest.raises(ConfigError, match="cannot be used"):
        References([], "http://127.0.0.1:9", tmp_path / "cache").fitting({"genre": "0" * 32})


@pytest.mark.skipif(not shipped_reference().is_file(), reason="no reference ships with this checkout")
def test_the_reference_that_ships_is_of_the_models_that_ship() -> None:
    made = Reference.read(shipped_reference())
    for task, folder in shipped_models().items():
        assert made.runs[task] == json.loads((folder / "spec.json").read_text())["run"]
    assert shipped_reference().stat().st_size < 1_000_000
    judged = made.table[made.table["judged"].astype(bool)]
    assert len(judged) >= 500
    # What the models' cards say of their test split: 0.769 and 0.941.
    assert judged["genre_right"].mean() == pytest.approx(0.77, abs=0.04)
    assert judged["beat_f"].mean() == pytest.approx(0.94, abs=0.02)
