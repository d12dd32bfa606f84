"""Where weights of separation models come from and where they lie: official ones, imported once, versions side by side.

::

    $BACKBEAT_MODELS/spleeter/4stems/1.4.0-3823e0ef/     (else ~/.local/share/backbeat/models)
        model.safetensors
        spec.json          what it is, where it came from, and the hash of the weights
        README.md

Spleeter's archives hold TensorFlow checkpoints; they are read without TensorFlow and kept as safetensors. What is
imported must have the hash of the official weights, or one that the user names.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch

from backbeat.download import Progress, fetch_resumably
from backbeat.errors import ConfigError, ModelError
from backbeat.files import atomic_path, folder_if_filled, sha256_file
from backbeat.model import CARD, SPEC, SPEC_VERSION, WEIGHTS, load_weights
from backbeat.separation.checkpoint import read_checkpoint, spleeter_state
from backbeat.separation.network import SeparatorNetwork, SeparatorParams

#: Where the archives are: the release page of the Spleeter project.
ARCHIVES = "https://github.com/deezer/spleeter/releases/download/v1.4.0"
TASK = "separation"
_RELEASE = "1.4.0"
_TIMEOUT_S = 30.0
_NAME = re.compile(r"spleeter:(2stems|4stems|5stems)(?:@([0-9A-Za-z][0-9A-Za-z.\-]{0,63}))?")
_INDEX, _DATA = "model.index", "model.data-00000-of-00001"
# Nothing in an archive of Spleeter's is larger; more is not written.
_LARGEST_MEMBER_BYTES = 512 << 20


@dataclass(frozen=True)
class Official:
    """A model of the Spleeter project: its network, and the SHA-256 of its data."""

    params: SeparatorParams
    data_sha256: str


OFFICIAL: dict[str, Official] = {
    "2stems": Official(
        SeparatorParams(("vocals", "accompaniment")),
        "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
    ),
    "4stems": Official(
        SeparatorParams(("vocals", "drums", "bass", "other"), encoder="elu", decoder="elu"),
        "3823e0ef50835cca3907c386dc9667a6a9af77b40a20c3ab845a8d6c9592255d",
    ),
    "5stems": Official(
        SeparatorParams(
            ("vocals", "piano", "drums", "bass", "other"), joint_softmax=True, encoder="elu", decoder="elu"
        ),
        "aace47a9eacc62e6fda823cee92ba45375b48e65b7c69713b91a7fa9d87ae920",
    ),
}


@dataclass(frozen=True)
class SeparatorSpec:
    """What a separation model is, and where it came from.

    Parameters
    ----------
    name, version
        "spleeter:4stems", "1.4.0-3823e0ef".
    network
        What the network is made of.
    sha256
        Of `model.safetensors`.
    licence
        An SPDX identifier.
    provenance
        Where it came from, in names and values: source, hashes, time.
    run, data_hash, commit, start_from, metrics
        Of a model trained here, as in `ModelSpec`; empty where it was not.
    """

    name: str
    version: str
    network: SeparatorParams
    sha256: str
    licence: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    run: str = ""
    data_hash: str = ""
    commit: str = ""
    start_from: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """What the model does."""
        return TASK

    @property
    def classes(self) -> tuple[str, ...]:
        """The stems."""
        return self.network.instruments

    @property
    def label(self) -> str:
        """Name, version and weights, by which records and caches know the model."""
        return f"{self.name} {self.version} {self.sha256[:16]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as plain values for JSON."""
        return {"spec_version": SPEC_VERSION, "task": TASK, **asdict(self), "network": self.network.to_dict()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SeparatorSpec:
        """Read what `to_dict` gave; ModelError when it is of another kind or version, or lacks something."""
        found = dict(values)
        if found.pop("spec_version", None) != SPEC_VERSION or found.pop("task", None) != TASK:
            raise ModelError(f"is no specification of a separation model of version {SPEC_VERSION}")
        try:
            found["network"] = SeparatorParams(**found["network"])
            return cls(**found)
        except (KeyError, TypeError, ConfigError) as error:
            raise ModelError(f"is incomplete or has unknown entries: {error}") from None


def models_folder() -> Path:
    """Return where imported models lie: BACKBEAT_MODELS, else the user's data folder."""
    if named := os.environ.get("BACKBEAT_MODELS"):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "backbeat" / "models"


def parse_name(name: str) -> tuple[str, str | None]:
    """Split "spleeter:4stems@1.4.0-3823e0ef" to "4stems" and the version, None where none is named.

    Raises
    ------
    ModelError
        If it is no such name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        known = ", ".join(f"spleeter:{one}" for one in OFFICIAL)
        raise ModelError(
            f"there is no separation model {name!r}; there are {known}, each with @VERSION behind it or not"
        )
    return match[1], match[2]


def installed(root: Path | None = None) -> list[Path]:
    """Return the folders of all imported models, by name, the latest import first."""
    found: list[Path] = []
    for kind in OFFICIAL:
        folder = (root or models_folder()) / "spleeter" / kind
        versions = [one for one in folder.iterdir() if (one / SPEC).is_file()] if folder.is_dir() else []
        found += sorted(versions, key=_imported, reverse=True)
    return found


def _imported(folder: Path) -> str:
    """Return when a model was imported; one that cannot be read stands behind all others."""
    try:
        return read_spec(folder).provenance.get("imported", "")
    except ModelError:
        return ""


def find(name: str, root: Path | None = None) -> Path:
    """Return the folder of an imported model, the latest import where no version is named.

    Raises
    ------
    ModelError
        If it is not there; the message has the command that brings it.
    """
    kind, version = parse_name(name)
    folders = [one for one in installed(root) if one.parent.name == kind]
    for folder in folders:
        if version in (None, folder.name):
            return folder
    if folders:
        raise ModelError(f"{name} is not installed; there is {', '.join(one.name for one in folders)}")
    raise ModelError(f"{name} is not installed: get it with `backbeat models pull spleeter:{kind}`")


def locate(model: str, root: Path | None = None) -> Path:
    """Return the folder that `model` is, or that of the imported model of that name; ModelError as of `find`."""
    return Path(model) if Path(model).is_dir() else find(model, root)


def read_spec(folder: Path) -> SeparatorSpec:
    """Read the specification in a model folder; ModelError when there is none or it cannot be read."""
    path = folder / SPEC
    try:
        return SeparatorSpec.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ModelError(f"{folder}: no model here ({SPEC} is missing)") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}; remove the model and get it again") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}; remove the model and get it again") from None


def load_network(folder: Path) -> SeparatorNetwork:
    """Load the network of a model folder, in evaluation mode.

    Raises
    ------
    ModelError
        If it is missing, damaged, or does not fit its specification.
    """
    # Without memory, so that no weights are drawn at random only to be replaced.
    with torch.device("meta"):
        network = SeparatorNetwork(read_spec(folder).network)
    try:
        load_weights(folder, network, assign=True)
    except ModelError as error:
        raise ModelError(f"{folder}: cannot be read: {error}; remove the model and pull it again") from None
    return network.laid_out().requires_grad_(False)


def validate(folder: Path) -> SeparatorSpec:
    """Check that the weights are those that were imported, and load them; ModelError when not."""
    spec = read_spec(folder)
    if (folder / WEIGHTS).is_file() and sha256_file(folder / WEIGHTS) != spec.sha256:
        raise ModelError(f"{folder / WEIGHTS}: is not what was imported: its SHA-256 is another; pull the model again")
    load_network(folder)
    return spec


def remove(folder: Path) -> None:
    """Remove an imported model."""
    # Renamed first: half of a model is never found under its name.
    grave = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    folder.rename(grave / folder.name)
    shutil.rmtree(grave)


def pull(
    name: str,
    *,
    root: Path | None = None,
    source: Path | None = None,
    mirror: str | None = None,
    sha256: str | None = None,
    progress: Progress | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Path:
    """Bring a Spleeter model: download its archive, or take it from disk, check and import it.

    Parameters
    ----------
    name
        "spleeter:2stems", "spleeter:4stems" or "spleeter:5stems".
    root
        Where models lie; `models_folder()` when left out.
    source
        An archive (`4stems.tar.gz`) or a folder with the checkpoint; nothing is downloaded then.
    mirror
        An address under which `4stems.tar.gz` is found, in place of `ARCHIVES`; BACKBEAT_SPLEETER_URL when left out.
    sha256
        The hash that the checkpoint's data must have, where it is not the official model's.
    progress
        Called while it comes.

    Returns
    -------
    The model's folder. A model that is there already is left as it is.

    Raises
    ------
    ModelError
        If it cannot be had, or is not what it should be.
    """
    kind, version = parse_name(name)
    if version is not None:
        raise ModelError(f"{name}: a version is not asked for but found: pull spleeter:{kind}")
    wanted = (sha256 or OFFICIAL[kind].data_sha256).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", wanted):
        raise ModelError(f"{wanted!r} is no SHA-256: 64 hexadecimal digits")
    official = wanted == OFFICIAL[kind].data_sha256
    folder = (root or models_folder()) / "spleeter" / kind / f"{_RELEASE if official else 'own'}-{wanted[:8]}"
    if (folder / SPEC).is_file():
        return folder
    with folder_if_filled(folder.parents[1]), folder_if_filled(folder.parent):
        if source is not None:
            told, archive = str(source), source
        else:
            base = (mirror or os.environ.get("BACKBEAT_SPLEETER_URL") or ARCHIVES).rstrip("/")
            told, archive = f"{base}/{kind}.tar.gz", folder.parent / f"{kind}.tar.gz"
            fetch_resumably(
                told,
                archive,
                timeout_s=timeout_s,
                progress=progress,
                failure=ModelError,
                by_hand=f"download it by hand and run `backbeat models pull spleeter:{kind} --from {kind}.tar.gz`",
            )
        try:
            with _checkpoint(archive) as (index, data):
                found = sha256_file(data)
                if found != wanted:
                    expected = "the official model's (name yours with --sha256)" if official else "the one asked for"
                    raise ModelError(
                        f"{told}: is not the file expected: the SHA-256 of its data is {found}, not {expected}"
                    )
                state = spleeter_state(read_checkpoint(index, data), OFFICIAL[kind].params)
        finally:
            if source is None:
                archive.unlink(missing_ok=True)
        provenance = {
            "source": told,
            "data_sha256": found,
            "official": "yes" if official else "no",
            "imported": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            (temporary / WEIGHTS).write_bytes(safetensors.torch.save(state))
            spec = SeparatorSpec(
                f"spleeter:{kind}",
                folder.name,
                OFFICIAL[kind].params,
                sha256_file(temporary / WEIGHTS),
                "MIT" if official else "",
                provenance,
            )
            try:
                SeparatorNetwork(spec.network).load_state_dict(state)
            except RuntimeError:
                raise ModelError(f"{told}: its variables do not fit the network of spleeter:{kind}") from None
            (temporary / SPEC).write_text(json.dumps(spec.to_dict(), indent=2) + "\n", encoding="utf-8")
            (temporary / CARD).write_text(_card(spec), encoding="utf-8")
    return folder


@contextmanager
def _checkpoint(path: Path) -> Iterator[tuple[Path, Path]]:
    """Give the index and the data of a checkpoint in a folder or an archive."""
    if path.is_dir():
        for name in (_INDEX, _DATA):
            if not (path / name).is_file():
                raise ModelError(f"{path}: has no {name}; it should be what a {_INDEX.split('.')[0]} archive holds")
        yield path / _INDEX, path / _DATA
        return
    if not path.is_file():
        raise ModelError(f"{path}: no such archive or folder")
    with tempfile.TemporaryDirectory(prefix="backbeat-") as scratch:
        try:
            # Only what is wanted is written, under names of ours: whatever else an archive may name stays in it.
            with tarfile.open(path) as archive:
                for member in archive:
                    name = Path(member.name).name
                    if not member.isfile() or name not in (_INDEX, _DATA):
                        continue
                    if member.size > _LARGEST_MEMBER_BYTES:
                        raise ModelError(f"{path}: {name} in it has {member.size:,} bytes, too many for a model")
                    content: IO[bytes] | None = archive.extractfile(member)
                    with (Path(scratch) / name).open("wb") as out:
                        shutil.copyfileobj(content, out)  # type: ignore[arg-type]
        except (tarfile.TarError, EOFError, OSError) as error:
            # A reader of each kind of archive has its say, on a line of its own; together they mean that it is none.
            cause = "it is no .tar.gz" if "\n" in str(error) else str(error)
            raise ModelError(f"{path}: cannot be read as an archive: {cause}") from None
        for name in (_INDEX, _DATA):
            if not (Path(scratch) / name).is_file():
                raise ModelError(f"{path}: has no {name} in it")
        yield Path(scratch) / _INDEX, Path(scratch) / _DATA


def _card(spec: SeparatorSpec) -> str:
    facts = "\n".join(f"- {name}: {value}" for name, value in spec.provenance.items())
    return f"""# {spec.name} {spec.version}

Stems: {", ".join(spec.network.instruments)}. A U-Net for each, at {spec.network.sample_rate_hz} Hz, heard up to
{spec.network.bins * spec.network.sample_rate_hz // spec.network.frame_length} Hz.

By Deezer Research: Hennequin, Khlif, Voituret and Moussallam, "Spleeter: a fast and efficient music source separation
tool with pre-trained models", Journal of Open Source Software 5(50), 2020. Licence: {spec.licence or "not stated"}.

{facts}
"""
