"""Stage `validate`: hold one corpus to the contract, and gather its labels by task."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from backbeat.corpus.contract import read_corpus
from backbeat.corpus.validate import validate_folder
from backbeat.corpus.validation_report import report_html
from backbeat.dataset import write_labels
from backbeat.errors import CorpusError
from backbeat.files import write_text
from pipelines.settings import stage


@stage
def main(config: DictConfig) -> None:
    paths, name = config.paths, config.corpus.name
    root = Path(paths.corpora) / name
    report = validate_folder(root)
    for problem in report.problems:
        print(f"{problem.level}: {problem}", file=sys.stderr)
    page = Path(paths.reports) / "validation" / f"{name}.html"
    write_text(page, report_html(report))
    if not report.ok:
        raise CorpusError(f"{root}: the corpus breaks the contract; every problem stands above and in {page}")
    write_labels(Path(paths.labels), read_corpus(root))


if __name__ == "__main__":
    main()
