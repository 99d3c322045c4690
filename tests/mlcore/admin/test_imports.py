"""Images and weights come in by forms, partitions are made by one; what is wrong is said at its field."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from PIL import Image as Pictures

from mlcore.models import Classifier, ImageSet, Partition
from tests.annotation.admin.world import administrator, owned_world
from tests.annotation.factories import researcher
from tests.mlcore.runs.world import png

pytestmark = pytest.mark.django_db


def picture(number: int) -> bytes:
    return png(np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8))


def zip_of(entries: dict[str, bytes]) -> SimpleUploadedFile:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return SimpleUploadedFile("pictures.zip", stream.getvalue())


def folder_of(root: Path) -> Path:
    for number, name in enumerate(("cat/1.png", "cat/2.png", "dog/3.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number))
    (root / "dog/broken.png").write_bytes(b"not a picture")
    return root


def test_a_zip_becomes_a_set_of_ones_own(client):
    rita = researcher()
    client.force_login(rita)
    mask = io.BytesIO()
    Pictures.new("L", (12, 10), 255).save(mask, "PNG")
    entries = {"cat/1.png": picture(1), "dog/2.png": picture(2), "masks/1.png": mask.getvalue()}
    answer = client.post(reverse("admin:mlcore_imageset_import"), {"name": "pets", "zip": zip_of(entries)})
    made = ImageSet.objects.get(name="pets")
    assert answer["Location"] == reverse("admin:mlcore_imageset_change", args=[made.pk])
    assert (made.owner, made.classes, made.images.count()) == (rita, ["cat", "dog"], 2)
    assert made.images.filter(masks__isnull=False).count() == 1


COCO = {
    "images": [{"id": 1, "file_name": "1.png", "width": 12, "height": 10}, {"id": 2, "file_name": "deep/2.png"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 8, "bbox": [1, 1, 3, 3], "segmentation": [[1, 1, 4, 1, 4, 4]]},
        {"id": 2, "image_id": 2, "category_id": 6, "bbox": [0, 0, 5, 5]},
        {"id": 3, "image_id": 2, "category_id": 8, "bbox": [0, 0, 6, 6]},
    ],
    "categories": [{"id": 8, "name": "dog"}, {"id": 6, "name": "cat"}],
}


def test_a_zip_comes_with_cocos_json(client):
    client.force_login(researcher())
    address = reverse("admin:mlcore_imageset_import")
    entries = {"1.png": picture(1), "deep/2.png": picture(2)}
    sent = {"name": "pets", "zip": zip_of(entries)}
    bad = client.post(address, sent | {"coco": SimpleUploadedFile("mine.json", b"[]")})
    assert bad.status_code == 422
    assert "mine.json: this is no COCO file of instances" in bad.content.decode()
    assert not ImageSet.objects.exists()
    coco = SimpleUploadedFile("mine.json", json.dumps(COCO).encode())
    answer = client.post(address, {"name": "pets", "zip": zip_of(entries), "coco": coco})
    made = ImageSet.objects.get(name="pets")
    assert answer["Location"] == reverse("admin:mlcore_imageset_change", args=[made.pk])
    assert made.classes == ["cat", "dog"]
    assert sorted(made.images.values_list("name", "labels__index")) == [
        ("1.png", 1),
        ("deep/2.png", 0),
        ("deep/2.png", 1),
    ]
    assert (made.images.filter(boxes__isnull=False).count(), made.images.get(name="1.png").masks.count()) == (3, 1)


def test_a_hostile_zip_is_refused_with_a_sentence(client):
    client.force_login(researcher())
    answer = client.post(
        reverse("admin:mlcore_imageset_import"), {"name": "pets", "zip": zip_of({"../cat/1.png": picture(1)})}
    )
    assert answer.status_code == 422
    assert "leads out of the zip" in answer.content.decode()
    assert not ImageSet.objects.exists()


def test_nobody_adds_to_anothers_set(client):
    theirs = owned_world(researcher()).image_set
    before = theirs.images.count()
    client.force_login(researcher())
    sent = {"name": theirs.name, "zip": zip_of({"cat/1.png": picture(1)})}
    answer = client.post(reverse("admin:mlcore_imageset_import"), sent)
    assert answer.status_code == 422
    assert "someone else&#x27;s" in answer.content.decode()
    assert theirs.images.count() == before


def test_a_folder_of_the_server_is_imported_and_its_bad_file_is_named(client, tmp_path):
    client.force_login(administrator())
    address = reverse("admin:mlcore_imageset_folder")
    answer = client.post(address, {"name": "pets", "folder": str(folder_of(tmp_path / "in")), "parts": "on"})
    assert answer.status_code == 200
    assert "broken.png" in answer.content.decode()
    assert ImageSet.objects.get(name="pets").images.count() == 3
    missing = client.post(address, {"name": "more", "folder": str(tmp_path / "nowhere")})
    assert missing.status_code == 422
    assert "There is no folder" in missing.content.decode()


def test_a_folder_of_the_server_is_imported_with_voc(client, tmp_path):
    client.force_login(administrator())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(picture(1))
    (tmp_path / "xml").mkdir()
    box = "<xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>5</ymax>"
    (tmp_path / "xml" / "1.xml").write_text(
        f"<annotation><filename>1</filename><object><name>n01</name><bndbox>{box}</bndbox></object></annotation>"
    )
    (tmp_path / "names.txt").write_text("n01 tench, Tinca tinca\n")
    address = reverse("admin:mlcore_imageset_folder")
    sent = {"name": "fish", "folder": str(tmp_path / "in"), "voc": str(tmp_path / "xml")}
    assert client.post(address, sent | {"coco": str(tmp_path / "gone.json")}).status_code == 422
    assert client.post(address, sent | {"names": str(tmp_path / "names.txt")}).status_code == 302
    made = ImageSet.objects.get(name="fish")
    assert made.classes == ["tench, Tinca tinca"]
    assert list(made.images.values_list("boxes__x0", "boxes__x1")) == [(1, 5)]


def test_folders_of_the_server_are_for_administrators(client, tmp_path):
    client.force_login(researcher())
    address = reverse("admin:mlcore_imageset_folder")
    assert client.get(address).status_code == 403
    assert client.post(address, {"name": "x", "folder": str(tmp_path)}).status_code == 403
    assert address not in client.get(reverse("admin:mlcore_imageset_changelist")).content.decode()


def test_a_partition_is_made_from_shares_and_from_counts(client):
    rita = researcher()
    world = owned_world(rita)
    client.force_login(rita)
    address = reverse("admin:mlcore_imageset_partition", args=[world.image_set.pk])
    shares = {"train": 50, "annotation_pool": 50, "validation": 0, "test": 0}
    assert client.post(address, {"name": "halves", "by": "fractions", "seed": 1} | shares).status_code == 302
    parts = Partition.objects.get(name="halves").members.values_list("part", flat=True)
    assert sorted(set(parts)) == ["annotation_pool", "train"]
    counts = {"train": 2, "annotation_pool": 1, "validation": 1, "test": ""}
    assert client.post(address, {"name": "few", "by": "counts", "seed": 1} | counts).status_code == 302
    few = Partition.objects.get(name="few")
    assert few.members.filter(part="train").count() == 2 * len(world.image_set.classes)
    assert few.members.count() == world.image_set.images.count()  # the empty one takes the rest
    too_many = client.post(address, {"name": "all", "by": "counts", "seed": 1} | counts | {"train": 999})
    assert too_many.status_code == 422
    assert 'class="h-line h-line-red"' in too_many.content.decode()


def test_weights_that_do_not_fit_are_refused_with_a_sentence(client):
    client.force_login(researcher())
    sent = {"name": "mine", "architecture": "sixconv", "classes": "cat\ndog\n", "padding": "torch"}
    answer = client.post(
        reverse("admin:mlcore_classifier_import"),
        sent | {"weights": SimpleUploadedFile("w.safetensors", b"these are no weights")},
    )
    assert answer.status_code == 422
    assert 'class="h-line h-line-red"' in answer.content.decode()
    assert not Classifier.objects.exists()
