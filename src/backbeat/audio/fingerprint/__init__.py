"""Recordings known again by their sound: through codecs, noise and other levels, and by ten seconds of them."""

from backbeat.audio.fingerprint.coding import fingerprint
from backbeat.audio.fingerprint.index import Duplicate, FingerprintIndex, Match

__all__ = ["Duplicate", "FingerprintIndex", "Match", "fingerprint"]
