"""What `make weights` does: put trained models in the package, each with a card that says how good it is, and on what.

`python -m pipelines.ship --real ../recordings`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from backbeat.analysis.analyzer import shipped_models
from backbeat.dataset import TASKS
from backbeat.errors import CorpusError, MonitoringError
from backbeat.evaluation.benchmark import PEER, SetScores, load_models, score_sets
from backbeat.evaluation.measures import MEASURES, NARROW, limits, style_name
from backbeat.evaluation.results import Results, read_results
from backbeat.files import atomic_path
from backbeat.model import CARD, load_spec, record_hash
from backbeat.monitoring.reference import Reference, shipped_reference
from backbeat.statistics import Interval
from pipelines.errors import errors_in_a_line
from pipelines.summary import evaluation_settings, progress

#: What comes with the package. Listening does not: those who were listened to are simulated.
SHIPPED: tuple[str, ...] = (*TASKS, "pairing")
#: The measure by which styles are named that score worst.
_BY_STYLE = {"beat": "beat_f", "onset": "drums_micro_f", "genre": "accuracy", "pairing": "reciprocal_rank"}
#: What every model of a task is known to get wrong, besides the styles that score worst.
KNOWN: dict[str, str] = {
    "beat": "Music whose pulse nobody would tap, speech and free rhythm get beats all the same. Bars are less certain "
    "than beats; of tempi an octave apart the middle one is preferred; 6/8 is taken for 3/4 now and then and the other "
    "way round, which puts most beats in the wrong place.",
    "onset": "Tambourines and shakers are taken for hi-hats, side sticks are missed or taken for hi-hats, hand drums "
    "for toms. Toms and cymbals are much less certain than kick, snare and hi-hat. Velocities are relative to the "
    "level.",
    "genre": "The classes are the styles that the pipeline composes: recordings of anything else get the one that "
    "sounds nearest. For genres of your own train a head with `backbeat train genre`.",
    "pairing": "It was shown songs that the pipeline composes, whose drums and other parts share tempo, metre, swing "
    "and style; whether people would like two recordings together is more than that. Music without a pulse, and voices "
    "alone, tell it little.",
}


def main(
    real: Annotated[Path | None, typer.Option(help="Annotated recordings whose scores go on the cards.")] = None,
    models: Annotated[Path, typer.Option(help="The trained models.")] = Path("models"),
    reports: Annotated[Path, typer.Option(help="What `dvc repro` wrote.")] = Path("reports"),
    reference: Annotated[Path, typer.Option(help="What drift is told by.")] = Path("data/reference/reference.parquet"),
    task: Annotated[list[str] | None, typer.Option(help="Only this task. May be given for each.")] = None,
) -> None:
    """Copy trained models into the package, with cards."""
    with errors_in_a_line():
        scored: list[SetScores] = []
        wanted = task or list(SHIPPED)
        weights = shipped_models()["beat"].parent
        if real is not None:
            from backbeat.corpus.sources import evaluation_sets

            loaded = load_models(models, [name for name in wanted if name in TASKS])
            scored = score_sets(loaded, evaluation_sets(real), evaluation_settings(), progress=progress)
        for name in wanted:
            folder = models / name
            results = read_results(reports / name)
            spec = load_spec(folder, name)
            if results.thread.get("run", spec.run) != spec.run:
                raise CorpusError(f"{reports / name}: are the scores of another training; run `dvc repro`")
            text = card((folder / CARD).read_text(encoding="utf-8"), results, [s for s in scored if s.task == name])
            with atomic_path(weights / name) as temporary:
                shutil.copytree(folder, temporary)
                (temporary / CARD).write_text(text, encoding="utf-8")
            record_hash(weights / name)
            print(f"{weights / name}: {spec.name} {spec.version}, run {spec.run or 'not tracked'}")
        if not any(name in TASKS for name in wanted):
            return
        ship_reference(reference)
        print(f"{shipped_reference()}: {shipped_reference().stat().st_size / 1e6:.1f} MB")


def ship_reference(path: Path) -> None:
    """Copy the reference into the package; MonitoringError if it was not made with the models that are there."""
    made = Reference.read(path)
    for name, folder in shipped_models().items():
        if made.runs.get(name) != (load_spec(folder, name).run or None):
            raise MonitoringError(f"{path}: was not made with the {name} model that ships; run `dvc repro reference`")
    with atomic_path(shipped_reference()) as temporary:
        shutil.copyfile(path, temporary)


def card(trained: str, results: Results, real: list[SetScores]) -> str:
    """Add to the card that training wrote: scores on rendered and real music, and what goes wrong.

    Parameters
    ----------
    trained
        The card that training wrote.
    results
        Of the pipeline's test split.
    real
        Scores on recordings of which none was trained on; may be empty.
    """
    task = results.task
    rows: list[tuple[str, int, Mapping[str, Interval]]] = [
        ("test split of " + " and ".join(results.corpora), _count(results.groups["all"]), results.groups["all"])
    ]
    for found in real:
        rows.append((f"real: {found.name}", found.known, found.groups["all"]))
        if found.peer:
            rows.append((f"real: {found.name}, {PEER}", found.known, found.peer))
    shown = [name for name in NARROW[task] if any(name in scores for _, _, scores in rows)]
    head = " | ".join(MEASURES[name].label for name in shown)
    lines = [f"| on | tracks | {head} |", "| --- | --- |" + " --- |" * len(shown)]
    for label, count, scores in rows:
        lines.append(f"| {label} | {count} | " + " | ".join(_cell(scores.get(name)) for name in shown) + " |")
    measure = _BY_STYLE[task]
    styles = [(name, found[measure]) for name, found in results.groups.items() if name != "all" and measure in found]
    # Styles without drums score nothing, or 0 for a single false hit: that says little.
    scored = [(name, found) for name, found in styles if found.value > 0]
    worst = sorted(scored, key=lambda item: item[1].value)[:4]
    listed = ", ".join(f"{style_name(name)} {found.value:.2f}" for name, found in worst)
    notes = "".join(f"- {found.name}: {found.note}.\n" for found in real if found.note)
    return f"""{trained.rstrip()}

## Scores

With {results.confidence:.0%} intervals over tracks. No real recording was trained on.

{chr(10).join(lines)}

{notes}
## Where it fails

{KNOWN[task]}

Rendered styles that score worst ({MEASURES[measure].label}): {listed}.
"""


def _count(scores: Mapping[str, Interval]) -> int:
    return max(interval.count for interval in scores.values())


def _cell(found: Interval | None) -> str:
    if found is None or found.value != found.value:
        return "–"
    return f"{found.value:.3f} {limits(found)}".strip()


if __name__ == "__main__":
    typer.run(main)
