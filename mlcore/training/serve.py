"""``python -m mlcore.training.serve``: answers short questions about classifiers, one JSON line in, one out.

A question has a "kind" and may have an "id", which its answer repeats: {"id": …, "answer": {…}}, or
{"id": …, "error": "one sentence"} where there is none. Questions are answered in the order in which they come; a bad
one never ends the process. The last few classifiers stay in memory.

    {"kind": "layers", "classifier": {…}, "image_size": 224}
    {"kind": "mask", "classifier": {…}, "picture": "path", "method": "grad_cam", "options": {}, "label": 3,
     "transform": {"image_size": 224, "resize": "squash", "normalise": "imagenet"}}
    {"kind": "match", "classifier": {…}, "picture": "path", "transform": {…}, "matcher": "emd_corr", "options": {},
     "gallery": {"folder": "path", "layer": "features", "images": {"id": [3, "path"]}}, "marked": [[0, 2], [1, 2]]}

"classifier" is what a job's is (`mlcore.training.job.ClassifierSpec`). Standard output carries answers and nothing
else. The process ends when its input does, after the questions that were asked, and at once when its parent is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import Any

from mlcore.training.orphan import ORPHANED, end_with_parent, take_standard_output

# Spinning threads of two torch processes take each other's time; OpenMP reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

PARENT_SECONDS = 0.5


def main() -> int:
    """Answer until the input ends; the exit status is returned (0, or 4 where nobody reads the answers)."""
    descriptor = take_standard_output()
    parent = os.getppid()
    end_with_parent(parent)
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(lines, parent), name="questions", daemon=True).start()

    from mlcore.training.events import JsonLines

    emit = JsonLines(descriptor)
    answerer: Any = None
    try:
        while (line := lines.get()) is not None:
            if not line.strip():
                continue
            if answerer is None:
                # Late, because loading torch takes seconds, and a process without a question needs none of it.
                from mlcore.training.questions import Answerer

                answerer = Answerer()
            emit(answer_line(line, answerer))
    except BrokenPipeError:
        return ORPHANED
    return 0


def answer_line(line: str, answerer: Any) -> dict[str, Any]:
    """The answer to one line, as a dictionary; nothing is raised."""
    named: dict[str, Any] = {}
    try:
        question = json.loads(line)
        if not isinstance(question, dict):
            raise ValueError("A question is a JSON object.")
        named = {"id": question["id"]} if "id" in question else {}
        started = time.monotonic()
        found = answerer.answer(question)
        return named | {"answer": found | {"seconds": round(time.monotonic() - started, 4)}}
    except json.JSONDecodeError as error:
        return {"error": f"The question is no JSON ({error})."}
    except ValueError as error:  # JobError, and what methods refuse
        return named | {"error": str(error)}
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return named | {"error": _reason(error)}


def _reason(error: Exception) -> str:
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return "The machine ran out of memory."
    lines = str(error).strip().splitlines()
    return f"The question has no answer: {type(error).__name__}: {lines[0] if lines else 'no further word'}"


def _read(lines: queue.Queue[str | None], parent: int) -> None:
    """Lines of standard input into the queue; then wait for the parent's end, which a question must not outlive."""
    for line in sys.stdin:
        lines.put(line)
    lines.put(None)
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(ORPHANED)


if __name__ == "__main__":
    sys.exit(main())
