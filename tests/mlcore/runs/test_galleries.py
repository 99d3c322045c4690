"""Galleries as a researcher handles them, by the library and by `manage.py gallery`, with a real classifier."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from mlcore.catalogue.gallery_lock import held
from mlcore.models import AuditEntry, Classifier, FeatureGallery, Image
from mlcore.runs import galleries
from mlcore.runs.galleries import GalleryRefused
from tests.mlcore.runs.asked import asked_classifier
from tests.mlcore.runs.compared import make_gallery
from tests.mlcore.runs.world import World

IMAGES = 28  # of the world


@pytest.fixture
def classifier(world: World) -> Classifier:
    return asked_classifier(world)


def said(*arguments: str, **options) -> str:
    out = StringIO()
    call_command("gallery", *arguments, stdout=out, stderr=options.get("stderr") or StringIO())
    return out.getvalue()


def refused(*arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        said(*arguments)
    return str(caught.value)


BUILD = ("build", "--classifier", "earlier", "--image-set", "scenes")


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("HARMONY_DEVICE", "cpu")


def features_by_hand(classifier: Classifier, image_set, layer: str):
    from mlcore.correspondence.store import Gallery

    row = make_gallery(classifier, image_set, layer)
    gallery = Gallery.open(galleries.folder_for(row))
    return gallery, gallery.spatial(range(len(gallery)))


def test_a_gallery_is_built_completed_listed_and_deleted(world, classifier):
    import torch

    from mlcore.correspondence.store import Gallery

    assert "There is no gallery yet" in said("list")
    text = said(*BUILD)
    row = FeatureGallery.objects.get()
    assert f"{row.uuid} {IMAGES} images" in text
    assert f"({IMAGES} computed)" in text
    assert (row.layer, row.images) == ("features", IMAGES)
    assert row.transform == {"image_size": 32, "resize": "none", "normalise": "imagenet"}
    folder = galleries.folder_for(row)
    assert row.bytes == sum(path.stat().st_size for path in folder.iterdir())
    gallery = Gallery.open(folder)
    assert (row.channels, row.height, row.width) == gallery.shape
    assert gallery.ids == [str(uuid) for uuid in Image.objects.order_by("pk").values_list("uuid", flat=True)]

    assert f"(0 computed; {IMAGES} were there)" in said(*BUILD)
    cells = gallery.spatial(range(IMAGES))
    assert said("delete", str(row.uuid)[:8]).strip().endswith("are free again.")
    assert not folder.exists()
    assert not FeatureGallery.objects.exists()
    entry = AuditEntry.objects.get(action="gallery.delete")
    assert entry.before == {"images": IMAGES, "bytes": row.bytes}

    again, by_hand = features_by_hand(classifier, world.image_set, "")
    assert again.ids == gallery.ids
    torch.testing.assert_close(cells, by_hand, atol=2e-3, rtol=2e-3)  # half precision


def test_images_that_come_and_go(world, classifier):
    said(*BUILD)
    world.part("test")[0].delete()
    other = world.part("train")[0]
    other.sha256 = "f" * 64
    other.save()
    text = said(*BUILD)
    assert f"{IMAGES - 1} images" in text
    assert f"(1 computed; {IMAGES - 2} were there)" in text
    assert FeatureGallery.objects.get().images == IMAGES - 1


def test_the_size_is_told_before_and_the_layers_are_asked_for_where_nobody_did(world, classifier):
    text = said(*BUILD, "--estimate")
    assert not FeatureGallery.objects.exists()
    classifier.refresh_from_db()
    shape = next(row for row in classifier.layers if row["name"] == "features")
    size = IMAGES * (2 * shape["channels"] * (shape["height"] * shape["width"] + 1) + 120)
    assert f"{IMAGES} images by the layer “features” of “earlier”: about {size / 1000:.0f} kB on the disk" in text
    said(*BUILD)
    row = FeatureGallery.objects.get()
    assert abs(row.bytes - size) < 3 * 4096 + 2048
    assert "all of it is there" in said(*BUILD, "--estimate")


def test_another_layer_or_transform_is_another_gallery(world, classifier):
    said(*BUILD)
    said(*BUILD, "--layer", "features.0")
    said(*BUILD, "--option", "normalise=none")
    assert FeatureGallery.objects.count() == len(set(FeatureGallery.objects.values_list("key", flat=True))) == 3
    assert len(said("list").splitlines()) == 3


def test_a_damaged_file_is_named_and_made_again(world, classifier):
    said(*BUILD)
    folder = galleries.folder_for(FeatureGallery.objects.get())
    path = next(folder.glob("*.block"))
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    err = StringIO()
    assert f"({IMAGES} computed)" in said(*BUILD, stderr=err)
    assert f"The file {path.name} of the gallery {folder.name} is damaged" in err.getvalue()


def test_files_that_were_deleted_by_hand_are_told(world, classifier):
    said(*BUILD)
    row = FeatureGallery.objects.get()
    (galleries.folder_for(row) / "manifest.json").unlink()
    assert "files are gone" in said("list")
    assert "There is no finished gallery" in refused("recall", str(row.uuid))
    said("delete", str(row.uuid))


def test_searches_are_compared(world, classifier):
    pytest.importorskip("faiss", reason="faiss is not installed here (pip install faiss-cpu)")
    said(*BUILD)
    text = said("recall", str(FeatureGallery.objects.get().uuid), "-k", "5", "--queries", "10")
    lines = {line.split()[0]: line.split() for line in text.splitlines()[2:]}
    assert list(lines) == ["exact", "flat", "ivf", "hnsw"]
    assert lines["exact"][-2:] == lines["flat"][-2:] == ["100.0", "%"]


def test_what_is_left_of_a_deleted_classifier(world, classifier):
    said(*BUILD)
    row = FeatureGallery.objects.get()
    folder = galleries.folder_for(row)
    other = folder.parent / "somebody else's"
    other.mkdir()
    Classifier.objects.all().delete()
    assert not FeatureGallery.objects.exists()
    assert "1 more without their classifier or set" in said("list")
    with held(folder):
        said("delete", "--orphans")
        assert folder.exists()  # somebody writes there
    said("delete", "--orphans")
    assert not folder.exists()
    assert other.exists()
    assert "orphans" not in said("list")


def test_a_gallery_that_is_being_written_stays(world, classifier):
    said(*BUILD)
    row = FeatureGallery.objects.get()
    with held(galleries.folder_for(row)):
        assert "is being written" in refused("delete", str(row.uuid))
    assert FeatureGallery.objects.filter(pk=row.pk).exists()
    assert galleries.is_there(row)
    assert not AuditEntry.objects.filter(action="gallery.delete").exists()


def test_what_cannot_be_built_is_refused_in_a_sentence(world, classifier):
    assert "“round” is not one of squash, crop, none" in refused(*BUILD, "--option", "resize=round")
    assert "There is no layer “middle”" in refused(*BUILD, "--layer", "middle")
    assert "at least one image" in refused(*BUILD, "--batch-size", "0")
    assert "Name a gallery" in refused("delete")
    assert not FeatureGallery.objects.exists()
    Path(classifier.weights.path).unlink()
    assert "are not in the storage any more" in refused(*BUILD)
    Classifier.objects.update(weights="", sha256="")
    assert "has no weights" in refused(*BUILD)
    Image.objects.all().delete()
    Classifier.objects.update(weights="w", sha256="1")
    with pytest.raises(GalleryRefused, match="has no pictures"):
        galleries.plan(Classifier.objects.get(), world.image_set)


def test_a_missing_picture_is_named_and_what_was_computed_stays(world, classifier):
    last = Image.objects.order_by("pk").last()
    content = Path(last.file.path).read_bytes()
    Path(last.file.path).write_bytes(b"no picture")
    assert "cannot be read" in refused(*BUILD, "--batch-size", "4")
    Path(last.file.path).write_bytes(content)
    assert f"(4 computed; {IMAGES - 4} were there)" in said(*BUILD, "--batch-size", "4")
