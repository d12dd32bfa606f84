"""What `make comment` does: say for a pull request what became of the scores, and what the gate decided, as Markdown.

`python -m pipelines.comment --base origin/main`
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from backbeat.errors import ConfigError, CorpusError
from backbeat.evaluation.measures import MEASURES, NARROW
from backbeat.files import write_text
from pipelines.errors import errors_in_a_line

#: Begins every comment: by it one is told from what people write.
MARK = "<!-- backbeat: scores -->"
#: Differences below this are rounding.
_LEAST = 5e-4


@dataclass(frozen=True)
class Change:
    """What became of one measure of one task; None where there was, or is, no score."""

    task: str
    measure: str
    before: float | None
    now: float | None

    @property
    def shown(self) -> bool:
        """Whether it differs by more than rounding."""
        if self.before is None or self.now is None:
            return self.before is not self.now
        return abs(self.now - self.before) >= _LEAST


def main(
    base: Annotated[str, typer.Option(help="The revision that scores are compared with.")] = "HEAD",
    now: Annotated[str, typer.Option(help="The revision whose scores they are; what lies here when left out.")] = "",
    output: Annotated[Path, typer.Option(help="The file to write.")] = Path("reports/comment.md"),
    reports: Annotated[Path, typer.Option(help="What `dvc repro` and the gate wrote.")] = Path("reports"),
    runs: Annotated[Path, typer.Option(help="What retrainings wrote.")] = Path(".retrain"),
) -> None:
    """Write the comment."""
    with errors_in_a_line():
        write_text(output, comment(read_changes(base, now), read_decisions(reports, runs), base))
    print(output)


def read_changes(base: str, now: str = "") -> list[Change]:
    """Ask DVC what the measures were at a revision, and are at another or here; ConfigError where it cannot tell."""
    revisions = [base, now] if now else [base]
    for revision in revisions:
        if not re.fullmatch(r"\w[\w./~^-]*", revision):
            raise ConfigError(f"{revision!r} is no revision; name a branch, a tag or a commit")
    asked = [sys.executable, "-m", "dvc", "metrics", "diff", "--json", "--all", *revisions]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ConfigError(f"`dvc metrics diff {base}` failed: {last}")
    return changes(json.loads(done.stdout or "{}"))


def changes(differences: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Change]:
    """Take the measures that tables show out of `dvc metrics diff --json`, a file a task, in the tables' order."""
    found = []
    for path, values in sorted(differences.items()):
        task = Path(path).stem
        for measure in NARROW.get(task, ()):
            if measure in values:
                one = values[measure]
                found.append(Change(task, measure, _number(one.get("old")), _number(one.get("new"))))
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def read_decisions(reports: Path, runs: Path) -> list[dict[str, Any]]:
    """Read what the gate decided last of each task, by hand or in a retraining; CorpusError names a damaged file."""
    found = {}
    paths = [*reports.glob("gate/*/decision.json"), *runs.glob("*/gate/*/decision.json")]
    for path in sorted(paths, key=lambda one: one.stat().st_mtime):
        try:
            decision = json.loads(path.read_text(encoding="utf-8"))
            _decision_row(decision)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(f"{path}: is no decision of the gate ({error})") from None
        found[decision["task"]] = decision
    return [found[task] for task in sorted(found)]


def comment(changed: Sequence[Change], decisions: Sequence[Mapping[str, Any]], base: str) -> str:
    """Write it all as Markdown, with a picture that the forge draws from text."""
    parts = [MARK, "## What became of the models"]
    if decisions:
        parts += ["### The gate", *_decided(decisions)]
    parts += [f"### Scores, beside `{base}`", *_scores(changed)]
    return "\n\n".join(parts) + "\n"


def _decided(decisions: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    yield _table(("task", "decision", "champion", "challenger", "why"), map(_decision_row, decisions))
    for decision in decisions:
        failed = [check for check in decision["checks"] if check["passed"] is False]
        if failed:
            listed = "\n".join(f"- {_cell(check['name'])}: {_cell(check['sentence'])}" for check in failed)
            yield f"What {_cell(decision['task'])} did not pass:\n\n{listed}"


def _decision_row(decision: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = "**promoted**" if decision["promoted"] else "**refused**"
    told = (_cell(decision[name] or "none") for name in ("champion", "challenger", "sentence"))
    return (_cell(decision["task"]), verdict, *told)


def _scores(changed: Sequence[Change]) -> Iterable[str]:
    shown = [one for one in changed if one.shown]
    if shown:
        yield _table(("task", "measure", "before", "now", "change"), map(_change_row, shown))
    same = len(changed) - len(shown)
    if same:
        yield f"{same} more {'is' if same == 1 else 'are'} as before." if shown else "All scores are as before."
    if not changed:
        yield "There are no scores to compare: `dvc repro` makes them."
    for task in dict.fromkeys(one.task for one in shown):
        pair = [one for one in changed if one.task == task and None not in (one.before, one.now)]
        # A chart's axis is for scores between 0 and 1.
        pair = [one for one in pair if not MEASURES[one.measure].decibels]
        if pair:
            yield _chart(task, pair)


def _change_row(one: Change) -> tuple[str, ...]:
    measure = MEASURES[one.measure]
    written = ["–" if value is None else measure.written(value) for value in (one.before, one.now)]
    if one.before is None or one.now is None:
        return (one.task, measure.label, *written, "new" if one.before is None else "gone")
    gain = one.now - one.before
    better = (gain < 0) == measure.low_is_good
    return (one.task, measure.label, *written, f"{gain:+.3f} {'better' if better else '**worse**'}")


def _chart(task: str, scores: Sequence[Change]) -> str:
    """Draw scores as bars and those before as a line across, in Mermaid's language."""
    names = ", ".join(f'"{MEASURES[one.measure].label}"' for one in scores)
    return "\n".join(
        [
            "```mermaid",
            "xychart-beta",
            f'  title "{task}: bars are now, the line is before"',
            f"  x-axis [{names}]",
            '  y-axis "score" 0 --> 1',
            f"  bar [{', '.join(f'{one.now:.4f}' for one in scores)}]",
            f"  line [{', '.join(f'{one.before:.4f}' for one in scores)}]",
            "```",
        ]
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: Any) -> str:
    """Keep a text in its cell: no table, tag, link or mention comes out of it."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\|`*_\[\]<>@#])", r"\\\1", flat).replace("\\@", "@\u200b").replace("\\<", "&lt;")


if __name__ == "__main__":
    typer.run(main)
