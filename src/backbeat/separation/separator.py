"""A separation model trained here, with what it was told to tell apart: what evaluation scores."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from backbeat.dataset import LabelledTrack
from backbeat.errors import ModelError
from backbeat.separation.network import SeparatorNetwork
from backbeat.separation.score import score_track
from backbeat.separation.stems import Instruments, StemStore
from backbeat.separation.store import SeparatorSpec, load_network, read_spec


class Separator:
    """A network, its specification, and the stems that make up its instruments."""

    def __init__(self, network: SeparatorNetwork, spec: SeparatorSpec, instruments: Instruments) -> None:
        self.network = network
        self.spec = spec
        self.instruments = instruments

    @classmethod
    def from_folder(cls, folder: Path) -> Separator:
        """Load a model that training wrote; ModelError when it cannot be, or does not say which stems it learnt."""
        spec = read_spec(folder)
        if "instruments" not in spec.provenance:
            raise ModelError(f"{folder}: does not say which stems make up its instruments; it was not trained here")
        return cls(load_network(folder), spec, Instruments.parse(spec.provenance["instruments"].split()))

    def score(self, tracks: Iterable[LabelledTrack], store: StemStore) -> pd.DataFrame:
        """Score tracks: a row each, with corpus, id, style and the measures of `score_stems`."""
        rows = []
        for track in tracks:
            told = {"corpus": track.corpus, "id": track.id, "style": track.genre}
            if found := score_track(self.network, self.instruments, store, track):
                rows.append({**told, **found})
        return pd.DataFrame(rows)
