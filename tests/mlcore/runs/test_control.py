"""Cancel, resume, repeat, as the rows see it."""

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from mlcore.models import AuditEntry, Run
from mlcore.runs import state
from mlcore.runs.control import cancel, repeat, resume
from mlcore.runs.start import RunRefused
from tests.mlcore.runs.world import make_supervision, start


@pytest.fixture
def person(db):
    return get_user_model().objects.create_user("ada")


def test_a_waiting_run_is_cancelled_at_once(world, person) -> None:
    run = cancel(start(world), person)
    assert (run.state, run.reason) == ("cancelled", "Cancelled before it started.")
    assert run.ended is not None
    assert state.claim(run.uuid, "host:1") is None
    entry = AuditEntry.objects.get(action="run.cancel")
    assert (entry.actor, entry.before, entry.after) == (person, {"state": "queued"}, {"state": "cancelled"})


def test_a_held_run_is_asked_to_stop(world, person) -> None:
    run = start(world)
    held = state.claim(run.uuid, "host:1")
    assert cancel(run, person).cancel_requested
    assert cancel(run, person).state == "claimed"
    assert AuditEntry.objects.filter(action="run.cancel").count() == 1
    assert state.beat(held) is True


@pytest.mark.parametrize("ended", ["succeeded", "failed", "cancelled"])
def test_what_has_ended_is_not_cancelled(world, ended) -> None:
    run = start(world)
    Run.objects.update(state=ended, ended=timezone.now(), reason="so")
    with pytest.raises(RunRefused, match="ended already"):
        cancel(run, None)


def test_resume_queues_with_a_fresh_budget_and_keeps_the_checkpoint(world, person) -> None:
    run = start(world)
    Run.objects.update(
        state="failed", ended=timezone.now(), reason="power cut", attempts=3, checkpoint="there", cancel_requested=True
    )
    run = resume(run, person)
    assert (run.state, run.attempts, run.reason, run.ended, run.cancel_requested) == ("queued", 0, "", None, False)
    assert run.checkpoint == "there"
    assert "Resumed by ada, from its checkpoint." in run.log
    assert AuditEntry.objects.get(action="run.resume").before == {"state": "failed", "reason": "power cut"}


@pytest.mark.parametrize("current", ["queued", "claimed", "running", "succeeded"])
def test_only_what_broke_off_is_resumed(world, current) -> None:
    run = start(world)
    held = state.claim(run.uuid, "host:1") if current != "queued" else None
    if current == "succeeded":
        state.succeed(held, {})
    elif current == "running":
        state.begin(held, total_steps=1, versions={}, device="cpu")
    with pytest.raises(RunRefused, match="only failed and cancelled"):
        resume(run, None)


def test_a_repeat_differs_in_what_was_changed(world, person) -> None:
    run = start(world, supervision=make_supervision(world), seed=4, recipe={"objective": "gradia", "layer": "features"})
    again = repeat(run, person)
    assert (again.recipe, again.seed, again.manifest_hash) == (run.recipe, 4, run.manifest_hash)
    assert (again.repeats, again.owner, again.supervision) == (run, person, run.supervision)
    other = repeat(run, person, {"epochs": 5, "seed": 9, "name": "longer"})
    assert (other.recipe, other.seed, other.name) == (run.recipe | {"epochs": 5}, 9, "longer")
    energy = repeat(run, person, {"objective": "energy"})
    assert energy.recipe["objective"] == "energy"
    assert "preset" not in energy.recipe  # GRADIA's own
    with pytest.raises(RunRefused) as caught:
        repeat(run, person, {"epochs": 0})
    assert "epochs" in caught.value.errors
