"""Opening files: only what is one, and so that neither decoder hangs, looks elsewhere or talks to the terminal."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from backbeat.errors import AudioNotFoundError, DamagedAudioError

#: libav may use these demuxers only: no playlists, image sequences or scripts that would open further files.
_AV_OPTIONS = {
    "format_whitelist": "aac,aiff,amr,ape,asf,au,avi,caf,dsf,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpc,mpc8,mpegts,ogg,tta,w64,wav,wv",
    "protocol_whitelist": "",
}


@contextmanager
def open_file(path: Path | str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular, readable, non-empty file; give the stream and its size in bytes.

    Raises
    ------
    AudioNotFoundError
        If there is none, or it may not be read.
    DamagedAudioError
        If it is empty.
    """
    path = Path(path)
    try:
        # Not blocking, so that a pipe without a writer does not hang; what was opened is then looked at.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError):
        raise AudioNotFoundError(path, "does not exist") from None
    except IsADirectoryError:
        raise AudioNotFoundError(path, "is a folder, not a file") from None
    except PermissionError:
        cause = "is a folder, not a file" if path.is_dir() else "may not be read: permission denied"
        raise AudioNotFoundError(path, cause) from None
    except (OSError, ValueError) as error:
        raise AudioNotFoundError(path, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise AudioNotFoundError(path, f"is {kind}, not a file")
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise DamagedAudioError(path, "is empty (0 bytes)")
        yield stream, size


def sndfile_handle(stream: BinaryIO) -> BinaryIO | int:
    """Return what libsndfile reads `stream` from, at its start.

    It is the descriptor of a file: a bad seek then fails inside libsndfile, and not in a callback, whose error Python
    would print.
    """
    stream.seek(0)
    return stream if isinstance(stream, io.BytesIO) else stream.fileno()


class _CalmStream:
    """A stream for libav that answers a bad seek with a failure: PyAV prints exceptions from its callbacks.

    It begins at byte `start` of the real one.
    """

    name = ""

    def __init__(self, stream: BinaryIO, start: int) -> None:
        self.read = stream.read
        self._stream = stream
        self._start = start
        stream.seek(start)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move as `io` does; return -1 where it would raise."""
        try:
            return self._stream.seek(offset + (self._start if whence == os.SEEK_SET else 0), whence) - self._start
        except (OSError, ValueError, OverflowError):
            return -1

    def tell(self) -> int:
        """Return the position behind the start."""
        return self._stream.tell() - self._start


@contextmanager
def open_av(path: Path, stream: BinaryIO, start: int = 0) -> Iterator[Any]:
    """Open the stream, from byte `start` on, with libav; its errors become DamagedAudioError."""
    import av

    try:
        # The open file, not its name: libav would take a name with a colon for a protocol.
        media = av.open(_CalmStream(stream, start), options=_AV_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise DamagedAudioError(path, f"is damaged: its headers cannot be read ({_reason(error)})") from None
    with media:
        yield media


def _reason(error: Exception) -> str:
    """Return the words of a libav error, without its function names."""
    return str(getattr(error, "strerror", None) or error).lower()
