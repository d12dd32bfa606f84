"""Keeping the memory that a program will need again in a moment."""

from __future__ import annotations

import ctypes
import sys

# Numbers of malloc.h, for mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Tell glibc's allocator not to give freed blocks back to the system at once; False where it is another allocator.

    The maps of a U-Net are blocks of many megabytes. Given back after each layer and asked for again, every page of
    them has to be cleared by the system each time: a fifth of the time of a separation on a processor. It concerns the
    whole process, so it is for programs to call, and not for what they import.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = {_MMAP_THRESHOLD: _KEPT_BYTES, _TRIM_THRESHOLD: _KEPT_BYTES, _TOP_PAD: 64 << 20}
    answers = [mallopt(name, value) for name, value in settings.items()]
    return answers == [1, 1, 1]
