"""What a researcher does with a run that exists: cancel, resume, repeat. Each writes its audit row."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from mlcore.catalogue import RecipeError, clean, fields_for, upgrade
from mlcore.catalogue.recipes import KINDS, ONE, SEVERAL
from mlcore.models import AuditEntry, Run
from mlcore.runs.checks import RunRefused
from mlcore.runs.processes import scale_refusals
from mlcore.runs.queue import send_on_commit
from mlcore.runs.report_plan import classifiers_of
from mlcore.runs.start import start_run
from mlcore.runs.state import HELD, appended, line

State = Run.State
RESUMABLE = (State.FAILED, State.CANCELLED)


@transaction.atomic
def cancel(run: Run, actor: Any) -> Run:
    """Stop a run: at once where it waits, after its step (with a checkpoint) where it runs.

    Raises RunRefused where it has ended already. Asking twice changes nothing.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    if run.state == State.QUEUED:
        changes: dict[str, Any] = {
            "state": State.CANCELLED,
            "ended": timezone.now(),
            "reason": "Cancelled before it started." if run.started is None else "Cancelled while it waited.",
        }
    elif run.state in HELD:
        changes = {"cancel_requested": True}
    else:
        raise RunRefused({"state": f"“{run}” has ended already ({run.get_state_display()})."})
    if run.cancel_requested and run.state in HELD:
        return run
    who = f" by {actor}" if getattr(actor, "pk", None) else ""
    changes["log"] = appended(run.log, [line(f"Cancel requested{who}.")])
    Run.objects.filter(pk=run.pk, state=run.state).update(**changes)
    AuditEntry.write(actor, "run.cancel", run, before={"state": run.state}, after={"state": State.CANCELLED})
    run.refresh_from_db()
    return run


@transaction.atomic
def resume(run: Run, actor: Any, *, enqueue: bool = True, scale: Mapping[str, Any] | None = None) -> Run:
    """Queue a failed or cancelled run again; it goes on from its newest checkpoint. Raises RunRefused.

    `scale` names processes, nodes and rendezvous that are others than before: where a run is computed is no part of
    what it comes to.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    if run.state not in RESUMABLE:
        raise RunRefused(
            {"state": f"“{run}” is {run.get_state_display()}; only failed and cancelled runs are resumed."}
        )
    recipe = _elsewhere(run, scale or {})
    before = {"state": run.state, "reason": run.reason} | {key: run.recipe.get(key) for key in scale or {}}
    who = f" by {actor}" if getattr(actor, "pk", None) else ""
    where = "from its checkpoint" if run.checkpoint else "from its beginning"
    Run.objects.filter(pk=run.pk, state=run.state).update(
        state=State.QUEUED,
        attempt=None,
        attempts=0,
        cancel_requested=False,
        ended=None,
        reason="",
        worker="",
        heartbeat=timezone.now(),
        recipe=recipe,
        log=appended(run.log, [line(f"Resumed{who}, {where}.")]),
    )
    AuditEntry.write(actor, "run.resume", run, before=before, after={"state": State.QUEUED} | dict(scale or {}))
    run.refresh_from_db()
    if enqueue:
        send_on_commit(run)
    return run


def _elsewhere(run: Run, scale: Mapping[str, Any]) -> dict[str, Any]:
    if not scale:
        return dict(run.recipe)
    if run.kind != Run.Kind.TRAIN:
        raise RunRefused({"processes": "Only training is shared by processes."})
    try:
        cleaned = clean(run.kind, upgrade(run.kind, run.recipe) | dict(scale))
    except RecipeError as error:
        raise RunRefused(error.errors) from error
    refused = dict(scale_refusals(cleaned))
    if refused:
        raise RunRefused(refused)
    # Nothing else: the checkpoint belongs to the recipe as it was frozen.
    return run.recipe | {name: cleaned[name] for name in scale}


def repeat(run: Run, actor: Any, changes: dict[str, Any] | None = None, *, enqueue: bool = True) -> Run:
    """A new run with the same recipe, images, classifier, supervision and seed, but for `changes`.

    `changes` may hold recipe options, and "seed" and "name" of the run. Raises RunRefused.
    """
    wanted = dict(changes or {})
    seed, name = wanted.pop("seed", run.seed), wanted.pop("name", f"{run.name[:148]} (repeated)")
    recipe = _changed(run, wanted)
    return start_run(
        kind=run.kind,
        name=name,
        owner=actor,
        image_set=run.image_set,
        recipe=recipe,
        partition=run.partition,
        classifier=run.classifier,
        supervision=run.supervision,
        explanation_sets=list(run.explanation_sets.all()) if run.kind == Run.Kind.SCORE else (),
        human_maps=run.human_maps,
        classifiers=classifiers_of(run),
        gallery=run.gallery,
        repeats=run,
        seed=seed,
        enqueue=enqueue,
    )


def _changed(run: Run, changes: dict[str, Any]) -> dict[str, Any]:
    """The recipe with changes; what is not chosen any more takes its own options along."""
    choosers = list(SEVERAL[run.kind]) if run.kind in SEVERAL else [ONE[run.kind][0]]
    before = upgrade(run.kind, run.recipe)
    changes = upgrade(run.kind, {chooser: before.get(chooser) for chooser in choosers} | changes)
    common = {field.name for field in KINDS[run.kind]()}
    own = {field.name for field in fields_for(run.kind, before)} - common
    if run.kind in SEVERAL:  # "<method>.<option>" names its owner
        own -= {field.name for field in fields_for(run.kind, changes)}
    elif all(changes[chooser] == before.get(chooser) for chooser in choosers):
        own = set()
    return {key: value for key, value in before.items() if key not in own} | changes
