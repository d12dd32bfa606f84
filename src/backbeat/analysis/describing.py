"""From a recording to its descriptors, the vectors by which it is found, and its fingerprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backbeat.analysis.analyzer import Analyzer, Evidence, Judgement
from backbeat.analysis.cues import descriptors_of
from backbeat.analysis.descriptors import Descriptors
from backbeat.analysis.hearing import Heard, hear
from backbeat.analysis.result import Analysis
from backbeat.files import sha256_file

if TYPE_CHECKING:
    from backbeat.analysis.mood_model import MoodModel
    from backbeat.audio import AudioLimits
    from backbeat.pairing.model import PairingModel


@dataclass(frozen=True, eq=False)
class Described:
    """All that a catalogue keeps of a recording.

    Parameters
    ----------
    analysis
        Of the recording; its `descriptors` are those below.
    descriptors
        What was measured of it.
    vectors
        By space: "genre:HASH", as the network gives it and so of any length, and "pairing:HASH", as a beat and of
        length 1, where there is a model for pairing.
    take_vector
        The vector of pairing as a take, shape (length,); None without a model for pairing.
    fingerprint
        By which the recording is known again; empty where it was not asked for.
    sha256
        Of the file, in hexadecimal.
    """

    analysis: Analysis
    descriptors: Descriptors
    vectors: Mapping[str, NDArray[np.float32]]
    take_vector: NDArray[np.float32] | None
    fingerprint: bytes
    sha256: str


class Describer:
    """Describes recordings.

    Parameters
    ----------
    analyzer
        Its models listen; the genre model's embedding is a vector.
    pairing
        The model that finds beats to takes; None for none.
    fingerprints
        Whether to take fingerprints.
    mood
        The model that tells moods; None for the rules of `backbeat.analysis.mood`.

    Raises
    ------
    ModelError
        If the model for pairing was trained on another front end, or the one for moods on another genre model.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        pairing: PairingModel | None = None,
        fingerprints: bool = True,
        mood: MoodModel | None = None,
    ) -> None:
        if pairing is not None:
            analyzer.check_front_end(pairing.spec)
        if mood is not None:
            mood.check_space(analyzer.space)
        self._analyzer, self._pairing, self._fingerprints, self._mood = analyzer, pairing, fingerprints, mood

    @classmethod
    def load(cls, models: Mapping[str, Path] | None = None) -> Describer:
        """Load models: folders by task, "pairing" and "mood" among them; those that ship where none is given.

        None for moods ships.

        Raises
        ------
        ConfigError
            If a task is unknown.
        ModelError
            If a model is missing, damaged or made for something else.
        """
        folders = dict(models or {})
        pairing_folder, mood_folder = folders.pop("pairing", None) or shipped_pairing(), folders.pop("mood", None)
        pairing, mood = None, None
        if pairing_folder is not None:
            from backbeat.pairing.model import PairingModel

            pairing = PairingModel.from_folder(Path(pairing_folder))
        if mood_folder is not None:
            from backbeat.analysis.mood_model import MoodModel

            mood = MoodModel.from_folder(Path(mood_folder))
        return cls(Analyzer.load(folders), pairing, mood=mood)

    def describe(self, path: Path | str, limits: AudioLimits | None = None) -> Described:
        """Describe a file.

        Raises
        ------
        AudioError
            If it cannot be heard, or is over the limits.
        """
        return self.describe_with_evidence(path, limits)[0]

    def describe_with_evidence(self, path: Path | str, limits: AudioLimits | None = None) -> tuple[Described, Evidence]:
        """Describe a file, and return what the analysis was read from too; errors as `describe`."""
        heard = hear(path, self._analyzer.front_end, limits, describe=True, fingerprints=self._fingerprints)
        return self._described(heard, sha256_file(Path(path)))

    def judged(self, heard: Heard, sha256: str) -> tuple[Described, Judgement]:
        """Describe what was heard with `describe` of a file of this hash, and return what monitoring keeps of it."""
        described, evidence = self._described(heard, sha256)
        analysis = described.analysis
        confidence = self._analyzer.beat_confidence(evidence.beat_activations, analysis.beats)
        return described, Judgement(analysis.to_dict(), evidence.embedding, confidence)

    def _described(self, heard: Heard, sha256: str) -> tuple[Described, Evidence]:
        analysis, evidence = self._analyzer.judge(heard)
        descriptors = descriptors_of(heard, analysis, evidence, self._mood)
        vectors = {self._analyzer.space: evidence.embedding}
        take = None
        if self._pairing is not None:
            vectors[self._pairing.space] = self._pairing.embed_beat(heard.spectrogram)
            take = self._pairing.embed_take(heard.spectrogram)
        described = Described(
            analysis=replace(analysis, descriptors=descriptors),
            descriptors=descriptors,
            vectors=vectors,
            take_vector=take,
            fingerprint=heard.sound.fingerprint if heard.sound else b"",
            sha256=sha256,
        )
        return described, evidence


def shipped_pairing() -> Path | None:
    """Return the folder of the model for pairing that comes with the package; None where none does."""
    folder = Path(__file__).resolve().parent.parent / "weights" / "pairing"
    return folder if folder.is_dir() else None
