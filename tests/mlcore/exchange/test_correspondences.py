"""Neighbours and matches come in whole or not at all, row by row named, and once only."""

import copy
import json
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command

from mlcore.exchange import render
from mlcore.exchange.correspondences import add_correspondences, payload_of, read_rows
from mlcore.exchange.report import ImportRefused
from mlcore.models import (
    AuditEntry,
    Classifier,
    Explanation,
    ExplanationSet,
    Image,
    ImageLabel,
    ImageSet,
    Prediction,
)
from tests.mlcore.exchange.pictures import noise, png_of

pytestmark = pytest.mark.django_db
CLASSES = ["wren", "robin", "oriole"]


def image_set(name: str = "Birds", images: int = 4, owner=None) -> ImageSet:
    """Pictures 0.png, 1.png, …; picture i shows class i % 3."""
    made = ImageSet.objects.create(name=name, classes=CLASSES, owner=owner)
    for number in range(images):
        row = Image(image_set=made, name=f"{number}.png", sha256=f"{number:064x}", width=24, height=16)
        row.file.save(row.name, ContentFile(png_of(noise(24, 16, seed=number))), save=False)
        row.save()
        ImageLabel.objects.create(image=row, index=number % 3)
    return made


@pytest.fixture
def birds():
    return image_set()


@pytest.fixture
def classifier():
    return Classifier.objects.create(name="net", architecture="sixconv", classes=CLASSES)


def uuid_of(name: str, of: ImageSet) -> str:
    return str(Image.objects.get(image_set=of, name=name).uuid)


PATCHES = [{"query": [0, 0, 0.5, 0.5], "neighbour": [0.25, 0.5, 0.75, 1], "score": 0.8}]


def row(name: str = "0.png", predicted: object = 1, confidence: float | None = 0.7, patches: bool = False) -> dict:
    neighbours = [{"image": other, "score": score} for other, score in (("1.png", 0.9), ("2.png", 0.4))]
    neighbours = [item for item in neighbours if item["image"] != name]
    if patches:
        neighbours = [item | {"patches": PATCHES} for item in neighbours]
    return {"image": name, "predicted": predicted, "confidence": confidence, "neighbours": neighbours}


def add(classifier, of, rows, payload="neighbours", **options):
    return add_correspondences(classifier, of, rows, owner=None, method="emd_corr", payload=payload, **options)


def test_neighbours_come_in_by_name_and_by_uuid(birds, classifier):
    by_uuid = row(uuid_of("3.png", birds), "oriole", None)
    made = add(classifier, birds, [row(), by_uuid])
    first, second = Explanation.objects.filter(set=made).order_by("pk")
    assert (first.image.name, first.payload, first.target, first.shard) == ("0.png", "neighbours", 1, "")
    assert first.data == {
        "neighbours": [
            {"image": uuid_of("1.png", birds), "label": 1, "score": 0.9},
            {"image": uuid_of("2.png", birds), "label": 2, "score": 0.4},
        ]
    }
    assert (second.image.name, second.target) == ("3.png", 2)
    # Only the row that tells a confidence is a prediction.
    assert list(Prediction.objects.values_list("image__name", "label", "confidence")) == [("0.png", 1, 0.7)]
    assert (made.method, made.target, made.image_set) == ("emd_corr", "predicted", birds)
    assert AuditEntry.objects.get().after == {"rows": 2, "payload": "neighbours", "method": "emd_corr"}


def test_matches_keep_their_patches(birds, classifier):
    made = add(classifier, birds, [row(patches=True)], payload="matches")
    kept = made.explanations.get().data["neighbours"]
    assert kept[0]["patches"] == [{"query": [0, 0, 0.5, 0.5], "neighbour": [0.25, 0.5, 0.75, 1.0], "score": 0.8}]
    assert payload_of([row(patches=True)]) == "matches"
    assert payload_of([row()]) == "neighbours"


def test_the_same_rows_again_write_nothing_whatever_their_order(birds, classifier):
    rows = [row(), row("3.png")]
    first = add(classifier, birds, rows)
    Prediction.objects.update(label=2)
    assert add(classifier, birds, rows[::-1]) == first
    assert (Explanation.objects.count(), AuditEntry.objects.count()) == (2, 1)
    assert set(Prediction.objects.values_list("label", flat=True)) == {2}, "what came later stays"
    other = add(classifier, birds, rows, options={"k": 20})
    assert other != first
    assert set(Prediction.objects.values_list("label", flat=True)) == {1}, "the newest replaces"


def test_a_gallery_of_the_same_owner_and_of_no_one_else(birds, classifier):
    gallery = image_set("Gallery", 6)
    gallery.classes = ["a", "b", "c"]
    gallery.save()
    made = add(classifier, birds, [row()], gallery=gallery)
    assert made.explanations.get().data["neighbours"][0]["image"] == uuid_of("1.png", gallery)
    with pytest.raises(ImportRefused, match="belongs to someone else"):
        add(classifier, birds, [row()], gallery=image_set("Theirs", owner=get_user_model().objects.create_user("eve")))
    with pytest.raises(ImportRefused, match=r"no picture “5\.png”"):
        add(classifier, birds, [row() | {"neighbours": [{"image": "5.png", "score": 1}]}])


def neighbour(**changes: object) -> dict:
    return row() | {"neighbours": [{"image": "1.png", "score": 1.0, **changes}]}


def match(**changes: object) -> dict:
    return neighbour(patches=[PATCHES[0] | changes])


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ("text", "A row is an object"),
        ({}, "names no image"),
        (row("9.png"), "no picture “9.png” in the image set"),
        (row("0.png"), "has a row already"),
        (row(predicted=3), "index from 0 to 2"),
        (row(predicted=True), "index from 0 to 2"),
        (row(predicted="eagle"), "no class is called so"),
        (row(confidence=1.2), "between 0 and 1, not 1.2"),
        (row(confidence=float("nan")), "The confidence is a finite number"),
        (row() | {"neighbours": []}, "1 to 20 neighbours"),
        (row() | {"neighbours": [{"image": "1.png", "score": 1}] * 21}, "1 to 20 neighbours"),
        (row() | {"neighbours": [{"image": "1.png", "score": 1}] * 2}, "stands there twice"),
        (row() | {"neighbours": ["1.png"]}, "Neighbour 1: no image"),
        (row() | {"neighbours": row()["neighbours"][::-1]}, "scores never rise"),
        (neighbour(image="3.png"), "no neighbour of itself"),
        (neighbour(score="high"), "the score is a finite number"),
        (neighbour(score=10**400), "the score is a finite number"),
        (neighbour(label=7), "index from 0 to 2"),
        (match(), "imported as matches"),
    ],
)
def test_a_bad_row_is_named_and_nothing_comes_in(birds, classifier, bad, sentence):
    bad = copy.deepcopy(bad)
    if isinstance(bad, dict) and bad.get("image") == "0.png" and "already" not in sentence:
        bad["image"] = "3.png"
    with pytest.raises(ImportRefused, match=sentence) as refused:
        add(classifier, birds, [row(), bad])
    assert refused.value.problems[0].row == 2
    assert not ExplanationSet.objects.exists()
    assert not Prediction.objects.exists()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (neighbour(), "1 to 9 patches"),
        (neighbour(patches=PATCHES * 10), "1 to 9 patches"),
        (neighbour(patches=["left"]), "patch 1: a patch has"),
        (match(query=[0, 0, 1]), "patch 1, query: four numbers"),
        (match(neighbour=[0.5, 0, 0.5, 1]), "shares of width and height"),
        (match(query=[0, 0, 1.1, 1]), "shares of width and height"),
        (match(query=[0, -0.1, 1, 1]), "shares of width and height"),
        (match(score=None), "the score is a finite number"),
    ],
)
def test_bad_patches_are_named(birds, classifier, bad, sentence):
    with pytest.raises(ImportRefused, match=sentence):
        add(classifier, birds, [bad], payload="matches")
    assert not ExplanationSet.objects.exists()


def test_what_is_wrong_with_the_whole_is_said(birds, classifier):
    with pytest.raises(ImportRefused, match="no rows"):
        add(classifier, birds, [])
    with pytest.raises(ImportRefused, match="payload is one of"):
        add(classifier, birds, [row()], payload="map")
    ImageLabel.objects.filter(image__name="1.png").delete()
    with pytest.raises(ImportRefused, match=r"nobody said what “1\.png” shows"):
        add(classifier, birds, [row()])
    made = add(classifier, birds, [neighbour(label="robin")])
    assert made.explanations.get().data["neighbours"][0]["label"] == 1


def test_many_rows_take_few_queries(birds, classifier, django_assert_max_num_queries):
    many = image_set("Many", 60)
    rows = [row(f"{number}.png") for number in range(3, 60)]
    with django_assert_max_num_queries(14):
        made = add(classifier, many, rows)
    assert made.explanations.count() == 57


def test_there_is_no_map_to_draw(birds, classifier):
    explanation = add(classifier, birds, [row()]).explanations.get()
    with pytest.raises(render.MapUnavailable, match="shows nearest neighbours; it holds no map"):
        render.map_png(explanation, (24, 16))
    with pytest.raises(render.MapUnavailable, match="holds no map"):
        render.overlay(explanation)


def run_command(path, *more: str) -> str:
    out = StringIO()
    wish = ["import_correspondences", str(path), "--classifier=net", "--image-set=Birds", "--method=knn", *more]
    call_command(*wish, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_command(birds, classifier, tmp_path):
    get_user_model().objects.create_user("ada")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in (row(patches=True), row("3.png", "wren", patches=True))))
    said = run_command(path, "--owner=ada", "--option=k=20")
    made = ExplanationSet.objects.get()
    assert str(made.uuid) in said
    assert "(2 images)" in said
    assert (made.owner.username, made.options, made.method) == ("ada", {"k": "20"}, "knn")
    assert {one.payload for one in made.explanations.all()} == {"matches"}
    assert Prediction.objects.count() == 2
    path.write_text(json.dumps(row()) + "\n{\n")
    with pytest.raises(CommandError, match="row 2: the line is not a JSON object"):
        run_command(path)
    path.write_text(json.dumps(row()) + "\n" + json.dumps(row("8.png")))
    with pytest.raises(CommandError, match=r"row 2: There is no picture “8\.png”"):
        run_command(path)
    with pytest.raises(CommandError, match="no image set “Fish”"):
        run_command(path, "--gallery=Fish")
    with pytest.raises(ImportRefused, match="cannot be read"):
        read_rows(tmp_path / "nothing.jsonl")


@pytest.mark.django_db
def test_a_tile_shows_the_picture_and_its_neighbours_below():
    from mlcore.exchange.neighbours_picture import SHOWN, with_neighbours
    from mlcore.models import Explanation
    from tests.annotation import factories as make

    made = make.compare(make.images(4))
    board = with_neighbours(Explanation.objects.filter(set=made).first(), 160)
    assert board.size == (160, 160)
    ground = board.getpixel((0, 0))
    strip = board.crop((0, 160 - 160 // SHOWN, 80, 160))  # two neighbours: the left half of the strip
    assert len({color for _, color in strip.getcolors(100_000)} - {ground}) > 10
    assert [color for _, color in board.crop((90, 130, 160, 160)).getcolors()] == [ground], (
        "two neighbours fill two places of four"
    )
