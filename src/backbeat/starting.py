"""Training that goes on from weights that there are: where they come from, and how gently they are moved."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from backbeat.errors import ConfigError, ModelError
from backbeat.features import FeatureParams
from backbeat.learning import Optimisation, TaskModule
from backbeat.model import SPEC, load_spec, load_weights
from backbeat.separation.store import read_spec
from backbeat.tracking import MODEL_FOLDER, Tracking, logged_run

#: Epochs of going on from weights that there are, and of beginning anew, when none are asked for.
EPOCHS_ON, EPOCHS_ANEW = 10, 40

#: Going on, the learning rate is this part of the pipeline's: what was learnt is not to be thrown away.
GENTLER = 0.1


def going_on(optimisation: Optimisation, epochs: int | None = None) -> Optimisation:
    """Return how training goes on from weights that there are: more gently, and for fewer epochs.

    Parameters
    ----------
    epochs
        Of going on; when left out, the part of the settings' own that `EPOCHS_ON` is of `EPOCHS_ANEW`.
    """
    epochs = epochs or max(1, round(optimisation.epochs * EPOCHS_ON / EPOCHS_ANEW))
    return replace(optimisation, epochs=epochs, learning_rate=optimisation.learning_rate * GENTLER)


@contextmanager
def started(start_from: str, tracking: Tracking) -> Iterator[Path | None]:
    """Give the model folder that training begins with; None to begin anew.

    Parameters
    ----------
    start_from
        A model folder, or an MLflow run that logged one; "" for nothing.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if not start_from or (Path(start_from) / SPEC).is_file():
        yield Path(start_from) if start_from else None
        return
    with tempfile.TemporaryDirectory(prefix="backbeat-start-") as temporary:
        run = logged_run(tracking, start_from)
        folder = run.file(MODEL_FOLDER, Path(temporary)) if run else None
        if folder is None:
            raise ConfigError(f"{start_from}: is neither a model folder nor a run of MLflow that keeps a model")
        yield folder


def take_weights(start: Path, module: TaskModule, task: str, features: FeatureParams | None) -> str:
    """Load the weights of a model folder; return what the folder's model is called: its run, or its place.

    Classes decide nothing but the last layer, the head: where they are others it begins anew.

    Parameters
    ----------
    features
        Of the spectrograms that `module` hears; None where it hears none.

    Raises
    ------
    ModelError
        If there is no model of the task, it heard other spectrograms, or its network is another.
    """
    skipped: tuple[str, ...] = ()
    if features is None:
        run = read_spec(start).run
    else:
        spec = load_spec(start, task)
        run = spec.run
        if spec.features != features:
            raise ModelError(f"{start}: learnt from other spectrograms than these: {spec.features}")
        if spec.classes != tuple(module.classes):
            skipped = ("head.",)
            logging.getLogger(__name__).warning(
                "The model to begin with knows %s, the data have %s: its head begins anew, the rest is kept",
                ", ".join(spec.classes),
                ", ".join(module.classes),
            )
    load_weights(start, module.network, skipped=skipped)
    module.train()
    return run or str(start)
