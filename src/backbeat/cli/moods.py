"""`backbeat models fit-mood`: a model of moods from a table of labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from backbeat.errors import AudioError, ConfigError

EPILOG = """[bold]Examples[/bold]

backbeat models fit-mood labels.csv --out models/mood     (columns path, valence, arousal; the last two from -1 to 1)

backbeat analyze song.mp3 --descriptors --mood models/mood
"""


def fit_mood(
    labels: Annotated[
        Path, typer.Argument(metavar="LABELS", help="A CSV of path, valence and arousal; paths from where it lies.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model folder to write.")],
) -> None:
    """Learn to tell moods from labelled recordings; the descriptors that analyze gives then go by it.

    Recordings that cannot be heard are named on stderr and left out.
    """
    import torch

    from backbeat.analysis import Analyzer
    from backbeat.analysis import mood_model as moods
    from backbeat.analysis.describing import Describer
    from backbeat.analysis.mood_labels import read_mood_labels
    from backbeat.files import sha256_file
    from backbeat.model import join_hashes, task_of

    if out.exists() and task_of(out) != moods.TASK:
        raise ConfigError(f"{out}: is there and is no model of moods, so it is not replaced; choose another folder")
    torch.set_num_threads(1)  # `Analyzer` says why
    analyzer = Analyzer.load()
    describer = Describer(analyzer, fingerprints=False)
    examples = []
    for label in read_mood_labels(labels):
        try:
            described = describer.describe(label.path)
        except AudioError as error:
            sys.stderr.write(f"backbeat: warning: {error}\n")
            continue
        embedding = described.vectors[analyzer.space]
        examples.append(moods.MoodExample(described.descriptors, embedding, label.valence, label.arousal))
    hashes = join_hashes({labels.stem: f"sha256:{sha256_file(labels)}"})
    model, card = moods.fit_mood(examples, analyzer.front_end.params, analyzer.space, hashes)
    model.save(out, card)
    scores = "  ".join(f"{name} {value:.2f}" for name, value in model.spec.metrics.items())
    typer.echo(f"{out}: learnt from {len(examples)} recordings; of each without itself: {scores}")
