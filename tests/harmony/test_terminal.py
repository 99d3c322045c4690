"""Stages of a command: each is named when it starts, and ends with its time before the next begins."""

import io

from harmony.terminal import Stages


def test_stages_end_in_order() -> None:
    stream = io.StringIO()
    stages = Stages(stream)
    for share in (0.0, 0.5, 1.0):
        stages.stage("Rendering", share)
    stages.stage("Training", 0.0)
    stages.end()
    stages.end()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Rendering:   0%"
    assert lines[-1].startswith("Training: 100% (")
    ended = [index for index, line in enumerate(lines) if line.startswith("Rendering: 100% (")]
    assert len(ended) == 1
    assert ended[0] < next(index for index, line in enumerate(lines) if line.startswith("Training"))
