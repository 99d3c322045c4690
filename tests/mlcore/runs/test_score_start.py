"""Score runs before they are performed: what they are refused for, which images they freeze, what their job says."""

import pytest

from mlcore.models import AuditEntry, Explanation, ImageSet, Mask, Run, Score
from mlcore.runs import state
from mlcore.runs.code_version import code_version
from mlcore.runs.control import repeat
from mlcore.runs.job import build
from mlcore.runs.job_classifier import JobImpossible
from mlcore.runs.outputs import write_scores_of_maps
from mlcore.runs.start import RunRefused
from tests.mlcore.runs.maps import TRANSFORM, add_drawings, add_maps
from tests.mlcore.runs.world import add_boxes, make_classifier, make_world, start

SIMPLE = {"metrics": ["content_heat_map"]}


def score(world, sets, recipe=None, **changes) -> Run:
    return start(world, "score", explanation_sets=sets, recipe=SIMPLE if recipe is None else recipe, **changes)


def refused(world, sets, recipe=None, **changes) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        score(world, sets, recipe, **changes)
    assert not Run.objects.filter(kind="score").exists()
    return caught.value.errors


@pytest.fixture
def classifier(world):
    return make_classifier(world)


def test_the_images_are_those_with_maps(world, classifier) -> None:
    pool = world.part("annotation_pool")
    one, other = add_maps(classifier, pool[:3]), add_maps(classifier, [pool[3], *world.part("train")[:2]], "centre")
    run = score(world, [one, other])
    assert list(run.manifest) == ["all"]
    assert {entry[0] for entry in run.manifest["all"]} == {
        str(image.uuid) for image in [*pool, *world.part("train")[:2]]
    }
    assert (list(run.explanation_sets.all()), run.classifier) == ([other, one], None)
    part = score(world, [one, other], SIMPLE | {"part": "annotation_pool"})
    assert [len(entries) for entries in part.manifest.values()] == [4]
    assert not AuditEntry.objects.filter(action="run.look_at_test").exists()


def test_a_look_at_test_images_is_on_record(world, classifier) -> None:
    maps = add_maps(classifier, [*world.part("validation"), *world.part("test")])
    assert "looks at the test part" not in score(world, [maps], SIMPLE | {"part": "validation"}).log
    for part in ("test", "all"):
        assert "looks at the test part" in score(world, [maps], SIMPLE | {"part": part}).log
    assert AuditEntry.objects.filter(action="run.look_at_test").count() == 2


def test_what_is_not_there_is_said(world, classifier) -> None:
    pool = world.part("annotation_pool")
    maps, elsewhere = add_maps(classifier, pool), make_world("others", {"train": 2})
    foreign = add_maps(make_classifier(elsewhere), elsewhere.part("train"))
    assert "Choose the sets" in refused(world, [])["explanation_sets"]
    assert "explains another image set" in refused(world, [maps, foreign])["explanation_sets"]
    neighbours = add_maps(classifier, pool, "knn", payload="neighbours")
    assert "neighbours or matched patches, no maps" in refused(world, [neighbours])["explanation_sets"]
    assert "has a map of an image in the part “test”" in refused(world, [maps], SIMPLE | {"part": "test"})["part"]
    tested = add_maps(classifier, world.part("test"), "centre")
    assert "leave the set out" in refused(world, [maps, tested], SIMPLE | {"part": "test"})["part"]
    assert "Choose the partition" in refused(world, [maps], SIMPLE | {"part": "test"}, partition=None)["partition"]
    assert "own classifier" in refused(world, [maps], classifier=classifier)["classifier"]
    assert "Choose at least one" in refused(world, [maps], {})["metrics"]
    assert "not one of" in refused(world, [maps], {"metrics": ["accuracy"]})["metrics"]
    with pytest.raises(RunRefused, match="Only a score run judges"):
        start(world, "explain", classifier=classifier, explanation_sets=[maps])
    assert score(world, [maps], partition=None).partition is None


def test_a_metric_without_what_it_needs_is_refused(world, classifier) -> None:
    pool = world.part("annotation_pool")
    maps = add_maps(classifier, pool)
    Mask.objects.all().delete()
    assert "Without masks or boxes" in refused(world, [maps])["metrics"]
    assert score(world, [maps], {"metrics": ["complexity"]})
    Run.objects.all().delete()
    add_boxes(pool[:1])
    assert score(world, [maps])
    Run.objects.all().delete()
    gone = add_maps(classifier, pool, "tea_leaves")
    assert "cannot make the maps again for Focus" in refused(world, [maps, gone], {"metrics": ["focus"]})["metrics"]
    trained = add_maps(classifier, pool, "tame")
    assert "attention module is gone" in refused(world, [trained], {"metrics": ["adcc"]})["metrics"]
    weightless = make_classifier(world)
    weightless.weights = ""
    weightless.save()
    assert "has no weights" in refused(world, [add_maps(weightless, pool)], {"metrics": ["deletion"]})["metrics"]


def test_people_are_needed_and_known(world, classifier) -> None:
    pool = world.part("annotation_pool")
    maps, asks = add_maps(classifier, pool), {"metrics": ["spearman"]}
    assert "Choose the people's maps" in refused(world, [maps], asks)["human_maps"]
    drawn = add_drawings(world, pool[:2])
    run = score(world, [maps], asks, human_maps=drawn)
    assert run.human_maps == drawn
    Run.objects.all().delete()
    nowhere = add_drawings(world, world.part("train")[:1])
    assert "drew on none of the images" in refused(world, [maps], asks, human_maps=nowhere)["human_maps"]
    type(drawn).objects.filter(pk=drawn.pk).update(stale=True)
    drawn.refresh_from_db()
    assert "was deleted since" in refused(world, [maps], asks, human_maps=drawn)["human_maps"]
    other = make_world("others", {"train": 1})
    theirs = add_drawings(other, other.part("train"))
    assert "drawn on another image set" in refused(world, [maps], asks, human_maps=theirs)["human_maps"]


def test_the_job_brings_sets_references_and_people(world, classifier) -> None:
    pool = world.part("annotation_pool")
    pool[0].masks.all().delete()
    pool[0].boxes.create(x0=1, y0=1, x1=9, y1=9, difficult=True)
    maps = add_maps(classifier, pool, options={"chunk": 3}, layer="features")
    drawn = add_drawings(world, pool[:2])
    run = score(world, [maps], {"metrics": ["pointing", "spearman", "deletion"], "steps": 4}, human_maps=drawn)
    assert run.recipe["deletion.steps"] == 4
    job = build(run, state.claim(run.uuid, "here:1"))
    (one,) = job["sets"]
    assert one["classifier"]["architecture"] == "sixconv"
    assert (one["method"], one["options"], one["transform"]) == (
        "grad_cam", {"layer": "features", "preset": "default"}, TRANSFORM,
    )  # fmt: skip
    assert (one["comparable"], one["class_specific"], len(one["shards"])) == (True, True, 1)
    assert one["maps"][str(pool[2].uuid)] == (0, 2, pool[2].labels.get().index)
    items = job["parts"]["annotation_pool"]
    assert (items[0]["difficult"], items[0]["boxes"], items[0]["truth"]) == (True, [[1, 1, 9, 9]], None)
    assert (items[1]["difficult"], items[1]["boxes"], bool(items[1]["truth"])) == (False, None, True)
    assert {image: len(paths) for image, paths in job["people"].items()} == {str(i.uuid): 2 for i in pool[:2]}
    maps.delete()
    again = score(world, [add_maps(classifier, pool)])
    again.explanation_sets.clear()
    with pytest.raises(JobImpossible, match="sets of maps of this run were deleted"):
        build(again, state.claim(again.uuid, "here:1"))


def test_a_second_attempt_replaces_its_own_rows_and_a_repeat_has_its_own(world, classifier) -> None:
    maps = add_maps(classifier, world.part("annotation_pool"))
    run = score(world, [maps], {"metrics": ["pointing"], "tolerance": 2})
    row = {"metric": "pointing", "value": 0.5, "low": 0.1, "high": 0.9, "n": 4, "left_out": {}, "per_image": {}}
    write_scores_of_maps(run, str(maps.uuid), "all", [row])
    write_scores_of_maps(run, str(maps.uuid), "all", [row | {"value": 0.75}])
    found = Score.objects.get(run=run)
    assert (found.value, found.low, found.high, found.classifier, found.explanation_set) == (
        0.75, 0.1, 0.9, classifier, maps,
    )  # fmt: skip
    again = repeat(run, None, {"metrics": ["pointing", "complexity"], "tolerance": 5})
    assert list(again.explanation_sets.all()) == [maps]
    assert again.recipe["metrics"] == ["pointing", "complexity"]
    assert again.recipe["pointing.tolerance"] == 5
    fewer = repeat(again, None, {"metrics": ["complexity"]})
    assert "pointing.tolerance" not in fewer.recipe
    write_scores_of_maps(again, str(maps.uuid), "all", [row])
    assert Score.objects.count() == 2


def test_maps_of_another_class_list_are_not_comparable(world) -> None:
    foreign = make_classifier(world, classes=["a", "b", "c"])
    run = score(world, [add_maps(foreign, world.part("annotation_pool"))])
    assert build(run, state.claim(run.uuid, "here:1"))["sets"][0]["comparable"] is False
    assert Explanation.objects.count() == 4
    assert ImageSet.objects.count() == 1


def test_maps_of_other_code_are_named_where_a_metric_makes_maps_again(world, classifier) -> None:
    maps = add_maps(classifier, world.part("validation"))
    again = {"metrics": ["adcc"]}
    assert "by another version of this program" in score(world, [maps], again).log
    assert "by another version of this program" not in score(world, [maps]).log
    type(maps).objects.filter(pk=maps.pk).update(code_version=code_version())
    maps.refresh_from_db()
    assert "by another version of this program" not in score(world, [maps], again).log
