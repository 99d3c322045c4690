"""``python -m mlcore.training.launch JOB.json``: one job in a process of its own.

Standard output carries events, one JSON object a line, and nothing else: whatever libraries print goes to
standard error. SIGTERM (or SIGINT) asks the job to stop: it finishes its step, writes a checkpoint, says
"cancelled" and exits with 3. The process ends with its parent: when the pipe on its standard input closes,
and on Linux also by a signal from the kernel.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from mlcore.training.orphan import ORPHANED, end_with_parent, take_standard_output

# Spinning threads of two torch processes take each other's time; OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main(arguments: list[str]) -> int:
    """Run the job named on the command line; the exit status is returned (0, 1, 3; 2 for a wrong call)."""
    if len(arguments) != 1:
        print("usage: python -m mlcore.training.launch JOB.json", file=sys.stderr)
        return 2
    descriptor = take_standard_output()
    parent = os.getppid()
    _end_with_parent(parent)
    stop = threading.Event()

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)

    from mlcore.training.events import JsonLines

    emit = JsonLines(descriptor)
    try:
        job: dict[str, Any] = json.loads(Path(arguments[0]).read_text("utf-8"))
    except (OSError, ValueError) as error:
        emit({"event": "failed", "reason": f"The job file cannot be read ({error})."})
        return 1
    # Late, because loading torch takes seconds in which a stop has to be noticed too.
    from mlcore.training.jobs import SUCCEEDED, run_job
    from mlcore.training.machine import wait_for_main

    try:
        status = run_job(job, emit, stop.is_set)
    except BrokenPipeError:
        return ORPHANED
    if status == SUCCEEDED:
        # The one that reports is still measuring; a machine that left now would look like one that is lost.
        wait_for_main(stop.is_set)
    return status


def _end_with_parent(parent: int) -> None:
    """End this process when its parent is gone."""
    end_with_parent(parent)
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    # Only a pipe tells of a parent's end; a terminal or /dev/null says nothing, or the wrong thing.
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        threading.Thread(target=_wait_for_end_of_input, name="parent-watch", daemon=True).start()


def _wait_for_end_of_input() -> None:
    while True:
        try:
            if not os.read(0, 4096):
                os._exit(ORPHANED)
        except InterruptedError:
            continue
        except OSError:
            return


def _leave(status: int) -> None:
    """End the process. One of several does so at once: taking the interpreter down while the threads that talk to the
    others are alive aborts now and then, and the abort of one that is done would end those that are not."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    _leave(main(sys.argv[1:]))
