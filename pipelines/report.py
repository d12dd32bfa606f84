"""Stage `report`: everything that the evaluation found, on one page."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from backbeat.dataset import PIPELINE_TASKS
from backbeat.errors import CorpusError
from backbeat.evaluation.report import write_report
from backbeat.evaluation.results import SUMMARY
from pipelines.settings import stage


@stage
def main(config: DictConfig) -> None:
    reports = Path(config.paths.reports)
    folders = [reports / task for task in PIPELINE_TASKS if (reports / task / SUMMARY).is_file()]
    if not folders:
        raise CorpusError(f"{reports}: holds no results; `dvc repro` makes them")
    page = reports / "index.html"
    choosing = reports / "recommenders"
    write_report(page, folders, "dvc repro report", choosing if choosing.is_dir() else None)
    print(f"{page}: {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
