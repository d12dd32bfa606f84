"""How much audio one file may hold before it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbeat.errors import AudioLimitError, ConfigError


@dataclass(frozen=True)
class AudioLimits:
    """The most that one file may hold.

    The size and the length that the header claims are checked before decoding; seconds and memory are counted again
    while decoding, because a header may be wrong or say nothing.

    Raises
    ------
    ConfigError
        If a limit is not positive.
    """

    max_bytes: int = 2 * 1024**3
    max_seconds: float = 3 * 3600.0
    #: The decoded samples that are kept, after downmix and resampling; float32.
    max_memory_bytes: int = 4 * 1024**3

    def __post_init__(self) -> None:
        if not (self.max_bytes > 0 and self.max_seconds > 0 and self.max_memory_bytes > 0):
            raise ConfigError("limits on audio have to be positive")

    def check_bytes(self, path: Path, size_bytes: int) -> None:
        """Raise AudioLimitError if a file of `size_bytes` is too large."""
        if size_bytes > self.max_bytes:
            raise AudioLimitError(path, f"has {_bytes(size_bytes)}, over the limit of {_bytes(self.max_bytes)}")

    def check_seconds(self, path: Path, duration_s: float | None) -> None:
        """Raise AudioLimitError if a file that claims `duration_s` is too long; None (not known) passes."""
        if duration_s is not None and duration_s > self.max_seconds:
            raise AudioLimitError(path, f"lasts {_clock(duration_s)}, over the limit of {_clock(self.max_seconds)}")

    def check_decoded(self, path: Path, decoded_s: float, kept_bytes: int) -> None:
        """Raise AudioLimitError once decoding has gone past the seconds or the memory allowed."""
        if decoded_s > self.max_seconds:
            raise AudioLimitError(path, f"lasts longer than the limit of {_clock(self.max_seconds)}")
        if kept_bytes > self.max_memory_bytes:
            raise AudioLimitError(
                path, f"needs more than {_bytes(self.max_memory_bytes)} of memory: decode to mono or a lower rate"
            )


def _bytes(count: int) -> str:
    """Write a number of bytes as people say it."""
    if count < 1024:
        return f"{count} bytes"
    amount = count / 1024
    for unit in ("KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} GiB"


def _clock(seconds: float) -> str:
    """Write a length as `12.3 s` up to two minutes, then as h:mm:ss."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
