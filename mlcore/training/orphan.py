"""What a process that computes for another one owes it: clean lines on standard output, and an end together."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from types import FrameType

ORPHANED = 4
PR_SET_PDEATHSIG = 1


def take_standard_output() -> int:
    """Keep standard output for events alone; prints of Python and of compiled code go to standard error.

    The descriptor to write events to is returned.
    """
    kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return kept


def end_with_parent(parent: int) -> None:
    """End this process when the process `parent` is gone: on Linux by a signal of the kernel, elsewhere not."""

    def end_if_orphaned(signum: int, frame: FrameType | None) -> None:
        # The kernel sends the signal when the THREAD that started us ends; the parent may well live on.
        if os.getppid() != parent:
            os._exit(ORPHANED)

    if sys.platform == "linux":
        signal.signal(signal.SIGUSR1, end_if_orphaned)
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(ORPHANED)
