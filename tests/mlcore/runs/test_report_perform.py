"""A report by the real process: its figures are those of separate runs, and nothing in rows is made again."""

import pytest
from django.db import connection

from mlcore.models import Box, Classifier, Explanation, ExplanationSet, Mask, Prediction, Run, Score
from mlcore.runs import control
from mlcore.runs.perform import perform
from mlcore.runs.wish import RunRefused
from tests.mlcore.runs.interrupted import cancelled_at
from tests.mlcore.runs.reported import RECIPE, two_classifiers
from tests.mlcore.runs.test_attention_runs import attend
from tests.mlcore.runs.world import start

pytestmark = pytest.mark.slow


@pytest.fixture
def both(world, tmp_path) -> list[Classifier]:
    return two_classifiers(world, tmp_path)


def done(run: Run, **more) -> Run:
    ended = perform(run.uuid, worker_name="here:1", **more)
    assert ended.state == "succeeded", ended.reason + ended.log
    return ended


def figures(run: Run) -> dict:
    """(classifier, method, metric) → everything that the row says."""
    return {
        (row.classifier.name, row.explanation_set.method if row.explanation_set else "", row.metric): (
            row.value, row.low, row.high, row.n, row.left_out, row.per_image, row.part,
        )
        for row in run.scores.select_related("classifier", "explanation_set")
    }  # fmt: skip


def separate(world, one: Classifier) -> dict:
    """The same figures of one classifier by explaining, scoring and evaluating one after another."""
    options = {"device": "cpu", "batch_size": 4}
    methods = {"methods": [*RECIPE["methods"], "centre", "random"], "target": "true", "part": "validation"}
    judged = {"metrics": RECIPE["metrics"], "pointing.tolerance": 2, "part": "validation"}
    maps = done(start(world, "explain", classifier=one, recipe=options | methods))
    sets = list(maps.explanation_sets.order_by("pk"))
    found = figures(done(start(world, "score", explanation_sets=sets, recipe=options | judged)))
    looked = figures(done(start(world, "evaluate", classifier=one, recipe=options | {"part": "validation"})))
    return found | {(one.name, "", "accuracy"): looked[one.name, "", "accuracy"]}


def test_figures_are_those_of_separate_runs_and_the_maps_are_ordinary_sets(world, both) -> None:
    for mask in Mask.objects.filter(image__in=world.part("validation")[:2]):
        mask.delete()
    expected = separate(world, both[0])
    ExplanationSet.objects.all().delete()
    Prediction.objects.all().delete()
    said: list[dict] = []
    run = done(start(world, "report", classifiers=both[::-1], recipe=RECIPE), on_event=said.append)
    found = figures(run)
    assert {key: told for key, told in found.items() if key[0] == both[0].name} == expected
    assert (len(found), len(expected)) == (2 * (1 + 4 * 3), 1 + 4 * 3)
    assert all(told[4]["no mask or box"] == 2 for key, told in found.items() if key[2] == "pointing")
    assert Prediction.objects.filter(classifier__in=both).count() == 12
    assert run.explanation_sets.count() == 8
    assert Explanation.objects.filter(set__in=run.explanation_sets.all()).count() == 8 * 6
    # 6 images: predicted, mapped by 4 methods, measured by 3 metrics each, for two classifiers.
    total = 2 * (6 + 6 * 4 + 6 * 4 * 3)
    assert (run.total_steps, run.step) == (total, total)
    assert run.result["summary"] == {"classifiers": 2, "sets": 8, "images": 6, "without_reference": 2}
    assert "2 of 6 images have no mask or box" in run.log
    bar = [event["step"] for event in said if event["event"] == "progress"]
    assert bar == sorted(bar)
    stages = [event["stage"] for event in said if event["event"] == "progress"]
    assert stages[0].endswith("second (1 of 2)")  # in the order chosen, not in that of the rows
    assert stages[-1] == "scoring, first (2 of 2)"

    again = done(start(world, "report", classifiers=both, recipe=RECIPE | {"metrics": "pointing"}))
    assert set(again.explanation_sets.all()) < set(run.explanation_sets.all())
    assert Explanation.objects.count() == 8 * 6
    # Where no metric asks a classifier, one centre and one random are enough for all that read pictures alike.
    assert sorted(again.explanation_sets.values_list("method", flat=True)) == [
        "centre", "grad_cam", "grad_cam", "lrp", "lrp", "random",
    ]  # fmt: skip
    explained = done(start(world, "explain", classifier=both[0], recipe={
        "methods": "lrp", "target": "true", "part": "validation", "device": "cpu"}))  # fmt: skip
    assert explained.result["summary"]["skipped"] == 6


def test_what_is_in_rows_is_not_made_again(world, both, settings) -> None:
    whole = figures(done(start(world, "report", classifiers=both, recipe=RECIPE)))
    ExplanationSet.objects.all().delete()
    run = start(world, "report", classifiers=both, recipe=RECIPE)

    # The second classifier's first maps: the first one's figures are complete.
    ended = perform(run.uuid, worker_name="here:1", on_event=cancelled_at("shard", run, 5))
    assert ended.state == "cancelled"
    before = dict(run.scores.values_list("pk", "created"))
    maps = set(Explanation.objects.values_list("pk", flat=True))
    assert len(before) >= 13
    said: list[dict] = []
    resumed = done(control.resume(run, None, enqueue=False), on_event=said.append)
    assert figures(resumed) == whole
    assert before.items() <= dict(resumed.scores.values_list("pk", "created")).items()
    assert maps <= set(Explanation.objects.values_list("pk", flat=True))
    assert Explanation.objects.count() == 8 * 6
    told = [(event.get("classifier"), event.get("set")) for event in said if event["event"] == "scores"]
    assert not {str(both[0].uuid)} & {classifier for classifier, _ in told}
    first = {str(one) for one in both[0].explanation_sets.values_list("uuid", flat=True)}
    assert not first & {one for _, one in told}
    assert connection.in_atomic_block  # the test's own; nothing was left open


def test_an_input_size_for_all_is_another_set_and_no_accuracy_is_no_row(world, both) -> None:
    recipe = RECIPE | {"image_size": 64, "resize": "squash", "accuracy": False, "methods": "grad_cam"}
    run = done(start(world, "report", classifiers=both[:1], recipe=recipe))
    assert not Score.objects.filter(run=run, metric="accuracy").exists()
    assert {one.transform["image_size"] for one in run.explanation_sets.all()} == {64}
    assert {one.transform["normalise"] for one in run.explanation_sets.all()} == {"imagenet"}


def test_boxes_do_where_there_are_no_masks(world, both) -> None:
    Mask.objects.all().delete()
    for image in world.part("validation"):
        Box.objects.create(image=image, x0=4, y0=4, x1=20, y1=24)
    run = done(start(world, "report", classifiers=both[:1], recipe=RECIPE | {"methods": "grad_cam"}))
    assert run.scores.get(metric="pointing", explanation_set__method="centre").n == 6


def test_each_classifier_reads_its_own_attention_module(world, both) -> None:
    wish = RECIPE | {"methods": "tame", "metrics": "pointing,content_heat_map", "accuracy": False}
    modules = [done(attend(world, both[0])).made_attention]
    with pytest.raises(RunRefused, match="“second” has no trained attention module"):
        start(world, "report", classifiers=both, recipe=wish)
    modules.append(done(attend(world, both[1])).made_attention)
    expected = {}
    for one in both:
        maps = done(start(world, "explain", classifier=one, recipe={
            "methods": "tame", "target": "true", "part": "validation", "device": "cpu", "batch_size": 4}))  # fmt: skip
        judged = {"metrics": "content_heat_map", "part": "validation", "device": "cpu"}
        expected |= figures(done(start(world, "score", explanation_sets=maps.explanation_sets.all(), recipe=judged)))
    ExplanationSet.objects.all().delete()
    run = done(start(world, "report", classifiers=both, recipe=wish))
    found = figures(run)
    assert {key: found[key] for key in expected} == expected
    assert expected["first", "tame", "content_heat_map"] != expected["second", "tame", "content_heat_map"]
    read = {one.classifier: one.options["attention"] for one in run.explanation_sets.filter(method="tame")}
    assert read == dict(zip(both, (str(module.uuid) for module in modules), strict=True))
