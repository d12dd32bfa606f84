"""Blocks of samples out of an opened file, by libsndfile or by libav."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbeat.audio import mpeg
from backbeat.audio.opening import open_av, sndfile_handle
from backbeat.audio.probe import Source
from backbeat.errors import DamagedAudioError

#: Samples a channel read at once.
BLOCK_SAMPLES = 65536
#: A hole in the time stamps that is filled with silence even though nothing failed to decode (gaps in live recordings).
GAP_S = 0.1
#: The longest hole filled when the file does not say how long it is.
LONGEST_GAP_S = 10.0
_SKIP_MANUAL = 1 << 29  # AV_CODEC_FLAG2_SKIP_MANUAL

Block = NDArray[np.float32]

#: libav's sample formats, packed; the planar ones have a `p` behind.
_SAMPLE_TYPES = {
    "u8": np.uint8,
    "s16": np.int16,
    "s32": np.int32,
    "s64": np.int64,
    "flt": np.float32,
    "dbl": np.float64,
}


def read_blocks(source: Source, reader: str, notes: list[str]) -> Iterator[Block]:
    """Yield blocks of shape (channels, n), full scale ±1, at the rate of the file, from its first audible sample.

    What goes wrong on the way is added to `notes` in words; the blocks then end early, or silence takes the place of
    what is lost so that times stay true.

    Parameters
    ----------
    source
        The opened file.
    reader
        `sndfile` or `av`.
    notes
        Gets what went wrong.
    """
    return _read_sndfile(source, notes) if reader == "sndfile" else _read_av(source, notes)


def _read_sndfile(source: Source, notes: list[str]) -> Iterator[Block]:
    import soundfile

    try:
        with soundfile.SoundFile(sndfile_handle(source.stream), closefd=False) as file:
            while True:
                block = file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)
                if len(block) == 0:
                    return
                yield np.ascontiguousarray(block.T)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        notes.append(f"damaged: decoding stopped ({_words(error)})")


def _words(error: Exception) -> str:
    """Return a one-line reason."""
    return str(getattr(error, "error_string", None) or error).strip().rstrip(".").lower() or "unknown error"


def _read_av(source: Source, notes: list[str]) -> Iterator[Block]:
    frames = _Frames(source, notes)
    pending: list[Block] = []
    waiting = 0
    for block in frames.blocks():
        pending.append(block)
        waiting += block.shape[1]
        if waiting >= BLOCK_SAMPLES:
            yield np.concatenate(pending, axis=1)
            pending, waiting = [], 0
    if pending:
        yield np.concatenate(pending, axis=1)
    frames.report()


class _Frames:
    """The decoded frames of one audio track, in their places in time."""

    def __init__(self, source: Source, notes: list[str]) -> None:
        self.source = source
        self.notes = notes
        self.rate = source.info.sample_rate_hz
        self.channels = source.info.channels
        self.position = 0  # samples given out
        self.lost = 0  # packets that did not decode
        self.first_lost_s = 0.0
        self.filled = 0  # samples of silence in place of lost ones
        self.origin: float | None = None  # time stamp of sample 0
        self.to_skip = 0
        self.since_error = False

    def blocks(self) -> Iterator[Block]:
        import av

        # From the first frame on: behind junk, libav takes the LAME tag for sound and does not know the delay.
        start = mpeg.find_mpeg(self.source.stream) if self.source.info.container == "mp3" else None
        with open_av(self.source.info.path, self.source.stream, start or 0) as media:
            track = media.streams.audio[0]
            track.thread_type = "NONE"
            by_frames = self._set_skipping(track.codec_context)
            packets = media.demux(track)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    self.notes.append(f"damaged: reading stopped ({_words(error)})")
                    return
                if packet is None:
                    return
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except (av.error.FFmpegError, ValueError):
                    self._lose()
                    continue
                for frame in frames:
                    if by_frames:
                        self.to_skip, by_frames = by_frames * frame.samples, 0
                    if frame.sample_rate != self.rate or len(frame.layout.channels) != self.channels:
                        if self.position == 0:
                            self.rate, self.channels = frame.sample_rate, len(frame.layout.channels)
                            self._check_shape()
                        else:
                            at = self.position / self.rate
                            self.notes.append(
                                f"the rate or the channels change at {at:.1f} s; what follows is left out"
                            )
                            return
                    yield from self._place(frame)

    def _set_skipping(self, codec: Any) -> int:
        """Return how many whole frames at the start are encoder delay that libav does not know of.

        Raw AAC has no field for it, but the first frame of any AAC encoder lacks the other half of its overlap and
        cannot be sound. Windows Media is the same: libav drops two frames, which is right for Microsoft's encoder;
        libav's own has a delay of one, and shows itself by a header without samples a block.
        """
        if self.source.info.container == "aac":
            return 1
        if codec.name in ("wmav1", "wmav2") and not any((codec.extradata or b"\1")[:4]):
            codec.flags2 |= _SKIP_MANUAL
            return 1
        return 0

    def _check_shape(self) -> None:
        info = self.source.info
        if (self.rate, self.channels) != (info.sample_rate_hz, info.channels):
            raise DamagedAudioError(
                info.path,
                f"is damaged: its header says {info.channels} channels at {info.sample_rate_hz} Hz, its sound has "
                f"{self.channels} at {self.rate} Hz",
            )

    def _lose(self) -> None:
        """Count a packet that did not decode."""
        if not self.lost:
            self.first_lost_s = self.position / self.rate
        self.lost += 1
        self.since_error = True

    def _place(self, frame: Any) -> Iterator[Block]:
        """Yield one frame, behind silence when frames before it are missing."""
        block = _as_float(frame, self.channels)
        start = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base else None
        if self.to_skip:
            cut = min(self.to_skip, block.shape[1])
            self.to_skip -= cut
            block = block[:, cut:]
            if block.shape[1] == 0:
                return
            start = None
        if start is not None:
            if self.origin is None:
                self.origin = start - self.position / self.rate
            gap = round((start - self.origin) * self.rate) - self.position
            smallest = block.shape[1] // 2 if self.since_error else round(GAP_S * self.rate)
            if smallest < gap <= self._longest_gap():
                self.filled += gap
                self.position += gap
                for at in range(0, gap, BLOCK_SAMPLES):
                    yield np.zeros((self.channels, min(BLOCK_SAMPLES, gap - at)), np.float32)
        self.since_error = False
        self.position += block.shape[1]
        yield block

    def _longest_gap(self) -> int:
        """Return the samples that may be filled: to the declared end, since a damaged time stamp may say anything."""
        declared = self.source.declared_s
        if declared is None:
            return round(LONGEST_GAP_S * self.rate)
        return max(0, round((declared + 0.1) * self.rate) - self.position)

    def report(self) -> None:
        """Put into words what was lost."""
        if self.lost:
            packets = "1 packet" if self.lost == 1 else f"{self.lost} packets"
            self.notes.append(f"damaged: {packets} from {self.first_lost_s:.1f} s on did not decode")
        if self.filled:
            self.notes.append(f"damaged: silence stands for {self.filled / self.rate:.2f} s that are missing")


def _as_float(frame: Any, channels: int) -> Block:
    """Return the samples of a libav frame as float32 (channels, n), full scale ±1."""
    name = frame.format.name
    dtype = _SAMPLE_TYPES.get(name.removesuffix("p"))
    if dtype is None:
        raise DamagedAudioError("audio", f"decodes to samples of kind {name}, which are not read here")
    # Not frame.to_ndarray(): PyAV 18 counts a ninth plane in 7.1 and crashes in it.
    if frame.format.is_planar:
        rows = [np.frombuffer(plane, dtype, count=frame.samples) for plane in frame.planes[:channels]]
        data: NDArray[Any] = np.stack(rows)
    else:
        data = np.frombuffer(frame.planes[0], dtype, count=frame.samples * channels).reshape(-1, channels).T
    if data.dtype == np.uint8:
        return (data.astype(np.float32) - 128.0) / 128.0
    if np.issubdtype(data.dtype, np.integer):
        return (data / float(-int(np.iinfo(data.dtype).min))).astype(np.float32)
    return np.ascontiguousarray(data, dtype=np.float32)
