"""Stage `reference`: a sample of the corpora, measured as traffic is, which drift is told by."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from backbeat.analysis.analyzer import Analyzer
from backbeat.corpus.contract import read_corpus
from backbeat.dataset import TASKS, content_hashes, read_lines
from backbeat.errors import CorpusError
from backbeat.files import atomic_path
from backbeat.monitoring.reference import REFERENCE, Reference
from backbeat.monitoring.reference_finding import FOLDER
from backbeat.monitoring.reference_making import ReferenceSettings, choose, measure, table_from
from backbeat.monitoring.rows import lineage_of
from backbeat.tracking import Tracking, git_commit, tracked_run
from pipelines.settings import read, stage


@stage
def main(config: DictConfig) -> None:
    settings, paths = read(ReferenceSettings, config.drift.reference), config.paths
    labels = Path(paths.labels)
    # Halves of songs are no music that comes in.
    halves = {path.stem for path in (labels / "pairing").glob("*.jsonl") if read_lines(path)}
    names = sorted({path.stem for path in (labels / "audio").glob("*.jsonl")} - halves)
    if not names:
        raise CorpusError(f"{labels}: no corpus of whole pieces is validated; `dvc repro` does it")
    wanted = choose([read_corpus(Path(paths.corpora) / name) for name in names], settings)
    models = {task: Path(paths.models) / task for task in TASKS}
    # Before hundreds of tracks are heard: whether the models are there at all.
    analyzer = Analyzer.load(models)
    table = table_from(list(measure(wanted, models, settings.workers)))
    hashes = content_hashes(labels, "beat")
    about = {
        "models": lineage_of(analyzer.models, analyzer.specs, dict.fromkeys(TASKS, "trained")),
        "corpora": {name: {"hash": hashes[name], "tracks": int((table["corpus"] == name).sum())} for name in names},
        "commit": git_commit(),
        "seed": settings.seed,
    }
    folder = Path(paths.reference)
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        Reference(table, about).write(temporary / REFERENCE)
    for task, spec in analyzer.specs.items():
        tags = {"task": task, "commit": spec.commit, "data": spec.data_hash}
        with tracked_run(read(Tracking, config.tracking), f"{task}-reference", tags, run_id=spec.run) as run:
            run.files(folder, FOLDER)
    judged = int(table["judged"].astype(bool).sum())
    print(f"{folder / REFERENCE}: {judged} tracks judged, {len(table) - judged} heard")


if __name__ == "__main__":
    main()
