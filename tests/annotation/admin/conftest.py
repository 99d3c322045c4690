import uuid
from collections.abc import Callable

import pytest

from annotation.answers import submit
from annotation.flow import next_step
from annotation.models import Participant
from tests.annotation.admin.world import Loop, make_loop
from tests.annotation.factories import rating


@pytest.fixture
def loop(db) -> Loop:
    return make_loop()


@pytest.fixture
def answer_all() -> Callable[..., int]:
    """Answers a person's reasonability trials, all or so many, each in `milliseconds`; how many that were."""

    def answer(person: Participant, most: int = 1000, milliseconds: int = 4000) -> int:
        for number in range(most):
            step = next_step(person)
            if step.kind != "trial":
                return number
            submit(
                assignment=step.assignment, submission=uuid.uuid4(), payload=rating(step.assignment),
                duration_ms=milliseconds,
            )  # fmt: skip
        return most

    return answer
