"""`match` and `match_pictures`: a real process compares, files are drawn, and what is refused is a sentence."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image as Pictures

from mlcore.exchange.correspondences import add_correspondences
from mlcore.models import Classifier, Explanation, FeatureGallery, Image, ImageLabel
from tests.mlcore.runs import conftest as fixtures
from tests.mlcore.runs.asked import asked_classifier
from tests.mlcore.runs.compared import make_gallery
from tests.mlcore.runs.world import World, make_world
from tests.mlcore.test_question_commands import refused, said

_folders, world = fixtures._folders, fixtures.world
pytestmark = pytest.mark.django_db


@pytest.fixture
def classifier(world: World) -> Classifier:
    return asked_classifier(world)


@pytest.fixture
def gallery(classifier, world) -> FeatureGallery:
    return make_gallery(classifier, world.image_set)


@pytest.fixture
def picture(world, tmp_path, monkeypatch):
    """A picture of the gallery, in a folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bird.png"
    with world.part("validation")[0].file.open("rb") as stream:
        path.write_bytes(stream.read())
    return path


def test_what_was_found_is_printed_and_drawn(gallery, picture, world) -> None:
    lines = said("match", "bird.png", "--out=found.svg", "--option", "votes=5").splitlines()
    assert lines[0] == "earlier, beside 28 images of scenes"
    titles = [line for line in lines if " of 5 votes" in line]
    assert [line.partition(":")[0] for line in titles] == ["Nearest neighbours", "EMD-Corr"]
    assert sum(line.startswith("  ") for line in lines) == 10
    assert lines[-1] == "found.svg"
    drawn = (picture.parent / "found.svg").read_text()
    assert "EMD-Corr: " in drawn
    assert "of 5 votes" in drawn
    said("match", "bird.png", "--out=found.png", "--width=600")
    assert Pictures.open("found.png").width == 600


def test_a_mask_decides_and_json_has_everything(gallery, picture, world) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 24:] = 255
    Pictures.fromarray(mask).save("mask.png")
    plain = json.loads(said("match", "bird.png", "--matcher=cosine_corr", "--json"))
    told = json.loads(said("match", "bird.png", "--matcher=cosine_corr", "--mask=mask.png", "--json"))
    assert (plain["marked"], told["marked"]) == (None, [[1, 3]])
    assert told["class"] == world.image_set.classes[told["label"]]
    assert told["gallery"] == str(gallery.uuid)
    assert all(len(item["patches"]) == 1 for item in told["neighbours"])
    assert told["neighbours"][0]["patches"][0]["query"] == [0.75, 0.25, 1.0, 0.5]
    assert plain["neighbours"] != told["neighbours"]
    # It is an image of the gallery, which is not compared with itself.
    own = str(world.part("validation")[0].uuid)
    assert own not in {item["image"] for way in plain["ways"] for item in way["neighbours"]}
    assert "1 of 16 cells are marked." in said("match", "bird.png", "--matcher=cosine_corr", "--mask=mask.png")


def test_refusals_come_before_any_computing(gallery, picture, classifier, tmp_path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    whole = picture.read_bytes()
    for arguments, sentence in (
        (("nowhere.png",), "There is no file “nowhere.png”"),
        (("text.png",), "text.png: The file is not a picture"),
        (("bird.png", "--out=found.gif"), "does not end in .svg or .png"),
        (("bird.png", "--out=nowhere/found.svg"), "there is no folder “nowhere”"),
        (("bird.png", "--out=bird.png"), "would write over the picture itself"),
        (("bird.png", "--option=votes=0"), "votes: 0 is below the smallest"),
        (("bird.png", "--matcher=chm_corr"), "has no trained correspondence network"),
        (("bird.png", "--mask=mask.png"), "--mask: there is no file “mask.png”"),
        (("bird.png", "--mask=bird.png"), "--mask: EMD-Corr cannot use marked parts; chm_corr and cosine_corr can."),
        (("bird.png", "--gallery=others"), "There is no image set “others”"),
        (("bird.png", "--layer=attic"), "There is no such gallery. Build one"),
    ):
        assert sentence in refused("match", *arguments), arguments
    assert picture.read_bytes() == whole
    FeatureGallery.objects.all().delete()
    assert "manage.py gallery build" in refused("match", "bird.png")


def test_of_several_galleries_one_is_named(gallery, picture, classifier, world) -> None:
    make_gallery(classifier, world.image_set, "features.11")
    assert json.loads(said("match", "bird.png", "--matcher=knn", "--json"))["gallery"] == str(gallery.uuid)
    finer = json.loads(said("match", "bird.png", "--matcher=knn", "--layer=features.11", "--json"))
    assert finer["gallery"] != str(gallery.uuid)
    other = make_gallery(classifier, make_world("others", {"train": 3}).image_set)
    assert "Which gallery? There are: --classifier “earlier” --gallery “others”" in refused("match", "bird.png")
    arguments = ("match", "bird.png", "--classifier=earlier", "--gallery=others", "--matcher=knn", "--json")
    assert json.loads(said(*arguments))["gallery"] == str(other.uuid)


def test_the_pictures_of_a_set_in_one_zip(classifier, world, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, *others = Image.objects.filter(image_set=world.image_set).order_by("pk")[:4]
    patches = [{"query": [0, 0, 0.5, 0.5], "neighbour": [0.5, 0.5, 1, 1], "score": 0.5}]
    items = [{"image": other, "score": 0.5, "patches": patches} for other in others]
    rows = [
        {"image": first, "predicted": 0, "neighbours": items},
        {"image": others[0], "predicted": 1, "neighbours": items[1:]},
    ]
    made = add_correspondences(classifier, world.image_set, rows, owner=None, method="emd_corr", payload="matches")
    ImageLabel.objects.filter(image=first).update(index=0)
    assert said("match_pictures", str(made.uuid), "--out=all.zip").strip() == "all.zip: 2 pictures"
    with zipfile.ZipFile("all.zip") as archive:
        names = archive.namelist()
        assert names == [
            f"{n:05d}_{image.name[:-4].replace('/', '_')}.svg" for n, image in ((1, first), (2, others[0]))
        ]
        assert b">right</text>" in archive.read(names[0])
    said("match_pictures", str(made.uuid), "--out=one.zip", "--format=png", "--width=640", "--image", first.name)
    with zipfile.ZipFile("one.zip") as archive:
        (name,) = archive.namelist()
        assert Pictures.open(io.BytesIO(archive.read(name))).width == 640
    for arguments, sentence in (
        (("--out=all.tar",), "does not end in .zip"),
        (("--out=nowhere/all.zip",), "its folder is missing"),
        (("--out=x.zip", "--width=20"), "480 to 4800 pixels, not 20"),
        (("--out=x.zip", "--neighbours=0"), "at least 1"),
        (("--out=x.zip", "--image=attic"), "no comparison of “attic”"),
    ):
        assert sentence in refused("match_pictures", str(made.uuid), *arguments)
    Explanation.objects.all().delete()
    assert "no neighbours or matches" in refused("match_pictures", str(made.uuid), "--out=x.zip")
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix) == ["all.zip", "one.zip"]
