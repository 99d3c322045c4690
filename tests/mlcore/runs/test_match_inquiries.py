"""A picture beside those of a gallery: asked as rows, answered by a real process, equal to what the parts compute."""

import hashlib
import json

import numpy as np
import pytest
from django.core.files.storage import default_storage
from PIL import Image as Picture

from mlcore.catalogue.matchers import MATCHERS
from mlcore.models import Classifier, CorrespondenceNetwork, FeatureGallery, Image, ImageLabel, Inquiry
from mlcore.runs import match_questions
from mlcore.runs.correspond_features import folder_of, key_of
from mlcore.runs.inquiries import answer, ask_match, unmarked
from mlcore.runs.match_boards import board_of_inquiry
from mlcore.runs.match_questions import chosen, galleries_of, match_question
from mlcore.runs.questions import QuestionRefused
from tests.annotation.factories import researcher
from tests.mlcore.runs.asked import asked_classifier, own_server, upload
from tests.mlcore.runs.compared import make_gallery, make_network, model_of, pixels

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module", autouse=True)
def serving():
    """One process for all tests here: to load PyTorch takes longer than to answer."""
    with own_server() as made:
        yield made


@pytest.fixture
def owner(db):
    return researcher()


@pytest.fixture
def classifier(world, owner) -> Classifier:
    return asked_classifier(world, owner)


@pytest.fixture
def gallery(classifier, world) -> FeatureGallery:
    return make_gallery(classifier, world.image_set)


@pytest.fixture
def image(world):
    return world.part("validation")[0]


def answered(row: Inquiry) -> Inquiry:
    answer(str(row.uuid))
    row = Inquiry.objects.get(pk=row.pk)
    assert row.state == "answered", row.reason
    return row


def by_hand(classifier, query, marked=None, matcher="cosine_corr", candidates=50):
    """Every other image of its set: uuid → (cosine of pooled features, what the matcher says), and the votes."""
    import torch

    from mlcore.correspondence.base import Described
    from mlcore.correspondence.cosine_corr import CosineCorr
    from mlcore.correspondence.emd_corr import EMDCorr
    from mlcore.correspondence.features import describe

    model = model_of(classifier)
    others = list(Image.objects.filter(image_set=query.image_set).exclude(pk=query.pk).order_by("pk"))
    own = describe(model, "features", pixels(query))
    theirs = torch.cat([describe(model, "features", pixels(one)) for one in others]).half().float()
    pooled = torch.nn.functional.cosine_similarity(own.mean((2, 3)), theirs.mean((2, 3)), dim=1)
    nearest = pooled.argsort(descending=True, stable=True)[:candidates]
    made = CosineCorr() if matcher == "cosine_corr" else EMDCorr()
    compared = made.compare(Described(own), Described(theirs[nearest][None]), marked)
    ranked = compared.scores[0].argsort(descending=True, stable=True)
    return (
        [(str(others[place].uuid), float(pooled[place])) for place in nearest.tolist()],
        [(str(others[int(nearest[place])].uuid), float(compared.scores[0, place])) for place in ranked.tolist()],
        compared.pairs[0, ranked[0]].tolist(),
    )


def votes(of: list[tuple[str, float]], count: int = 20) -> tuple[int, float]:
    said = [ImageLabel.objects.get(image__uuid=uuid).index for uuid, _ in of[:count]]
    most = max(set(said), key=lambda one: (said.count(one), -said.index(one)))
    return most, said.count(most) / len(said)


# --- answers ---


@pytest.mark.parametrize("matcher", ["cosine_corr", "emd_corr"])
def test_the_answer_is_what_the_parts_compute(classifier, owner, gallery, image, matcher) -> None:
    row = answered(ask_match(classifier, owner, image, gallery=gallery, matcher=matcher, options={"neighbours": 6}))
    nearest, ranked, pairs = by_hand(classifier, image, matcher=matcher)
    told = row.answer
    assert [way["method"] for way in told["ways"]] == ["knn", matcher]
    for way, expected in zip(told["ways"], (nearest, ranked), strict=True):
        assert len(way["neighbours"]) == 6
        scores = dict(expected)
        assert [item["score"] for item in way["neighbours"]] == pytest.approx(
            [score for _, score in expected[:6]], abs=2e-3
        )  # kept in half precision
        assert all(item["score"] == pytest.approx(scores[item["image"]], abs=2e-3) for item in way["neighbours"])
        assert str(image.uuid) not in scores, "no image is its own neighbour"
        assert (way["label"], way["confidence"]) == (votes(expected)[0], pytest.approx(votes(expected)[1], abs=0.051))
        assert way["name"] == image.image_set.classes[way["label"]]
    assert (told["label"], told["neighbours"]) == (told["ways"][1]["label"], told["ways"][1]["neighbours"])
    assert (told["grid"], told["window"], told["picture"]) == ([4, 4], [0, 0, 32, 32], [32, 32])
    assert (told["votes"], told["images"], told["marked"]) == (20, 28, None)
    if told["neighbours"][0]["image"] == ranked[0][0]:
        query, candidate = pairs[0]
        first = told["neighbours"][0]["patches"][0]
        assert first["query"] == [query % 4 / 4, query // 4 / 4, query % 4 / 4 + 0.25, query // 4 / 4 + 0.25]
        assert first["neighbour"][:2] == [candidate % 4 / 4, candidate // 4 / 4]


def test_what_is_marked_decides(classifier, owner, gallery, image) -> None:
    import torch

    plain = answered(ask_match(classifier, owner, image, gallery=gallery, matcher="cosine_corr"))
    cells = [[3, 3], [0, 1]]
    row = ask_match(classifier, owner, plain, gallery=gallery, matcher="cosine_corr", marked=cells)
    assert row.question["marked"] == [[0, 1], [3, 3]]
    row = answered(row)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 3, 3] = mask[0, 0, 1] = True
    _, ranked, _ = by_hand(classifier, image, marked=mask)
    assert [item["score"] for item in row.answer["neighbours"]] == pytest.approx(
        [score for _, score in ranked[:10]], abs=2e-3
    )
    corners = {tuple(patch["query"][:2]) for item in row.answer["neighbours"] for patch in item["patches"]}
    assert corners == {(0.25, 0.0), (0.75, 0.75)}, "only marked parts match"
    assert row.answer["marked"] == [[0, 1], [3, 3]]
    assert unmarked(row).pk == plain.pk
    assert unmarked(plain) is None
    # The same again, however it is put, is the same row.
    again = ask_match(classifier, owner, row, gallery=gallery, matcher="cosine_corr", marked=[[0, 1], [3, 3], [3, 3]])
    assert again.pk == row.pk


def test_the_network_reads_its_own_layer(classifier, owner, gallery, image, world) -> None:
    network = make_network(classifier, "features.11")
    with pytest.raises(QuestionRefused, match=r"reads the layer features\.11, whose features of “scenes” are"):
        ask_match(classifier, owner, image, gallery=gallery, matcher="chm_corr")
    make_gallery(classifier, world.image_set, "features.11")
    row = ask_match(classifier, owner, image, gallery=gallery, matcher="chm_corr", marked=[[1, 1]])
    assert row.question["options"] == {"network": str(network.uuid)}, "a newer one tomorrow changes nothing"
    row = answered(row)
    assert row.answer["ways"][1]["method"] == "chm_corr"
    # Its 7 × 7 points lie between the 4 × 4 cells: those that the marked cell touches.
    corners = {corner for item in row.answer["neighbours"] for one in item["patches"] for corner in one["query"][:2]}
    assert corners <= {0.0, 0.25, 0.5}
    default_storage.delete(network.weights.name)
    with pytest.raises(QuestionRefused, match="not in the storage any more"):
        ask_match(classifier, owner, image, gallery=gallery, matcher="chm_corr")
    CorrespondenceNetwork.objects.all().delete()
    with pytest.raises(QuestionRefused, match="has no trained correspondence network"):
        ask_match(classifier, owner, image, gallery=gallery, matcher="chm_corr")


def test_nearest_neighbours_alone(classifier, owner, gallery, image) -> None:
    row = answered(ask_match(classifier, owner, upload(image), gallery=gallery, matcher="knn", options={"votes": 3}))
    (way,) = row.answer["ways"]
    assert way["method"] == "knn"
    assert "patches" not in way["neighbours"][0]
    assert row.answer["votes"] == 3
    assert way["confidence"] in (pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
    # The upload has the bytes of an image of the gallery, which is left out.
    assert str(image.uuid) not in {item["image"] for item in way["neighbours"]}


def test_images_without_one_label_have_no_vote(classifier, owner, gallery, image, world) -> None:
    others = Image.objects.filter(image_set=world.image_set).exclude(pk=image.pk).order_by("pk")
    ImageLabel.objects.filter(image__in=others[2:]).delete()
    ImageLabel.objects.create(image=others[0], index=1 - others[0].labels.get().index)
    row = answered(ask_match(classifier, owner, image, gallery=gallery, matcher="knn"))
    assert [item["image"] for item in row.answer["neighbours"]] == [str(others[1].uuid)]
    assert row.answer["confidence"] == 1.0
    ImageLabel.objects.filter(image=others[1]).delete()
    row = ask_match(classifier, owner, upload(image, "another.png"), gallery=gallery, matcher="knn")
    ImageLabel.objects.all().delete()
    answer(str(row.uuid))
    assert "No image of the gallery can vote" in Inquiry.objects.get(pk=row.pk).reason


def test_the_board_says_whether_it_is_right(classifier, owner, gallery, image) -> None:
    row = answered(ask_match(classifier, owner, image, gallery=gallery, matcher="emd_corr"))
    board = board_of_inquiry(row, image)
    truth = image.labels.get().index
    assert board.truth == [image.image_set.classes[truth]]
    assert [way.right for way in board.ways] == [way["label"] == truth for way in row.answer["ways"]]
    assert board_of_inquiry(row, None).ways[0].right is None
    assert board.ways[1].patches == 5
    assert board.query.draw(64).size == (64, 64)


# --- what is refused ---


@pytest.mark.parametrize(
    ("wish", "field", "sentence"),
    [
        ({"matcher": "magic"}, "matcher", "There is no way “magic”"),
        ({"matcher": "emd_corr", "marked": [[0, 0]]}, "marked", "EMD-Corr cannot use marked parts; CHM-Corr and"),
        ({"matcher": "knn", "marked": [[0, 0]]}, "marked", "Nearest neighbours cannot use marked parts"),
        ({"matcher": "knn", "options": {"votes": "0"}}, "votes", "below the smallest"),
        ({"matcher": "knn", "options": {"epsilon": "1"}}, "epsilon", "There is no option “epsilon”"),
        ({"matcher": "knn", "gallery": None}, "gallery", "Choose the images to compare with."),
    ],
)
def test_a_wrong_question_is_refused_at_its_field(classifier, owner, gallery, image, wish, field, sentence) -> None:
    with pytest.raises(QuestionRefused) as caught:
        ask_match(classifier, owner, image, **{"gallery": gallery} | wish)
    assert list(caught.value.errors) == [field]
    assert sentence in caught.value.errors[field]
    assert not Inquiry.objects.exists()


def test_the_catalogue_says_of_matchers_whether_they_take_marks() -> None:
    import torch

    from mlcore.correspondence.base import Described
    from mlcore.training.setup import resolve

    cells = torch.rand(1, 3, 2, 2)
    for name in ("emd_corr", "cosine_corr"):  # the network's is asked above
        matcher = resolve(MATCHERS[name].path)()
        try:
            matcher.compare(Described(cells), Described(cells[None]), torch.ones(1, 2, 2, dtype=torch.bool))
        except ValueError:
            took = False
        else:
            took = True
        assert MATCHERS[name].takes_marks is took, name


def test_features_that_are_gone_are_said_at_once(classifier, owner, gallery, image) -> None:
    assert list(galleries_of(classifier)) == [gallery]
    folder = folder_of(key_of(classifier, gallery.image_set, gallery.layer, classifier.transform))
    row = ask_match(classifier, owner, image, gallery=gallery, matcher="emd_corr")
    (folder / "manifest.json").unlink()
    with pytest.raises(QuestionRefused, match="not on the disk any more"):
        ask_match(classifier, owner, image, gallery=gallery, matcher="knn")
    answer(str(row.uuid))
    assert "not on the disk any more" in Inquiry.objects.get(pk=row.pk).reason
    row = ask_match(classifier, owner, image, gallery=make_gallery(classifier, gallery.image_set), matcher="knn")
    FeatureGallery.objects.all().delete()
    answer(str(row.uuid))
    assert "This gallery was deleted" in Inquiry.objects.get(pk=row.pk).reason


def test_a_damaged_file_is_named(classifier, owner, gallery, image) -> None:
    row = ask_match(classifier, owner, image, gallery=gallery, matcher="emd_corr")
    manifest = match_questions.folder_of(gallery) / "manifest.json"
    manifest.write_text(json.dumps({"gallery": {}}))
    answer(str(row.uuid))
    reason = Inquiry.objects.get(pk=row.pk).reason
    assert "manifest.json" in reason
    assert "Build the gallery again" in reason


def test_features_of_another_size_are_refused(classifier, owner, gallery, image) -> None:
    FeatureGallery.objects.filter(pk=gallery.pk).update(layer="features.5")  # what lies there is of the last layer
    row = ask_match(classifier, owner, image, gallery=FeatureGallery.objects.get(), matcher="emd_corr")
    answer(str(row.uuid))
    assert "holds other features than the classifier gives" in Inquiry.objects.get(pk=row.pk).reason


def test_a_gallery_that_grew_is_asked_anew(classifier, owner, gallery, image) -> None:
    row = answered(ask_match(classifier, owner, image, gallery=gallery, matcher="knn"))
    gallery.save()
    assert ask_match(classifier, owner, image, gallery=gallery, matcher="knn").pk != row.pk


# --- a mask instead of cells ---


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ((8, 0, 16, 8), [[0, 1]]),
        ((8, 0, 16, 10), [[0, 1], [1, 1]]),  # 2 of 8 rows of the cell below: a quarter
        ((8, 0, 16, 9), [[0, 1]]),
    ],
)
def test_a_painted_mask_marks_the_cells_of_which_it_covers_a_quarter(
    classifier, gallery, image, serving, tmp_path, box, cells
) -> None:
    mask = np.zeros((32, 32), np.uint8)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 255
    path = tmp_path / "mask.png"
    Picture.fromarray(mask).save(path)
    told = chosen(classifier, gallery, matcher="cosine_corr", options={})
    question = match_question(classifier, image.file.path, told)
    assert serving.ask(question | {"mask": str(path)}, 60)["marked"] == cells


def test_masks_that_do_not_fit_are_refused(classifier, gallery, image, serving, tmp_path) -> None:
    from mlcore.runs.inquiry_server import NoAnswer

    question = match_question(classifier, image.file.path, chosen(classifier, gallery, matcher="emd_corr", options={}))
    for name, size, sentence in (
        ("small.png", 16, "is 16×16, its picture 32×32"),
        ("black.png", 32, "Nothing is marked"),
    ):
        Picture.new("L", (size, size)).save(tmp_path / name)
        with pytest.raises(NoAnswer, match=sentence):
            serving.ask(question | {"mask": str(tmp_path / name)}, 60)
    Picture.new("L", (32, 32), 255).save(tmp_path / "white.png")
    with pytest.raises(NoAnswer, match="EMD-Corr cannot use marked cells"):
        serving.ask(question | {"mask": str(tmp_path / "white.png")}, 60)
    for marked, sentence in (([[4, 0]], "has 4 × 4 cells; there is none at 4, 0"), ([[0, -1]], "none at 0, -1")):
        with pytest.raises(NoAnswer, match=sentence):
            serving.ask(question | {"marked": marked}, 60)


def test_the_window_is_where_patches_lie(classifier, owner, world, image) -> None:
    """A picture of twice the width of which the classifier sees the middle: corners are shares of the whole."""
    gallery = make_gallery(classifier, world.image_set)
    wide = Image(image_set=world.image_set, name="wide", width=64, height=32)
    with image.file.open("rb") as stream:
        seen = np.asarray(Picture.open(stream).convert("RGB"))
    array = np.concatenate([np.zeros((32, 16, 3), np.uint8), seen, np.zeros((32, 16, 3), np.uint8)], axis=1)
    from django.core.files.base import ContentFile

    from tests.mlcore.runs.world import png

    content = png(array)
    wide.sha256 = hashlib.sha256(content).hexdigest()
    wide.file.save("wide.png", ContentFile(content), save=True)
    row = answered(ask_match(classifier, owner, wide, gallery=gallery, matcher="cosine_corr", marked=[[0, 0]]))
    assert (row.answer["picture"], row.answer["window"]) == ([64, 32], [16, 0, 48, 32])
    first = row.answer["neighbours"][0]
    assert first["image"] == str(image.uuid), "it is the picture within it"
    assert first["patches"][0]["query"] == [0.25, 0.0, 0.375, 0.25]
    assert first["patches"][0]["neighbour"] == [0.0, 0.0, 0.25, 0.25]
