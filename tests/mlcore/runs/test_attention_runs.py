"""Attention modules by runs: trained on a classifier, chosen for its maps, frozen in their sets, asked by scores."""

import hashlib
import json

import pytest
from django.core.management import CommandError, call_command

from mlcore.models import AttentionModule, AuditEntry, Classifier, ExplanationSet, Run, RunMetric, Score
from mlcore.runs.job import build
from mlcore.runs.perform import perform
from mlcore.runs.start import RunRefused
from mlcore.runs.state import claim
from tests.mlcore.runs.world import World, add_boxes, make_classifier, make_supervision, make_world, start

LAYERS = "features.8,features.11,features.17"  # of sixconv, with 8, 8 and 4 cells a side at 32 px
TINY = {
    "objective": "tame", "layers": LAYERS, "epochs": 2, "batch_size": 4, "device": "cpu", "learning_rate": 0.05,
}  # fmt: skip


def attend(world: World, classifier: Classifier | None, **changes) -> Run:
    recipe = TINY | changes.pop("recipe", {})
    return start(world, classifier=classifier, recipe=recipe, **{"name": "attention"} | changes)


def done(run: Run) -> Run:
    run = perform(run.uuid, worker_name="here:1")
    assert run.state == Run.State.SUCCEEDED, run.reason + run.log
    return run


def module_of(classifier: Classifier, kind: str = "tame", name: str = "earlier module") -> AttentionModule:
    """A row whose file nobody reads."""
    from django.core.files.base import ContentFile

    made = AttentionModule(name=name, classifier=classifier, kind=kind, layers=["a", "b"], sha256="1" * 64)
    made.weights.save("a.safetensors", ContentFile(b"not read"), save=True)
    return made


def explain(world: World, classifier: Classifier, **recipe) -> Run:
    return start(world, "explain", classifier=classifier, recipe={"methods": "tame", "device": "cpu"} | recipe)


def refused(call) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        call()
    return caught.value.errors


def test_it_is_refused_by_its_field(world) -> None:
    classifier = make_classifier(world)
    assert refused(lambda: attend(world, None))["classifier"] == "TAME explains a trained classifier: choose one."
    nameless = make_classifier(world, classes=[])
    assert "no list of classes" in refused(lambda: attend(world, nameless))["classifier"]
    drawn = make_supervision(world)
    assert "leave people's maps out" in refused(lambda: attend(world, classifier, supervision=drawn))["supervision"]
    assert "last epoch" in refused(lambda: attend(world, classifier, recipe={"select": "best_accuracy"}))["select"]
    assert (
        "“validation”"
        in refused(lambda: attend(make_world("two", {"train": 4}), classifier, recipe={"select": "best_score"}))[
            "partition"
        ]
    )


def test_images_need_no_labels_and_the_classifier_keeps_its_own_classes(world) -> None:
    for image in world.part("train"):
        image.labels.all().delete()
    classifier = make_classifier(world, classes=["Admiral", "Monarch", "Peacock"])
    run = attend(world, classifier)
    job = build(run, claim(run.uuid, "here:1"))
    assert (job["classifier"]["num_classes"], job["classifier"]["replace_head"]) == (3, False)
    assert all(item["label"] is None for items in job["parts"].values() for item in items)
    assert "keeps its own 3 classes" in run.log
    assert "validation" not in attend(make_world("two", {"train": 4}), classifier).manifest.get("validation", [])


def test_the_module_that_is_read_is_written_into_the_recipe(world) -> None:
    classifier, other = make_classifier(world), make_classifier(world)
    assert "has no trained attention module of TAME" in refused(lambda: explain(world, classifier))["methods"]
    older, newest = module_of(classifier), module_of(classifier, name="newest")
    run = explain(world, classifier)
    assert run.recipe["tame.attention"] == str(newest.uuid)
    module_of(classifier, name="made later")
    job = build(run, claim(run.uuid, "here:1"))
    assert job["recipe"]["tame.attention"] == newest.weights.path
    named = explain(world, classifier, **{"tame.attention": str(older.uuid)[:13]})
    assert named.recipe["tame.attention"] == str(older.uuid)
    theirs, lcam = module_of(other, name="theirs"), module_of(classifier, "l_cam", "one layer")
    for given, words in (
        (str(theirs.uuid), "belongs to “earlier”, not to"),
        (str(lcam.uuid), "is one of L-CAM, not of TAME"),
        ("0" * 32, "There is no attention module"),
        ("nonsense", "There is no attention module “nonsense”"),
    ):
        errors = refused(lambda given=given: explain(world, classifier, **{"tame.attention": given}))
        assert words in errors["tame.attention"]
    both = start(
        world, "explain", classifier=classifier, recipe={"methods": "tame,l_cam,grad_cam", "l_cam.attention": ""}
    )
    assert both.recipe["l_cam.attention"] == str(lcam.uuid)
    newest.weights.delete(save=False)
    lost = perform(explain(world, classifier, **{"tame.attention": str(newest.uuid)}).uuid, worker_name="here:1")
    assert (lost.state, "is not in the storage any more" in lost.reason) == (Run.State.FAILED, True)


@pytest.mark.slow
def test_a_module_is_trained_explains_and_is_asked_again(world, reference) -> None:
    classifier = make_classifier(world, weights=reference)
    before = classifier.sha256
    call_command(
        "train", "--image-set", "scenes", "--classifier", str(classifier.uuid), "--name", "looks", "--wait",
        *(part for key, value in TINY.items() for part in ("--option", f"{key}={value}")),
        "--option", "evaluate_test=yes",
    )  # fmt: skip
    run = Run.objects.get()
    module = run.made_attention
    assert (module.name, module.kind, module.variant, module.classifier) == ("looks", "tame", "default", classifier)
    assert module.layers == LAYERS.split(",")
    assert hashlib.sha256(module.weights.open().read()).hexdigest() == module.sha256 == run.result["weights_sha256"]
    assert not Classifier.objects.filter(run=run).exists()
    classifier.refresh_from_db()
    assert classifier.sha256 == before
    audit = AuditEntry.objects.get(action="attention.make")
    assert (audit.object_id, audit.after["kind"]) == (str(module.uuid), "tame")
    scores = {score.metric: score for score in Score.objects.filter(run=run, part="test")}
    assert set(scores) >= {"average_drop", "average_drop_50", "increase_in_confidence_15"}
    assert {score.classifier for score in scores.values()} == {classifier}
    assert scores["average_drop_50"].n == 6
    curve = RunMetric.objects.filter(run=run, part="validation", name="average_drop_50")
    assert list(curve.values_list("step", flat=True)) == [0, 3, 6]

    maps = done(explain(world, classifier, part="validation"))
    made = maps.explanation_sets.get()
    assert made.options == {"attention": str(module.uuid), "scaled": True}
    assert {row.status for row in made.explanations.all()} == {"ok"}
    assert {row.maximum for row in made.explanations.all()} == {1.0}
    assert made.explanations.count() == 6
    assert made.explanations.first().height == 8
    # Another module's maps are another set; the same module's are not made twice.
    again = done(explain(world, classifier, part="validation"))
    assert again.explanation_sets.get() == made
    assert again.result["summary"]["skipped"] == 6
    second = done(attend(world, classifier, seed=1, name="second"))
    assert second.made_attention.sha256 != module.sha256
    assert done(explain(world, classifier, part="validation")).explanation_sets.get() != made

    judged = start(
        world, "score", explanation_sets=[made], recipe={"metrics": "focus,average_drop", "part": "validation"}
    )
    judged = done(judged)
    values = {score.metric: score.value for score in judged.scores.all()}
    assert set(values) == {"focus", "average_drop"}
    module.delete()
    errors = refused(lambda: start(world, "score", explanation_sets=[made], recipe={"metrics": "focus"}))
    assert "its attention module is gone" in errors["metrics"]
    assert done(
        start(world, "score", explanation_sets=[made], recipe={"metrics": "average_drop", "part": "validation"})
    )


@pytest.mark.slow
def test_l_cam_is_a_method_of_its_own(world, reference) -> None:
    classifier = make_classifier(world, weights=reference)
    done(attend(world, classifier, recipe={"variant": "l_cam", "layers": "", "epochs": 1}))
    run = done(start(
        world, "explain", classifier=classifier,
        recipe={"methods": "l_cam,grad_cam", "part": "validation", "device": "cpu"},
    ))  # fmt: skip
    assert [one.method for one in run.explanation_sets.order_by("pk")] == ["l_cam", "grad_cam"]
    assert all(one.explanations.count() == 6 for one in run.explanation_sets.all())


@pytest.mark.slow
def test_a_learning_rate_test_leaves_a_curve_and_nothing_else(world, reference) -> None:
    classifier = make_classifier(world, weights=reference)
    files = Classifier.objects.count()
    run = start(
        world, "lr_test", classifier=classifier, recipe=TINY | {"steps": 12, "low": 1e-4, "high": 1.0, "beta": 0.5}
    )
    assert set(run.manifest) == {"train"}
    run = done(run)
    assert (run.total_steps, run.step) == (12, 12)
    points = {
        name: list(RunMetric.objects.filter(run=run, name=name).values_list("step", flat=True))
        for name in ("rate", "loss", "smoothed")
    }
    made = run.result["summary"]["steps"]
    assert points == {name: list(range(1, made + 1)) for name in points}
    assert run.result["rates"]["sentence"]
    assert Classifier.objects.count() == files
    assert not AttentionModule.objects.exists()
    assert not Score.objects.exists()


def test_a_learning_rate_test_is_refused_like_the_training_that_it_tries(world) -> None:
    assert "choose one" in refused(lambda: start(world, "lr_test", recipe=TINY))["classifier"]
    errors = refused(lambda: start(world, "lr_test", recipe={"objective": "gradia"}))
    assert "choose a supervision" in errors["supervision"]
    boxed = start(world, "lr_test", recipe={"objective": "supervised", "select": "best_score"})
    assert boxed.recipe["select"] == "best_score"  # nothing is chosen
    add_boxes(world.part("train"))
    drawn = start(world, "lr_test", recipe={"objective": "energy", "supervision_source": "boxes"})
    job = build(drawn, claim(drawn.uuid, "here:1"))
    assert all(item["boxes"] for item in job["parts"]["train"])
    assert json.dumps(job)
    assert not ExplanationSet.objects.exists()


def test_commands_say_what_is_missing(world) -> None:
    make_classifier(world)
    with pytest.raises(CommandError, match="has no trained attention module of TAME"):
        call_command("explain", "--image-set=scenes", "--classifier=earlier", "--methods=grad_cam,tame")


@pytest.mark.slow
def test_the_command_tries_rates_and_says_which_to_train_with(world, reference, capsys) -> None:
    make_classifier(world, weights=reference)
    call_command(
        "lr_test", "--image-set", "scenes", "--classifier", "earlier", "--steps", "8", "--low", "1e-4", "--wait",
        *(part for key, value in TINY.items() for part in ("--option", f"{key}={value}")),
    )  # fmt: skip
    run = Run.objects.get()
    assert (run.kind, run.state, run.name) == ("lr_test", "succeeded", "scenes, learning rates, tame")
    said = capsys.readouterr().out
    assert run.result["rates"]["sentence"] in said
    suggestion = run.result["rates"]["suggestion"]
    assert (f"learning_rate={suggestion:.3g}" in said) if suggestion else ("no rate can be suggested" in said)
