"""Rows of predictions that nobody made, and a reference of their kind: for tests of what looks at them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from backbeat.monitoring.drift import DriftSettings
from backbeat.monitoring.reference import Reference
from backbeat.monitoring.rows import Row, table_of
from backbeat.music.drums import DRUMS

RUNS = {"beat": "b1", "onset": "o1", "genre": "g1"}
GENRES = ("rock", "jazz", "house", "waltz")


def settings(**changes: Any) -> DriftSettings:
    values: dict[str, Any] = {
        "level": 0.01,
        "min_rows": 80,
        "min_values": 40,
        "least_wasserstein": 0.25,
        "least_jensen_shannon": 0.15,
        "least_missing": 0.1,
        "least_mmd": 0.01,
        "permutations": 199,
        "share_input": 0.2,
        "share_output": 0.2,
        "seed": 5,
    }
    return DriftSettings(**{**values, **changes})


def measures(random: np.random.Generator, quieter_db: float = 0.0) -> dict[str, Any]:
    """What a row of the service has, drawn; `quieter_db` changes what comes in alone."""
    return {
        "duration_s": float(random.uniform(20, 40)),
        "sample_rate_hz": int(random.choice([44100, 48000])),
        "codec": str(random.choice(["mp3", "flac"])),
        "loudness_lufs": float(random.normal(-14 - quieter_db, 3)),
        "level": float(random.normal(4 - quieter_db / 6, 0.5)),
        "brightness_band": float(random.normal(40, 4)),
        "level_spread": float(random.normal(0.5, 0.1)),
        "key_confidence": None if random.random() < 0.05 else float(random.uniform(0, 1)),
        "warnings": 0,
        "tempo_bpm": None if random.random() < 0.05 else float(random.normal(120, 20)),
        "time_signature": str(random.choice(["4/4", "3/4"])),
        "beat_confidence": float(random.beta(5, 2)),
        "beats_per_s": float(random.normal(2, 0.3)),
        "onsets_per_s": float(random.normal(6, 1)),
        "onset_strength": float(random.beta(6, 2)),
        "drums_per_s": float(random.normal(5, 1)),
        **{f"drum_{drum}_per_s": float(random.gamma(2)) for drum in DRUMS},
        "genre": str(random.choice(GENRES)),
        "genre_unsure": bool(random.random() < 0.2),
        "genre_probability": float(random.beta(4, 2)),
    }


def traffic(count: int, seed: int, *, quieter_db: float = 0.0, shift: float = 0.0, runs: dict[str, str] = RUNS) -> Any:
    """Rows of traffic as a table; `shift` moves the embedding."""
    random = np.random.default_rng(seed)
    models = {task: {"version": "0.1.0", "run": run} for task, run in runs.items()}
    return table_of(
        Row(
            f"request-{number}",
            0,
            "/v1/analyze",
            f"{seed}-{number}",
            models,
            measures(random, quieter_db),
            embedding=(random.normal(size=8) + shift).astype(np.float32),
            at=1000.0 + number,
        )
        for number in range(count)
    )


def reference(count: int = 300, seed: int = 0) -> Reference:
    """A reference whose models are right as often as they are sure to be."""
    random = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        made = measures(random)
        lines.append(
            {
                "corpus": "drawn",
                "id": f"track-{number}",
                "split": "test",
                "judged": True,
                "sha256": f"r-{number}",
                **made,
                "embedding": random.normal(size=8).astype(np.float32),
                "genre_truth": "rock",
                "genre_right": float(random.random() < made["genre_probability"]),
                "beat_f": float(np.clip(made["beat_confidence"] + random.normal(0, 0.05), 0, 1)),
            }
        )
    table = pd.DataFrame(lines, dtype=object)
    for name in ("genre_right", "beat_f"):
        table[name] = table[name].astype(np.float64)
    models = {
        task: {"name": f"backbeat-{task}", "version": "0.1.0", "run": run, "commit": "c0", "data_hash": "drawn=md5:0"}
        for task, run in RUNS.items()
    }
    return Reference(table, {"models": models, "corpora": {"drawn": {"hash": "0", "tracks": count}}, "commit": "c0"})
