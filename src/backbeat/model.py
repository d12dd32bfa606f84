"""A trained model on disk: a folder of `model.safetensors`, `spec.json` and a card. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from backbeat.errors import BackbeatError, ModelError
from backbeat.features import FeatureParams
from backbeat.files import atomic_path, sha256_file, write_text

WEIGHTS = "model.safetensors"
SPEC = "spec.json"
CARD = "README.md"
SPEC_VERSION = 1


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, and the thread back to its data.

    Parameters
    ----------
    task, name, version
        What it does and how it is called: "beat", "backbeat-beat", "0.1.0".
    network
        Keyword arguments of the task's network.
    features
        The front end that it was trained on.
    classes
        Names of its outputs, in order.
    decoding
        Keyword arguments of the task's decoder, as settled on the validation split.
    run
        MLflow run id; empty when training was not tracked.
    data_hash
        "corpus=algorithm:hash" for each training corpus, joined by commas.
    commit
        Git commit of the code, with "+" behind it when files had been changed; empty outside git.
    licence
        Licence of the training data, hence of the weights.
    start_from
        What training went on from: the run of a model, or the folder of one that was not tracked; empty for nothing.
    metrics
        Scores on the validation split.
    """

    task: str
    name: str
    version: str
    network: dict[str, Any]
    features: FeatureParams
    classes: tuple[str, ...]
    decoding: dict[str, Any] = field(default_factory=dict)
    run: str = ""
    data_hash: str = ""
    commit: str = ""
    licence: str = ""
    start_from: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain values for JSON."""
        return {"spec_version": SPEC_VERSION, **asdict(self), "classes": list(self.classes)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """Read what `to_dict` gave; ModelError when it is of another version or lacks something."""
        found = dict(values)
        if found.pop("spec_version", None) != SPEC_VERSION:
            raise ModelError(f"the specification is not of version {SPEC_VERSION}")
        try:
            found["features"] = FeatureParams(**found["features"])
            found["classes"] = tuple(found["classes"])
            return cls(**found)
        except (KeyError, TypeError) as error:
            raise ModelError(f"the specification is incomplete or has unknown entries: {error}") from None


def join_hashes(hashes: Mapping[str, str]) -> str:
    """Return the hashes of corpora, by name, as a specification has them in `data_hash`."""
    return ",".join(f"{name}={value}" for name, value in sorted(hashes.items()))


def split_hashes(data_hash: str) -> dict[str, str]:
    """Return the hash of each corpus by its name: undo `join_hashes`."""
    parts = (part.strip().partition("=") for part in data_hash.split(",") if part.strip())
    return {name: value for name, _, value in parts}


def space_of(task: str, sha256: str) -> str:
    """Return the name of the space in which vectors of one model, by the SHA-256 of its weights, can be compared."""
    return f"{task}:{sha256[:12]}"


class Specification(Protocol):
    """What `save_model` asks of a specification."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        ...


def weights_of(network: nn.Module) -> bytes:
    """Return what `model.safetensors` holds of a network."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    content: bytes = safetensors.torch.save(state)
    return content


def save_model(folder: Path, network: nn.Module, spec: Specification, card: str) -> None:
    """Write a model folder, atomically; what was there before is replaced as a whole."""
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        # Not `save_file`, which lets nobody but the owner read the file: models are served by others.
        (temporary / WEIGHTS).write_bytes(weights_of(network))
        (temporary / SPEC).write_text(json.dumps(spec.to_dict(), indent=2) + "\n", encoding="utf-8")
        (temporary / CARD).write_text(card, encoding="utf-8")


def hash_file(folder: Path) -> Path:
    """Return where the SHA-256 of a model's weights is recorded: beside its folder, as `sha256sum -c` reads it."""
    return folder.with_name(f"{folder.name}.sha256")


def record_hash(folder: Path) -> None:
    """Record what the weights of a model are, so that it can be told later whether they are still that."""
    write_text(hash_file(folder), f"{sha256_file(folder / WEIGHTS)}  {folder.name}/{WEIGHTS}\n")


def check_hash(folder: Path) -> None:
    """Check that the weights of a model are what was recorded.

    Raises
    ------
    ModelError
        If they are missing or others, or nothing was recorded.
    """
    try:
        recorded = hash_file(folder).read_text(encoding="utf-8").partition(" ")[0]
        found = sha256_file(folder / WEIGHTS)
    except FileNotFoundError as error:
        missing = Path(str(error.filename))
        cause = "is missing" if missing.name == WEIGHTS else "is missing: no hash of the weights was recorded"
        raise ModelError(f"{missing}: {cause}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder}: cannot be read: {error}") from None
    if recorded != found:
        raise ModelError(f"{folder / WEIGHTS}: is not what it was: its SHA-256 is another than the one recorded")


def task_of(folder: Path) -> str:
    """Return what the model in a folder is for; "" where its specification does not say."""
    try:
        return str(json.loads((folder / SPEC).read_text(encoding="utf-8")).get("task", ""))
    except (OSError, ValueError, AttributeError):
        return ""


def load_spec(folder: Path, task: str | None = None) -> ModelSpec:
    """Read the specification in a model folder.

    Raises
    ------
    ModelError
        If there is none, it cannot be read, or it is for another task than the one asked for.
    """
    path = folder / SPEC
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if task is not None and isinstance(values, dict) and values.get("task", task) != task:
            raise ModelError(f"is a model for {values['task']}, not for {task}")
        return ModelSpec.from_dict(values)
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"{folder}: no model here ({SPEC} is missing); `dvc repro` trains the models") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from None
    except BackbeatError as error:
        raise ModelError(f"{path}: {error}") from None


def load_weights(folder: Path, network: nn.Module, *, assign: bool = False, skipped: tuple[str, ...] = ()) -> None:
    """Load the weights of a model folder into `network`, which is set to evaluation mode.

    With `assign` they take the place of the network's own, which may be without memory (device "meta"). Weights whose
    names begin as one of `skipped` does stay as they are.

    Raises
    ------
    ModelError
        If they are missing, damaged or of another shape than the network.
    """
    path = folder / WEIGHTS
    try:
        state = safetensors.torch.load_file(path)
        kept = {name: value for name, value in network.state_dict().items() if skipped and name.startswith(skipped)}
        taken = {name: value for name, value in state.items() if not (skipped and name.startswith(skipped))}
        network.load_state_dict({**taken, **kept}, assign=assign)
    except FileNotFoundError:
        raise ModelError(f"{path}: is missing") from None
    except SafetensorError as error:
        raise ModelError(f"{path}: is damaged: {error}") from None
    except RuntimeError as error:
        raise ModelError(f"{path}: does not fit the network of {SPEC}: {str(error).splitlines()[-1].strip()}") from None
    network.eval()
