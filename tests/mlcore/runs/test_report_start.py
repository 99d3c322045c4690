"""Reports as they are asked for: what is refused, in whose words, and what is frozen."""

import pytest
from django.core.management import CommandError, call_command

from mlcore.catalogue import METRICS, RecipeError, clean, differences
from mlcore.catalogue.recipes import baselines
from mlcore.models import AuditEntry, Box, Classifier, ImageLabel, Mask
from mlcore.runs import control
from mlcore.runs.explanation_sets import sets_of
from mlcore.runs.report_plan import as_it_reads, classifiers_of
from mlcore.runs.start import RunRefused
from tests.mlcore.runs.world import make_classifier, start

pytestmark = pytest.mark.django_db


def named(world, name: str, **fields) -> Classifier:
    made = make_classifier(world, fields.pop("classes", None))
    Classifier.objects.filter(pk=made.pk).update(name=name, **fields)
    made.refresh_from_db()
    return made


def refused(world, **wish) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        start(world, "report", **wish)
    return caught.value.errors


def test_the_recipe_has_baselines_and_a_default_that_leaves_out_what_is_costly() -> None:
    recipe = clean("report", {"methods": "lrp,centre", "centre.width": 0.5, "pointing.tolerance": 0})
    assert recipe["methods"] == ["lrp", "centre", "random"]
    assert (recipe["centre.width"], recipe["random.seed"], recipe["pointing.tolerance"]) == (0.5, 0, 0.0)
    assert recipe["stochastic_pointing.tolerance"] == 15.0
    assert (recipe["target"], recipe["accuracy"], recipe["image_size"], recipe["resize"]) == ("true", True, 0, "own")
    assert "road" not in recipe["metrics"]
    assert len(recipe["metrics"]) == 9
    assert clean("report", recipe) == recipe
    both = clean("report", {"metrics": "pointing,stochastic_pointing", "tolerance": 3})
    assert (both["pointing.tolerance"], both["stochastic_pointing.tolerance"]) == (3.0, 3.0)
    assert baselines() == ("centre", "random")
    lines = {line.field.name: line.is_default for line in differences("report", clean("report", {}))}
    assert all(lines.values())
    offered = {
        name for field in differences("report", {}) if field.field.name == "metrics" for name, _ in field.field.choices
    }  # fmt: skip
    assert offered == {name for name, spec in METRICS.items() if spec.needs and "person" not in spec.needs}


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"methods": ""}, "methods", "Choose at least one."),
        ({"metrics": "spearman"}, "metrics", "“spearman” is not one of"),
        ({"image_size": 8}, "image_size", "The smallest input size is 16"),
        ({"target": "second"}, "target", "“second” is not one of true, predicted."),
        ({"lrp.epsilon": 1}, "lrp.epsilon", "There is no option"),
    ],
)
def test_a_bad_option_is_named(given, field, sentence) -> None:
    with pytest.raises(RecipeError) as caught:
        clean("report", given)
    assert sentence in caught.value.errors[field]


def test_classifiers_must_have_exactly_the_images_classes(world) -> None:
    good = named(world, "good")
    assert refused(world)["classifiers"] == "Choose the classifiers that are compared."
    turned = named(world, "turned", classes=list(world.image_set.classes)[::-1])
    assert "“turned” knows the classes of “scenes” in another order" in refused(world, classifiers=[good, turned])[
        "classifiers"
    ]  # fmt: skip
    more = named(world, "more", classes=[*world.image_set.classes, "star"])
    assert "“more” knows 3 classes, “scenes” has 2" in refused(world, classifiers=[good, more])["classifiers"]
    other = named(world, "other", classes=["ellipse", "star"])
    assert "“other” calls a class “star” that “scenes” calls “triangle”" in refused(world, classifiers=[other])[
        "classifiers"
    ]  # fmt: skip
    empty = named(world, "empty", weights="")
    assert refused(world, classifiers=[good, empty])["classifiers"] == "“empty” has no weights."
    several = named(world, "several", transform={"labels": "several"})
    assert "learned several labels" in refused(world, classifiers=[several])["classifiers"]
    assert "leave this one out" in refused(world, classifiers=[good], classifier=good)["classifier"]
    with pytest.raises(RunRefused) as caught:
        start(world, "explain", classifier=good, classifiers=[good])
    assert caught.value.errors == {"classifiers": "Only a report takes several classifiers."}


def test_images_without_an_object_a_label_or_a_partition_are_refused(world) -> None:
    good = named(world, "good")
    Mask.objects.all().delete()
    said = refused(world, classifiers=[good])["metrics"]
    assert said.startswith("None of the 6 images has a mask or a box, so there is no Pointing game (and 2 more)")
    assert start(world, "report", classifiers=[good], recipe={"metrics": "average_drop,sparseness"})
    Box.objects.create(image=world.part("validation")[0], x0=1, y0=1, x1=9, y1=9)
    assert start(world, "report", classifiers=[good])
    assert "or report all images" in refused(world, classifiers=[good], partition=None)["partition"]
    everything = start(world, "report", classifiers=[good], partition=None, recipe={"part": "all"})
    assert {part: len(entries) for part, entries in everything.manifest.items()} == {"all": 28}
    ImageLabel.objects.filter(image=world.part("validation")[0]).delete()
    assert "1 images have no label" in refused(world, classifiers=[good])["image_set"]


def test_a_look_at_the_test_part_is_on_record(world) -> None:
    run = start(world, "report", classifiers=[named(world, "good")], recipe={"part": "test"})
    assert AuditEntry.objects.filter(action="run.look_at_test", object_id=str(run.uuid)).exists()
    assert "This run looks at the test part" in run.log


def test_classifiers_keep_their_order_and_read_pictures_in_their_own_way(world) -> None:
    small, large = named(world, "small"), named(world, "large", transform={"image_size": 64})
    run = start(world, "report", classifiers=[large, small, large], recipe={"metrics": "pointing"})
    assert classifiers_of(run) == [large, small]
    assert as_it_reads(run.recipe, large)["image_size"] == 64
    assert as_it_reads(run.recipe, large)["resize"] == "squash"  # the recipe's usual, where a classifier says nothing
    assert as_it_reads(run.recipe, small)["resize"] == "none"
    assert as_it_reads(run.recipe | {"image_size": 96}, large)["image_size"] == 96
    # They read differently, so that one's centre is not the other's.
    assert sorted(one.method for one in sets_of(run)) == ["centre"] * 2 + ["grad_cam"] * 2 + ["random"] * 2
    again = control.repeat(run, None, {"metrics": "sparseness", "methods": "lrp"}, enqueue=False)
    assert classifiers_of(again) == [large, small]
    assert again.recipe["methods"] == ["lrp", "centre", "random"]
    assert "grad_cam.layer" not in again.recipe


def test_the_command_line_refuses_in_sentences(world) -> None:
    named(world, "good")

    def said(*arguments: str) -> str:
        with pytest.raises(CommandError) as caught:
            call_command("report", "--image-set=scenes", *arguments)
        return str(caught.value)

    assert "add --wait" in said("--classifier=good", "--csv=x.csv")
    assert "does not exist" in said("--classifier=good", "--csv=/nowhere/at/all/x.csv", "--wait")
    assert "There is no classifier “bad”" in said("--classifier=good", "--classifier=bad")
    assert said() == "classifiers: Choose the classifiers that are compared."
    assert "trained attention module" in said("--classifier=good", "--methods=tame")
