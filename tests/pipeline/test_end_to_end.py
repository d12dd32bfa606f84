"""The whole pipeline, tiny: `dvc repro` from a fresh copy of the repository, then again after changes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from backbeat.monitoring.reference import Reference

ROOT = Path(__file__).resolve().parents[2]
TASKS = ("beat", "onset", "genre", "separation", "pairing", "listening")
#: What a model learnt from, where it is not the user's own music.
LEARNT_FROM = {"separation": "multitracks=md5:", "pairing": "pairs=md5:", "listening": "simulated=sha256:"}


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    # Other tests run beside: threads that wait must not keep a processor busy.
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def ran(output: str) -> set[str]:
    """Names of the stages that `dvc repro` ran."""
    lines = [line for line in output.splitlines() if line.startswith("Running stage ")]
    return {line.split("'")[1] for line in lines}


def copy_repository(target: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    subprocess.run(["git", "init", "-q"], cwd=target, check=True)


def write_own_music(folder: Path) -> None:
    """Twelve tracks of a user's own: clicks with beats in two genres, as a plain genre/file tree."""
    rng = np.random.default_rng(0)
    for number in range(12):
        genre = ("clicks", "noise")[number % 2]
        rate = 22050
        times_s = np.arange(0.5, 7.5, 0.45 + 0.01 * number)
        samples = 0.01 * rng.standard_normal(8 * rate)
        for time_s in times_s:
            start = round(time_s * rate)
            burst = rng.standard_normal(400) if genre == "noise" else np.sin(np.arange(400) * 0.3)
            samples[start : start + 400] += 0.5 * burst * np.exp(-np.arange(400) / 80)
        path = folder / genre / f"own{number:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, rate)
        lines = [f"{time_s:.3f}\t{index % 4 + 1}\n" for index, time_s in enumerate(times_s)]
        path.with_suffix(".beats").write_text("".join(lines))


def write_own_stems(folder: Path) -> None:
    """Eight songs of two stems each, a folder a song: noise that is struck, and a tone."""
    rng = np.random.default_rng(0)
    for number in range(8):
        times_s = np.arange(3 * 22050) / 22050
        stems = {
            "drums": 0.3 * rng.standard_normal(times_s.size) * np.exp(-20 * (times_s % 0.5)),
            "bass": 0.3 * np.sin(2 * np.pi * (60 + 10 * number) * times_s),
        }
        for name, samples in stems.items():
            path = folder / f"song {number}" / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, 22050)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A copy of the repository in which the smoke experiment has run, with a corpus of the user's own beside."""
    folder = tmp_path_factory.mktemp("clone")
    copy_repository(folder)
    write_own_music(folder / "data/mine")
    (folder / "dvc.lock").unlink(missing_ok=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["experiment"] = "smoke"
    params["corpora"]["mine"] = {"kind": "folder", "source": "data/mine"}
    write_own_stems(folder / "data/multitracks")
    params["corpora"]["multitracks"] = {"kind": "stems", "source": "data/multitracks"}
    params["tasks"]["separation"] = "stems"
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder, run(folder, "dvc", "repro")


def test_every_stage_runs_and_leaves_what_it_promises(built: tuple[Path, str]) -> None:
    folder, output = built
    stages, names = ("corpus", "validate", "features", "stems"), ("rendered", "pairs", "mine", "multitracks")
    corpora = {f"{stage}@{name}" for stage in stages for name in names}
    models = {f"{stage}@{task}" for stage in ("train", "evaluate") for task in TASKS}
    assert ran(output) == {*corpora, *models, "listeners", "recommenders", "reference", "report"}
    for task in TASKS:
        spec = json.loads((folder / f"models/{task}/spec.json").read_text())
        assert spec["run"]
        assert LEARNT_FROM.get(task, "mine=md5:") in spec["data_hash"]
        assert task == "listening" or ".dir" in spec["data_hash"]
        metrics = json.loads((folder / f"reports/metrics/{task}.json").read_text())
        assert metrics["tracks"] > 0
    reference = Reference.read(folder / "data/reference/reference.parquet")
    assert set(reference.table["corpus"]) == {*names} - {"pairs"}
    assert reference.runs["beat"] == json.loads((folder / "models/beat/spec.json").read_text())["run"]
    page = (folder / "reports/index.html").read_text()
    assert "<html" in page
    assert not (folder / "models/.checkpoints/beat").exists()
    strays = run(folder, "git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert [line for line in strays if "pipelines" in line and ".log" in line] == []


def test_metrics_and_plots_are_known_to_dvc(built: tuple[Path, str]) -> None:
    folder, _ = built
    shown = json.loads(run(folder, "dvc", "metrics", "show", "--json").splitlines()[-1])
    (workspace,) = shown.values()
    assert {Path(name).stem for name in workspace["data"]} == {*TASKS, "recommenders"}
    run(folder, "dvc", "plots", "show", "--out", "plots")
    assert (folder / "plots/index.html").is_file()


def test_each_training_is_a_finished_run_in_mlflow(built: tuple[Path, str]) -> None:
    import mlflow

    folder, _ = built
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    for task in TASKS:
        spec = json.loads((folder / f"models/{task}/spec.json").read_text())
        run_info = client.get_run(spec["run"])
        assert run_info.info.status == "FINISHED"
        corpus = LEARNT_FROM.get(task, "rendered=").partition("=")[0]
        assert {item.dataset.name for item in run_info.inputs.dataset_inputs} >= {corpus}
        assert any(name.startswith("test_") for name in run_info.data.metrics)


def test_nothing_runs_twice(built: tuple[Path, str]) -> None:
    folder, _ = built
    assert ran(run(folder, "dvc", "repro")) == set()


def test_a_beat_parameter_reruns_the_beat_model_only(built: tuple[Path, str]) -> None:
    folder, _ = built
    path = folder / "conf/task/beat.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace("learning_rate: 3.0e-3", "learning_rate: 2.0e-3"))
        assert path.read_text() != before
        assert ran(run(folder, "dvc", "repro")) == {
            "train@beat",
            "evaluate@beat",
            "recommenders",
            "reference",
            "report",
        }
    finally:
        path.write_text(before)


def test_one_annotation_reruns_what_depends_on_it(built: tuple[Path, str]) -> None:
    folder, _ = built
    run(folder, "dvc", "repro")
    path = folder / "data/mine/clicks/own00.beats"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    stages = ran(run(folder, "dvc", "repro"))
    changed = {"corpus@mine", "validate@mine", "train@beat", "evaluate@beat", "reference", "report"}
    # which hears no difference, so that nothing is learnt anew
    assert stages == {*changed, "listeners", "recommenders"}


def test_a_broken_annotation_stops_the_pipeline_with_file_and_line(built: tuple[Path, str]) -> None:
    folder, _ = built
    path = folder / "data/mine/clicks/own02.beats"
    before = path.read_text()
    try:
        path.write_text(before + "2.0\t1\n")
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            ["dvc", "repro"], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode != 0
        assert f"own02.beats:{len(before.splitlines()) + 1}: times do not increase" in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    finally:
        path.write_text(before)
