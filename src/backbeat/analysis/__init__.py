"""From audio and trained models to one `Analysis` of a track: the same for the command line, library and service."""

from backbeat.analysis.analyzer import Analyzer, Evidence
from backbeat.analysis.descriptors import Descriptors, KeyGuess
from backbeat.analysis.result import (
    Analysis,
    BeatEvent,
    DrumEvent,
    GenreGuess,
    ModelOrigin,
    OnsetEvent,
    analysis_schema,
)

__all__ = [
    "Analysis",
    "Analyzer",
    "BeatEvent",
    "Descriptors",
    "DrumEvent",
    "Evidence",
    "GenreGuess",
    "KeyGuess",
    "ModelOrigin",
    "OnsetEvent",
    "analysis_schema",
]
