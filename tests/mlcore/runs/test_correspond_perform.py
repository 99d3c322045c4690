"""A classification by comparison by the real process: what it says, keeps and leaves, and how it goes on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mlcore.correspondence.base import Described
from mlcore.correspondence.emd_corr import EMDCorr
from mlcore.correspondence.features import describe
from mlcore.models import Classifier, Explanation, ExplanationSet, FeatureGallery, ImageLabel, Prediction, Score
from mlcore.runs import control
from mlcore.runs.perform import perform
from tests.mlcore.runs.compared import model_of, pixels
from tests.mlcore.runs.correspond_world import answers, compare, done, other_set, told
from tests.mlcore.runs.interrupted import cancelled_at, killed_at
from tests.mlcore.runs.reported import two_classifiers

pytestmark = pytest.mark.slow


@pytest.fixture
def classifier(world, tmp_path) -> Classifier:
    return two_classifiers(world, tmp_path)[0]


def vote(labels: list[int]) -> tuple[int, float]:
    """By counting: of equal votes the class of the nearest."""
    counts = [labels.count(label) for label in labels]
    return labels[int(np.argmax(counts))], max(counts) / len(labels)


def cells(classifier: Classifier, images: list) -> torch.Tensor:
    """(n, C, h, w) in half precision, as they are kept."""
    model = model_of(classifier)
    return torch.cat([describe(model, "features", pixels(image)) for image in images]).half().float()


def test_answers_are_those_of_plain_computations(world, classifier) -> None:
    run = done(compare(world, classifier))
    queries, gallery = world.part("validation"), world.part("train")
    ours, theirs = cells(classifier, queries), cells(classifier, gallery)
    labels = [image.labels.get().index for image in gallery]
    alike = torch.nn.functional.cosine_similarity(ours.mean((2, 3))[:, None], theirs.mean((2, 3))[None], dim=2)
    said = answers(run)
    for place, image in enumerate(queries):
        nearest = alike[place].argsort(descending=True)[:8].tolist()
        target, payload, data = said["knn"][str(image.uuid)]
        assert payload == "neighbours"
        assert [one["image"] for one in data["neighbours"]] == [str(gallery[row].uuid) for row in nearest[:4]]
        assert [one["score"] for one in data["neighbours"]] == pytest.approx(
            alike[place, nearest[:4]].tolist(), abs=2e-3
        )
        assert (target, data["confidence"]) == vote([labels[row] for row in nearest[:5]])
        matched = EMDCorr().compare(Described(ours[place : place + 1]), Described(theirs[nearest][None]))
        order = matched.scores[0].argsort(descending=True, stable=True).tolist()
        target, payload, data = said["emd_corr"][str(image.uuid)]
        assert payload == "matches"
        assert [one["image"] for one in data["neighbours"]] == [str(gallery[nearest[row]].uuid) for row in order[:4]]
        assert [one["score"] for one in data["neighbours"]] == pytest.approx(
            matched.scores[0, order[:4]].tolist(), 1e-3
        )
        assert (target, data["confidence"]) == vote([labels[nearest[row]] for row in order[:5]])
        mine, other = matched.pairs[0, order[0], 0].tolist()
        patch = data["neighbours"][0]["patches"][0]
        assert patch["query"][:2] == [mine % 4 / 4, mine // 4 / 4]
        assert patch["neighbour"][:2] == [other % 4 / 4, other // 4 / 4]
        assert data["compared"] == 8
    # Figures: accuracy in rows and in the result, for each way and for the head.
    for made in run.explanation_sets.all():
        score = Score.objects.get(run=run, explanation_set=made, metric="accuracy")
        hits = [said[made.method][str(image.uuid)][0] == image.labels.get().index for image in queries]
        assert (score.value, score.n, score.part) == (np.mean(hits), 6, "validation")
        assert score.per_image == {str(image.uuid): float(hit) for image, hit in zip(queries, hits, strict=True)}
        assert score.low < score.value < score.high
    logits = torch.cat([model_of(classifier)(pixels(image)) for image in queries]).detach()
    predicted = {row.image_id: row.label for row in Prediction.objects.filter(classifier=classifier)}
    assert [predicted[image.pk] for image in queries] == logits.argmax(1).tolist()
    head = Score.objects.get(run=run, explanation_set=None)
    assert head.value == np.mean([predicted[image.pk] == image.labels.get().index for image in queries])
    assert (run.step, run.total_steps) == (6 + 12 + 6 * 3, 6 + 12 + 6 * 3)
    row = FeatureGallery.objects.get()
    assert (row.layer, row.channels, row.height, row.width, row.images) == ("features", 96, 4, 4, 18)
    assert 0 < row.bytes < 200_000


def test_features_and_answers_are_made_once(world, classifier) -> None:
    first = done(compare(world, classifier))
    rows = set(Explanation.objects.values_list("pk", flat=True))
    again = done(compare(world, classifier, recipe={"matchers": "knn,emd_corr,cosine_corr", "part": "all",
                                                    "drop_small": 16}))  # fmt: skip
    assert set(first.explanation_sets.all()) < set(again.explanation_sets.all())
    assert rows < set(Explanation.objects.values_list("pk", flat=True))
    assert Explanation.objects.count() == 3 * 28
    assert [one["computed"] for one in again.result["comparison"]["features"]] == [10]
    # No image of the gallery is its own neighbour, and the figures are over what was said before too.
    for said in answers(again).values():
        assert all(name not in [one["image"] for one in data["neighbours"]] for name, (_, _, data) in said.items())
    assert {way["n"] for way in again.result["comparison"]["ways"]} == {28}
    whole = done(compare(world, classifier))
    assert told(whole) == told(first)
    assert [one["computed"] for one in whole.result["comparison"]["features"]] == [0]


# 256 cells a picture: balancing takes so long that a run is stopped in the middle of it.
SLOWLY = {"part": "all", "layer": "features.2", "emd_corr.tolerance": 0}


def test_what_was_said_is_not_said_again(world, classifier) -> None:
    whole = done(compare(world, classifier, recipe=SLOWLY))
    expected, figures = answers(whole), told(whole)
    ExplanationSet.objects.all().delete()
    run = compare(world, classifier, recipe=SLOWLY)

    ended = perform(run.uuid, worker_name="here:1", on_event=cancelled_at("matches", run, 3))
    assert ended.state == "cancelled"
    before = set(Explanation.objects.values_list("pk", flat=True))
    assert 6 <= len(before) < 56
    seen: list[dict] = []
    resumed = done(control.resume(run, None, enqueue=False), on_event=seen.append)
    assert before < set(Explanation.objects.values_list("pk", flat=True))
    assert answers(resumed) == expected
    assert told(resumed) == figures
    made = sum(len(event["rows"]) for event in seen if event["event"] == "matches")
    assert made == 56 - len(before)


@pytest.mark.parametrize("moment", ["describing", "comparing"])
def test_a_run_killed_at_any_stage_goes_on(world, classifier, moment) -> None:
    run = compare(world, classifier, recipe={"part": "all"})

    stop = killed_at({"describing": "started", "comparing": "matches"}[moment])
    assert perform(run.uuid, worker_name="here:1", on_event=stop).state == "failed"
    assert "signal 9" in type(run).objects.get(pk=run.pk).reason
    assert done(control.resume(run, None, enqueue=False)).result["summary"]["queries"] == 28


def test_a_damaged_file_is_named_in_the_log_and_made_again(world, classifier, settings) -> None:
    """Every kind of damage: tests/mlcore/correspondence/test_store_damage.py."""
    first = done(compare(world, classifier))
    (folder,) = Path(settings.GALLERIES_DIR).iterdir()
    name = next(folder.glob("*.block")).name
    content = bytearray((folder / name).read_bytes())
    content[-100] ^= 0xFF
    (folder / name).write_bytes(content)
    ExplanationSet.objects.all().delete()
    again = done(compare(world, classifier))
    assert f"warning: The file {name} of the gallery {folder.name} is damaged" in again.log
    assert told(again) == told(first)
    assert "is damaged" not in done(compare(world, classifier)).log


def test_another_set_is_a_gallery_by_the_names_of_its_classes(world, classifier) -> None:
    other = other_set(["Triangle", "star", "Ellipse"])
    turn = {0: 2, 1: 0}  # ellipse, triangle: their places there
    for image in other.images.all():
        label = image.labels.get()
        ImageLabel.objects.filter(pk=label.pk).update(index=turn[label.index])
    everything = {"gallery_part": "all", "votes": 1, "candidates": 1}
    run = done(compare(world, classifier, gallery=other, recipe=everything))
    # The same pictures lie there: each query's nearest is its own picture.
    for uuid, (target, _, data) in answers(run)["knn"].items():
        assert target == turn[ImageLabel.objects.get(image__uuid=uuid).index]
        assert data["neighbours"][0]["score"] == pytest.approx(1)
    ways = {way["name"]: way for way in run.result["comparison"]["ways"]}
    assert (ways["knn"]["right"], ways["knn"]["n"]) == (6, 6)
    head = Prediction.objects.filter(classifier=classifier)
    assert ways["head"]["right"] == sum(row.label == row.image.labels.get().index for row in head)
    assert FeatureGallery.objects.count() == 2
    with pytest.raises(AssertionError, match="No query is left: 6 the same file in the gallery"):
        done(compare(world, classifier, gallery=other, recipe=everything | {"drop_duplicates": True}))


def test_any_right_answer_counts_and_images_without_one_are_left_out(world, classifier) -> None:
    images = world.part("validation")
    for image in images[:3]:
        for index in (0, 1):
            ImageLabel.objects.create(image=image, index=index, source="real")
    run = done(compare(world, classifier, recipe={"label_source": "real"}))
    for way in run.result["comparison"]["ways"]:
        assert (way["right"], way["n"]) == (3, 3)
    assert run.result["comparison"]["left_out"] == {"no right answer known": 3}
    score = Score.objects.filter(run=run, explanation_set__isnull=False).first()
    assert (score.n, score.left_out) == (3, {"no right answer known": 3})
    assert Explanation.objects.filter(set__in=run.explanation_sets.all()).count() == 12  # all are explained


def test_the_head_is_asked_only_of_classes_that_it_knows_by_name(world, classifier) -> None:
    Classifier.objects.filter(pk=classifier.pk).update(classes=["star", "the Triangle (triangle)"])
    run = done(compare(world, Classifier.objects.get(pk=classifier.pk)))
    head = next(way for way in run.result["comparison"]["ways"] if way["name"] == "head")
    triangles = ImageLabel.objects.filter(image__in=world.part("validation"), index=1).count()
    assert (head["n"], head["unknown"]) == (triangles, 6 - triangles)
    score = Score.objects.get(run=run, explanation_set=None)
    assert score.left_out == {"a class that the classifier does not know": 6 - triangles}
    Classifier.objects.filter(pk=classifier.pk).update(classes=["star", "comet"])
    stranger = done(compare(world, Classifier.objects.get(pk=classifier.pk), recipe={"matchers": "knn"}))
    assert [way["name"] for way in stranger.result["comparison"]["ways"]] == ["knn"]
    assert "knows none of the gallery's classes by name" in stranger.log
    without = done(compare(world, classifier, recipe={"head": False, "matchers": "knn"}))
    assert [way["name"] for way in without.result["comparison"]["ways"]] == ["knn"]
    assert not Score.objects.filter(run=without, explanation_set=None).exists()


def test_an_approximate_search_tells_what_it_finds_of_the_exact_neighbours(world, classifier) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    exact = answers(done(compare(world, classifier, recipe={"matchers": "knn"})))["knn"]
    run = done(compare(world, classifier, recipe={"matchers": "knn", "index": "hnsw"}))
    search = run.result["comparison"]["search"]
    assert (search["recall"], search["sample"]) == (1.0, 6)  # of twelve images all are found
    assert "The approximate search found 100.0 % of the 8 nearest" in run.log
    assert answers(run)["knn"] == exact


def test_a_layer_that_there_is_not_and_options_that_do_not_go_are_the_reason(world, classifier) -> None:
    ended = perform(compare(world, classifier, recipe={"layer": "nowhere"}).uuid, worker_name="here:1")
    assert ended.state == "failed"
    assert "There is no layer “nowhere”" in ended.reason
    odd = {"emd_corr.preset": "correspondence", "emd_corr.epsilon": 0.1}
    ended = perform(compare(world, classifier, recipe=odd).uuid, worker_name="here:1")
    assert "EMD-Corr refuses its options: Preset correspondence has its own epsilon" in ended.reason
