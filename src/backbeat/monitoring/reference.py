"""What traffic is compared with: rows of the corpora that the models were trained for, and how right they were on them.

One parquet file holds it, with what it was made from: models, data, commit. `reference_making` makes one,
`reference_finding` finds the one that fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backbeat.errors import MonitoringError
from backbeat.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

#: The measures of `rows.row_of` that are compared, by what they are of. Names are compared as names, not as numbers:
#: sample rates are few and far apart.
INPUTS: dict[str, str] = {
    "duration_s": "number",
    "sample_rate_hz": "name",
    "codec": "name",
    "loudness_lufs": "number",
    "level": "number",
    "brightness_band": "number",
    "level_spread": "number",
    "key_confidence": "number",
    "warnings": "number",
}
#: The truth of a track, where its corpus tells it.
TRUTHS = ("genre_truth", "genre_right", "beat_f")
#: What a table of the reference has beside measures, truths and embedding.
_PLACES = ("corpus", "id", "split", "judged", "sha256")
#: What its file is called.
REFERENCE = "reference.parquet"
_ABOUT = b"backbeat"
_HINT = "`dvc repro reference` makes it"


@dataclass(frozen=True, eq=False)
class Reference:
    """Rows of tracks that traffic is compared with.

    Parameters
    ----------
    table
        A row a track: `corpus`, `id`, `split`, `sha256`; `judged`, whether models were asked (of tracks that they were
        trained on they were not: there they are surer than on anything that is sent); a column a measure, in which None
        is "asked for, and there is none" and NaN "not asked for"; `embedding`, arrays of one length, or None;
        `genre_truth`, `genre_right` (0 or 1) and `beat_f`, NaN where the corpus does not tell.
    about
        What it was made from: "models" (by task: name, version, run, commit, data_hash), "corpora" (by name: data hash
        and tracks), "commit", "seed".

    Raises
    ------
    MonitoringError
        If the table lacks what every reference has, or has no row.
    """

    table: pd.DataFrame
    about: Mapping[str, Any]

    def __post_init__(self) -> None:
        lacking = [name for name in (*_PLACES, *INPUTS, "embedding") if name not in self.table.columns]
        if lacking:
            raise MonitoringError(f"the reference has no column {lacking[0]!r}; {_HINT}")
        if self.table.empty:
            raise MonitoringError(f"the reference has no row; {_HINT}")

    @property
    def runs(self) -> dict[str, str | None]:
        """The run that each model comes from, by task; None where it was not tracked."""
        return {task: thread.get("run") for task, thread in self.about.get("models", {}).items()}

    def write(self, path: Path) -> None:
        """Write it to `path`, atomically."""
        import pyarrow as pa
        from pyarrow import parquet

        flat = self.table.assign(embedding=self.table["embedding"].map(_short)).infer_objects()
        # Of a column of floats and None, NaN is what parquet can hold; `read` knows which was meant.
        made = pa.Table.from_pandas(flat, preserve_index=False)
        about = json.dumps(dict(self.about), ensure_ascii=False, allow_nan=False).encode()
        with atomic_path(path) as temporary:
            parquet.write_table(
                made.replace_schema_metadata({**(made.schema.metadata or {}), _ABOUT: about}),
                temporary,
                compression="zstd",
            )

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read what `write` wrote.

        Raises
        ------
        MonitoringError
            If it is not there or damaged.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            made = parquet.read_table(path)
            about = json.loads((made.schema.metadata or {})[_ABOUT])
        except FileNotFoundError:
            raise MonitoringError(f"{path}: there is no reference here; {_HINT}") from None
        except (pa.ArrowException, OSError, KeyError, ValueError):
            raise MonitoringError(f"{path}: is no reference, or is damaged; {_HINT}") from None
        return cls(_with_none(made.to_pandas()), about)


def shipped_reference() -> Path:
    """Return where the reference of the models that come with the package lies, whether or not it is there."""
    return Path(__file__).resolve().parent.parent / "weights" / REFERENCE


def _short(values: NDArray[np.float32] | None) -> list[float] | None:
    """Give an embedding as the monitoring database keeps it, in half precision; the zeros left take no room."""
    return None if values is None else values.astype(np.float16).astype(np.float32).tolist()


def _with_none(table: pd.DataFrame) -> pd.DataFrame:
    """Put None where something was asked for and there is none, and NaN where nothing was asked for."""
    made = table.astype(object)
    judged = table["judged"].to_numpy(dtype=bool)
    for name in made.columns:
        if name in (*_PLACES, *TRUTHS):
            continue
        values = made[name].to_numpy(copy=True)
        missing = table[name].isna().to_numpy()
        values[missing] = None
        if name not in INPUTS and name != "embedding":
            values[missing & ~judged] = np.nan
        made[name] = values
    made["embedding"] = made["embedding"].map(lambda values: None if values is None else np.asarray(values, np.float32))
    for name in ("genre_right", "beat_f"):
        made[name] = table[name].astype(np.float64)
    return made
