"""What pages show of a run, and of two runs side by side."""

from datetime import timedelta

import pytest
from django.utils import timezone

from mlcore.models import Classifier, Explanation, ExplanationSet, Prediction, Run, RunMetric, Score
from mlcore.runs import summary
from mlcore.runs.health import disk_state
from tests.mlcore.runs.world import make_classifier, start


def test_curves_keep_their_last_point_and_at_most_500(world) -> None:
    run = start(world)
    RunMetric.objects.bulk_create(
        [
            RunMetric(run=run, step=step, epoch=step / 10, part="train", name="loss", value=1 / step)
            for step in range(1, 1201)
        ]
        + [RunMetric(run=run, step=600, epoch=60, part="validation", name="accuracy", value=0.5)]
    )  # fmt: skip
    accuracy, loss = summary.curves(run)
    assert (accuracy.name, accuracy.part, accuracy.steps, accuracy.values) == ("accuracy", "validation", [600], [0.5])
    assert len(loss.steps) == 400  # every third of 1200
    assert loss.steps[-1] == 1200
    assert loss.values[-1] == pytest.approx(1 / 1200)
    assert loss.steps == sorted(loss.steps)


def test_the_time_that_is_left_runs_on_between_reports(world) -> None:
    run = start(world)
    assert summary.time_left(run) == ""
    run.state, run.seconds_left, run.heartbeat = "running", 300.0, timezone.now() - timedelta(seconds=60)
    assert summary.time_left(run) == "about 4 minutes"
    run.state = "failed"
    assert summary.time_left(run) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "a few seconds"),
        (31, "about 30 seconds"),
        (89, "about 90 seconds"),
        (100, "about 2 minutes"),
        (5399, "about 90 minutes"),
        (7200, "about 2 hours"),
        (200_000, "about 2 days"),
    ],
)
def test_durations_in_words(seconds, words) -> None:
    assert summary.in_words(seconds) == words


def test_the_share_that_is_done(world) -> None:
    run = Run(step=3, total_steps=12, state="running")
    assert summary.progress(run) == 0.25
    assert summary.progress(Run(state="queued")) == 0.0
    assert summary.progress(Run(state="succeeded")) == 1.0


def test_the_disk_says_when_it_is_nearly_full(settings, tmp_path, monkeypatch) -> None:
    settings.MEDIA_ROOT = str(tmp_path)
    usage = type("Usage", (), {"free": 100 * 1024**3, "total": 200 * 1024**3})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    assert disk_state().sentence == ""
    usage.free = 1024**3
    assert disk_state().sentence == "The disk is nearly full: 1.0 GB are free."


# --- before and after ---


def finished(world, name: str, parent: Classifier | None = None, **changes) -> Run:
    """A run that has made a classifier."""
    run = start(world, name=name, classifier=parent, **changes)
    made = make_classifier(world)
    Classifier.objects.filter(pk=made.pk).update(name=name, run=run, parent=parent)
    Run.objects.filter(pk=run.pk).update(state="succeeded", ended=timezone.now())
    return Run.objects.get(pk=run.pk)


def score(run: Run, classifier: Classifier, metric: str, value: float, part: str = "test") -> None:
    Score.objects.create(
        run=run, classifier=classifier, partition=run.partition, part=part, metric=metric, value=value, n=6
    )


def explained(world, classifier: Classifier, images, method: str = "grad_cam") -> ExplanationSet:
    made = ExplanationSet.objects.create(
        classifier=classifier, image_set=world.image_set, method=method, code_version="1",
        hash=f"{classifier.pk}{method}".ljust(64, "0"),
    )  # fmt: skip
    for index, image in enumerate(images):
        Explanation.objects.create(set=made, image=image, shard="s.npz", index=index, height=4, width=4, target=0)
    return made


def test_before_and_after_figure_by_figure_and_image_by_image(world) -> None:
    one = finished(world, "phase 1")
    two, control = (finished(world, name, one.made_classifier) for name in ("phase 2", "control"))
    for run, accuracy, iou in ((one, 0.5, 0.2), (two, 0.8, 0.5), (control, 0.6, 0.25)):
        score(run, run.made_classifier, "attention_iou_50", iou)
        score(run, run.made_classifier, "accuracy", accuracy)
    score(one, one.made_classifier, "accuracy", 0.9, part="validation")
    newer = start(world, "evaluate", classifier=two.made_classifier, recipe={"part": "test"})
    score(newer, two.made_classifier, "accuracy", 0.85)

    pool = world.part("annotation_pool")
    explained(world, one.made_classifier, pool)
    explained(world, two.made_classifier, pool[1:] + world.part("test"))
    explained(world, two.made_classifier, pool, method="hires_cam")  # a way that phase 1 was not explained in
    explained(world, control.made_classifier, pool[2:])
    Prediction.objects.create(classifier=two.made_classifier, image=pool[1], label=1, confidence=0.7)

    found = summary.before_after(one, two, control)
    assert found.missing == []
    assert [(figure.part, figure.metric) for figure in found.figures] == [
        ("validation", "accuracy"),
        ("test", "accuracy"),
        ("test", "attention_iou_50"),
    ]
    validation, accuracy, iou = found.figures
    assert (validation.phase1, validation.phase2, validation.gain) == (0.9, None, None)
    assert (accuracy.phase1, accuracy.phase2, accuracy.control) == (0.5, 0.85, 0.6)  # the newest of phase 2
    assert accuracy.gain == pytest.approx(0.35)
    assert accuracy.gain_over_control == pytest.approx(0.25)
    assert iou.gain_over_control == pytest.approx(0.25)
    assert [pair.image for pair in found.images] == pool[1:]
    first, second = found.images[:2]
    assert first.control is None
    assert second.control is not None
    assert first.phase1.set.classifier == one.made_classifier
    assert first.phase2.set.method == "grad_cam"
    assert first.predictions["phase2"].label == 1
    assert first.label == pool[1].labels.get().index
    assert len(summary.before_after(one, two, control, images=1).images) == 1
    # Without phase 1's run, it is the classifier that phase 2 began with.
    assert summary.before_after(None, two).classifiers["phase1"] == one.made_classifier


def test_what_is_not_there_yet_is_said(world) -> None:
    one = finished(world, "phase 1")
    two = start(world, name="phase 2", classifier=one.made_classifier)
    assert "“phase 2” is queued" in summary.before_after(one, two).missing[0]
    done = finished(world, "phase 2", one.made_classifier)
    found = summary.before_after(one, done)
    assert "explain both on the same images" in found.missing[0]
    assert found.images == []


def test_scores_of_one_methods_maps_are_no_figures_of_the_classifier(world) -> None:
    one = finished(world, "one")
    two = finished(world, "two", one.made_classifier)
    for run in (one, two):
        score(run, run.made_classifier, "content_heat_map", 0.25)
    maps = explained(world, two.made_classifier, world.part("test"), method="centre")
    judged = {
        "run": two,
        "classifier": two.made_classifier,
        "partition": two.partition,
        "explanation_set": maps,
        "n": 6,
    }
    Score.objects.create(part="test", metric="content_heat_map", value=0.75, **judged)
    Score.objects.create(part="all", metric="pointing", value=0.5, **judged)
    (figure,) = summary.before_after(one, two).figures
    assert (figure.metric, figure.phase1, figure.phase2) == ("content_heat_map", 0.25, 0.25)
