"""A study with phases, and a person who goes through it by the domain alone, for tests."""

import uuid

from annotation.answers import submit
from annotation.flow import next_step
from annotation.models import Trial
from annotation.publishing import TrialItem, add_trials, publish
from tests.annotation import factories as make


def study(images=4, *, phases=(), live=True, **values):
    """A reasonability study with trials of these further phases: (phase, how many)."""
    made = make.ratings(images, live=False, **values)
    pictures = [trial.image for trial in Trial.objects.filter(study=made).select_related("image")]
    for phase, number in phases:
        items = [TrialItem(pictures[n % len(pictures)], gold=_gold(made), feedback="Look.") for n in range(number)]
        add_trials(made, made.owner, phase, items)
    if live:
        publish(made, made.owner)
    return made


def _gold(made):
    from annotation.studies import kind_of

    names = {field.name for field in kind_of(made).gold_fields}
    wanted = {"necessary": "yes", "unnecessary": "no"}
    return {name: value for name, value in wanted.items() if name in names}


def answer(person, *, right=True, **values):
    step = next_step(person)
    assert step.kind == "trial", step
    payload = make.rating(step.assignment, necessary=right, unnecessary=not right)
    return submit(assignment=step.assignment, submission=uuid.uuid4(), payload=payload, **values)


def kind_of_step(person):
    return next_step(person).kind
