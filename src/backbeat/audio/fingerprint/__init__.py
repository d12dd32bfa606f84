"""Recordings known again by their sound: through codecs, noise and other levels, and by ten seconds of them."""

from backbeat.audio.fingerprint.coding import fingerprint
from backbeat.audio.fingerprint.index import FingerprintIndex, Match

__all__ = ["FingerprintIndex", "Match", "fingerprint"]
