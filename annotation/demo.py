"""The demonstration: decoy scenes, the whole loop once, and two studies left open for the newcomer.

Every step looks first whether it has been done, so an interrupted demonstration goes on where it stopped and a second
start takes seconds.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from annotation import publishing, simulation
from annotation.demo_studies import are_live, publish_demo_studies
from annotation.loop import LoopPlan, LoopResult, Report, counted, perform_here, run_loop, run_of
from annotation.models import Study
from annotation.people import add_annotator, add_researcher
from mlcore.exchange.decoy import render_decoy
from mlcore.exchange.decoy_settings import DEMO
from mlcore.exchange.images import import_folder
from mlcore.exchange.partitions import partition_from_splits
from mlcore.models import ImageSet, Partition
from mlcore.models.partitions import Part
from mlcore.runs.comparison_maps import start_comparison_maps

NAME = "Decoy scenes"
RATED_AFTERWARDS = 60  # validation images


@dataclass(frozen=True)
class Login:
    name: str
    password: str
    page: str


def logins() -> list[Login]:
    """A researcher and an annotator of this installation's own, with passwords made once and kept in `var/`."""
    path = Path(settings.VAR_DIR) / "demo-logins.json"
    known: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    people = get_user_model().objects
    for name, add in (("annotator", add_annotator), ("researcher", add_researcher)):
        if name not in known or not people.filter(username=name).exists():
            known[name] = "-".join(secrets.token_hex(2) for _ in range(3))
            user = people.filter(username=name).first() or add(name)
            user.set_password(known[name])
            # The one researcher of the demonstration also administers it.
            user.is_superuser = name == "researcher"
            user.save()
    path.touch(mode=0o600)
    path.write_text(json.dumps(known))
    pages = {"annotator": "/", "researcher": "/admin/"}
    return [Login(name, password, pages[name]) for name, password in known.items()]


def run_demo(owner: Any, report: Report) -> LoopResult:
    """Renders, imports, and runs the loop on what is not there yet. Raises what `run_loop` raises."""
    image_set, partition = _scenes(owner, report)
    plan = LoopPlan(
        name=NAME,
        image_set=image_set,
        partition=partition,
        owner=owner,
        phase1=DEMO["phase_1"],
        phase2=DEMO["phase_2"],
        rates=DEMO["rates"],
        seed=DEMO["seed"],
        reuse=True,
    )
    result = run_loop(plan, report)
    _compare_with_training_images(plan, result, report)
    _ask_about_all_three(plan, result, report)
    return result


def _compare_with_training_images(plan: LoopPlan, result: LoopResult, report: Report) -> None:
    """Validation images classified by the training images that they look like: a result to look at, and features that
    a picture of the newcomer's own can be compared with at once."""
    run_of(
        plan,
        "Comparing validation with training images",
        report,
        f"{plan.name}: by comparison",
        "correspond",
        {"part": Part.VALIDATION.value, "gallery_part": Part.TRAIN.value},
        result.phase2.made_classifier,
    )


def _ask_about_all_three(plan: LoopPlan, result: LoopResult, report: Report) -> None:
    """Maps of phase 1, the control and phase 2 on validation images: rated blind side by side, and closed, which the
    before/after page shows; and two studies about them that stay open for the newcomer."""
    name = f"{plan.name}: before and after, side by side"
    rated = Study.objects.filter(name=name, state=Study.State.CLOSED).exists()
    if rated and are_live(plan.name):
        return
    runs = [
        perform_here(run, f"Explaining validation images: {run.classifier}", report)
        for run in start_comparison_maps(result.phase2, plan.owner, enqueue=False)
    ]
    sets = [run.explanation_set for run in runs if run.explanation_set is not None]
    publish_demo_studies(plan.owner, plan.name, sets[0], sets[1])
    if rated:
        return
    part = plan.partition.members.filter(part=Part.VALIDATION).select_related("image").order_by("id")
    study = Study.objects.filter(name=name).first() or publishing.create_study(
        kind="reasonability",
        name=name,
        owner=plan.owner,
        image_set=plan.image_set,
        images=[member.image for member in part[:RATED_AFTERWARDS]],
        explanation_sets=sets,
        answers_per_trial=1,
        seed=plan.seed,
    )
    if study.state == Study.State.DRAFT:
        publishing.publish(study, plan.owner)
    title = "Scripted annotators rate all three, blind"
    simulation.simulate(study, people=1, seed=plan.seed, rates=plan.rates, progress=counted(report, title))
    publishing.close(study, plan.owner)


def _scenes(owner: Any, report: Report) -> tuple[ImageSet, Partition]:
    known = Partition.objects.filter(image_set__name=NAME, name="given").select_related("image_set").first()
    if known is not None:
        return known.image_set, known
    folder = Path(settings.VAR_DIR) / "decoy"
    render_decoy(
        folder,
        seed=DEMO["seed"],
        progress=lambda done, total: report("Rendering decoy scenes", done / total),
        **DEMO["world"],
    )
    imported = import_folder(
        folder / "images",
        name=NAME,
        owner=owner,
        labels=folder / "labels.csv",
        masks=folder / "masks",
        progress=lambda done, total: report("Importing images and masks", done / max(total, 1)),
    )
    return imported.image_set, partition_from_splits(imported.image_set, folder / "labels.csv", "given", owner)
