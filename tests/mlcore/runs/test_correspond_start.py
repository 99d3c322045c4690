"""Comparisons as they are asked for: what is refused, in whose words, and what is frozen."""

import pytest

from mlcore.catalogue import RecipeError, clean
from mlcore.models import AuditEntry, Classifier, CorrespondenceNetwork, FeatureGallery, ImageLabel
from mlcore.runs import control, correspond_features
from mlcore.runs.correspond_images import GALLERY
from mlcore.runs.correspond_sets import classes_said, sets_of
from mlcore.runs.manifest import images_of
from mlcore.runs.start import RunRefused
from tests.annotation.factories import researcher
from tests.mlcore.runs.correspond_world import compare, other_set
from tests.mlcore.runs.world import make_classifier, start

pytestmark = pytest.mark.django_db


@pytest.fixture
def classifier(world) -> Classifier:
    return make_classifier(world)


def refused(world, classifier, **wish) -> dict[str, str]:
    with pytest.raises(RunRefused) as caught:
        compare(world, classifier, **wish)
    return caught.value.errors


def network(classifier: Classifier, name: str = "hough") -> CorrespondenceNetwork:
    return CorrespondenceNetwork.objects.create(name=name, classifier=classifier, layer="features", sha256="1" * 64)


def test_queries_and_gallery_are_frozen_apart(world, classifier) -> None:
    run = compare(world, classifier)
    assert {part: len(entries) for part, entries in images_of(run.manifest)} == {"validation": 6}
    assert len(run.manifest[GALLERY]) == 12
    uuid, told, _ = run.manifest["validation"][0]
    assert told == [world.part("validation")[0].labels.get().index]
    assert uuid == str(world.part("validation")[0].uuid)
    assert run.recipe["layer"] == "features"  # written down: what is read does not change under the run
    everything = compare(world, classifier, partition=None, recipe={"part": "all", "gallery_part": "all"})
    assert {part: len(entries) for part, entries in everything.manifest.items()} == {"all": 28, GALLERY: 28}
    audit = AuditEntry.objects.get(action="run.start", object_id=str(run.uuid))
    assert audit.after["images"] == {"validation": 6, GALLERY: 12}


def test_what_is_missing_is_named(world, classifier) -> None:
    assert refused(world, None)["classifier"] == "Choose the classifier whose features are compared."
    Classifier.objects.filter(pk=classifier.pk).update(weights="")
    classifier.refresh_from_db()
    assert "has no weights" in refused(world, classifier)["classifier"]
    nameless = make_classifier(world, [])
    assert "no list of classes" in refused(world, nameless)["classifier"]
    odd = make_classifier(world)
    odd.architecture = "mynet"
    assert "name the layer" in refused(world, odd)["layer"]
    good = make_classifier(world)
    assert "or compare all images" in refused(world, good, partition=None, recipe={"part": "test"})["partition"]
    assert "has no trained correspondence network" in refused(world, good, recipe={"matchers": "chm_corr"})["matchers"]
    with pytest.raises(RunRefused) as caught:
        start(world, "evaluate", classifier=good, gallery=world.image_set)
    assert caught.value.errors == {"gallery": "Only a classification by comparison takes a gallery."}
    with pytest.raises(RecipeError, match="at most so many can vote"):
        clean("correspond", {"candidates": 10, "votes": 20})


def test_a_gallery_needs_labels_an_owner_and_common_classes(world, classifier) -> None:
    other = other_set(["Ellipse", "star"])
    whole = {"recipe": {"gallery_part": "all"}, "gallery": other}
    assert compare(world, classifier, **whole).gallery == other
    assert "another: leave all" in refused(world, classifier, gallery=other)["gallery_part"]
    ImageLabel.objects.filter(image__image_set=other).delete()
    said = refused(world, classifier, **whole)["gallery"]
    assert said == "Of the 28 images of the gallery in “gallery” none has one label; two or more are needed to vote."
    strange = other_set(["comet", "star"], "sky")
    said = refused(world, classifier, **whole | {"gallery": strange})["gallery"]
    assert "No class of “scenes” (such as “ellipse”) is called as one of “sky” (such as “comet”)" in said
    strange.classes, strange.owner = ["ellipse", "star"], researcher()
    strange.save()
    assert "belongs to someone else" in refused(world, classifier, **whole | {"gallery": strange})["gallery"]
    without = refused(world, classifier, partition=None, recipe={"part": "all"})
    assert without["partition"] == "Choose the partition whose part is the gallery."


def test_classes_and_sources_that_there_are_not_are_named(world, classifier) -> None:
    assert "There is no class “star” among the 2" in refused(world, classifier, recipe={"classes": "star"})["classes"]
    said = refused(world, classifier, recipe={"label_source": "real"})["label_source"]
    assert said == "“real” says nothing about these images. There are labels by: import."
    one = world.part("validation")[0]
    for index in (0, 1):
        ImageLabel.objects.create(image=one, index=index, source="real")
    run = compare(world, classifier, recipe={"label_source": "real"})
    assert [told for _, told, _ in run.manifest["validation"]] == [[0, 1], None, None, None, None, None]
    subset = compare(world, classifier, recipe={"classes": "triangle"})
    assert {tuple(told) for _, told, _ in subset.manifest["validation"]} == {(1,)}
    ImageLabel.objects.filter(image__in=world.part("validation"), index=1).delete()
    assert "None of the images shows" in refused(world, classifier, recipe={"classes": "triangle"})["classes"]


def test_images_of_a_gallery_without_one_label_do_not_vote_and_are_told(world, classifier) -> None:
    first, second = world.part("train")[:2]
    first.labels.all().delete()
    ImageLabel.objects.create(image=second, index=1 - second.labels.get().index)
    run = compare(world, classifier)
    assert len(run.manifest[GALLERY]) == 10
    assert "2 images of the gallery “scenes” have no label, or several, and do not vote." in run.log


def test_room_on_the_disk_is_told_and_asked_for(world, classifier, monkeypatch) -> None:
    Classifier.objects.filter(pk=classifier.pk).update(
        layers=[{"name": "features", "channels": 96, "height": 4, "width": 4}]
    )
    classifier.refresh_from_db()
    size = 18 * (2 * 96 * (16 + 1) + 120)
    run = compare(world, classifier)
    assert f"Features take about {correspond_features.in_bytes(size)} on the disk" in run.log
    monkeypatch.setattr(correspond_features, "free_bytes", lambda: size - 1)
    said = refused(world, classifier)["gallery"]
    assert (
        said
        == f"Features of these images need {round(size / 1000)} kB on the disk, and {round(size / 1000)} kB are free."
    )
    # What is there already needs no more room.
    row = correspond_features.row_of(classifier, world.image_set, "features", run.recipe, None)
    FeatureGallery.objects.filter(pk=row.pk).update(bytes=size)
    assert compare(world, classifier)


def test_an_approximate_search_needs_its_library(world, classifier, monkeypatch) -> None:
    monkeypatch.setattr("mlcore.runs.correspond_checks.find_spec", lambda name: None)
    assert "faiss is not installed here" in refused(world, classifier, recipe={"index": "ivf"})["index"]
    assert compare(world, classifier)


def test_what_decides_an_answer_decides_its_set(world, classifier) -> None:
    def made(**recipe):
        run = compare(world, classifier, recipe={"matchers": "emd_corr"} | recipe)
        (found,) = sets_of(run)
        return found

    assert made() == made(part="test", batch_size=2, drop_grey=True, head=False)
    told = [
        made(), made(votes=3), made(gallery_part="all"), made(candidates=7), made(ties="lowest"), made(image_size=64),
        made(**{"emd_corr.num_patch": 3}), made(layer="features.0"),
    ]  # fmt: skip
    assert len({one.hash for one in told}) == len(told)
    assert told[0].target == "predicted"
    assert told[0].options["gallery"] == str(world.image_set.uuid)
    ImageLabel.objects.filter(image=world.part("train")[0]).delete()
    assert made() != told[0]  # who votes is another


def test_answers_are_named_by_the_classes_that_voted(world, classifier) -> None:
    other = other_set(["Ellipse", "star"])
    run = compare(world, classifier, gallery=other, recipe={"gallery_part": "all", "matchers": "knn"})
    assert classes_said(sets_of(run)[0]) == ["Ellipse", "star"]
    assert classes_said(sets_of(compare(world, classifier))[0]) == ["ellipse", "triangle"]


def test_the_network_is_settled_when_the_run_starts(world, classifier) -> None:
    first = network(classifier)
    run = compare(world, classifier, recipe={"matchers": "chm_corr"})
    newer = network(classifier, "newer")
    assert run.recipe["chm_corr.network"] == str(first.uuid)
    assert sets_of(run)[0].options["network"] == str(first.uuid)
    again = control.repeat(run, None, {"chm_corr.network": str(newer.uuid)[:8]}, enqueue=False)
    assert again.recipe["chm_corr.network"] == str(newer.uuid)
    stranger = network(make_classifier(world))
    said = refused(
        world, classifier, recipe={"matchers": "chm_corr", "chm_corr.network": str(stranger.uuid)}
    )["chm_corr.network"]  # fmt: skip
    assert "belongs to “earlier”, not to" in said


def test_a_repeated_run_keeps_its_gallery_and_a_look_at_test_is_on_record(world, classifier) -> None:
    other = other_set(["Ellipse", "star"])
    run = compare(world, classifier, gallery=other, recipe={"gallery_part": "all", "part": "test"})
    assert AuditEntry.objects.filter(action="run.look_at_test", object_id=str(run.uuid)).exists()
    again = control.repeat(run, None, enqueue=False)
    assert (again.gallery, again.manifest_hash) == (other, run.manifest_hash)
