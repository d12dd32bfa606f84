"""A trained listening model at work: the two towers and the blend. It holds no names of listeners or tracks."""

from __future__ import annotations

from pathlib import Path

from backbeat.errors import ConfigError, ModelError
from backbeat.listening.factors import FactorSettings
from backbeat.listening.hybrid import Blend
from backbeat.listening.towers import TwoTowers
from backbeat.model import ModelSpec, load_spec, load_weights
from backbeat.settings import read_settings


class ListeningModel:
    """What was learnt of listening.

    Parameters
    ----------
    network
        The two towers, trained.
    spec
        What was trained; its `decoding` has ``space``, ``inputs``, ``factors`` and ``blend``.

    Raises
    ------
    ModelError
        If the specification lacks one of them.
    """

    def __init__(self, network: TwoTowers, spec: ModelSpec) -> None:
        self.network = network.eval()
        self.spec = spec
        try:
            #: The space of the items' embeddings that it was trained on.
            self.space = str(spec.decoding["space"])
            self.blend = Blend.from_dict(spec.decoding["blend"])
            self.factors = read_settings(FactorSettings, dict(spec.decoding["factors"]))
        except (KeyError, ConfigError) as error:
            raise ModelError(f"the listening model's specification is incomplete: {error}; train it again") from None

    @classmethod
    def from_folder(cls, folder: Path) -> ListeningModel:
        """Load a model folder; ModelError when it cannot be."""
        spec = load_spec(folder, "listening")
        try:
            network = TwoTowers(int(spec.decoding["inputs"]), **spec.network)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{folder}: the specification is incomplete: {error}; train it again") from None
        load_weights(folder, network)
        return cls(network, spec)
