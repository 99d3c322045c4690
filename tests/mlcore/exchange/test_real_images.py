"""The test data in the forms that it is published in."""

from collections import Counter

import pytest

from mlcore.exchange.images import import_folder
from mlcore.exchange.partitions import make_partition, partition_from_splits
from mlcore.models import Box, ImageLabel, Mask

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def test_butterflies_with_masks_and_parts(test_data):
    folder = test_data / "butterflies"
    report = import_folder(folder, name="Butterflies", masks=folder / "masks")
    assert (report.added, report.masks, report.problems, report.notes) == (832, 832, [], [])
    assert report.image_set.classes[:2] == ["Monarch", "Zebra Longwing"]
    given = partition_from_splits(report.image_set, report.splits)
    assert Counter(given.members.values_list("part", flat=True)) == {"train": 627, "test": 205}
    cut = make_partition(
        report.image_set,
        "loop",
        counts_per_class={"train": 10},
        fractions={"annotation_pool": 0.3, "validation": 0.3, "test": 0.4},
    )
    counts = Counter(cut.members.values_list("part", flat=True))
    assert counts["train"] == 100
    assert sum(counts.values()) == 832
    again = import_folder(folder, name="Butterflies", masks=folder / "masks")
    assert (again.added, again.already, again.masks) == (0, 832, 0)
    assert Mask.objects.count() == 832


def test_birds_by_species_and_by_family(test_data):
    folder = test_data / "cub832"
    species = import_folder(folder / "images", name="Species", labels=folder / "labels.csv")
    assert (species.added, species.boxes, species.problems) == (832, 832, [])
    assert species.image_set.classes[36] == "037.Acadian_Flycatcher"
    family = import_folder(folder / "images", name="Family", labels=folder / "labels.csv", class_column="family")
    names = family.image_set.classes
    labels = ImageLabel.objects.filter(image__image_set=family.image_set).values_list("index", flat=True)
    assert Counter(names[index] for index in labels).most_common(1) == [("Warbler", 104)]


def test_imagenet_with_boxes_and_a_thousand_classes(test_data):
    folder = test_data / "imagenet_val"
    report = import_folder(
        folder / "images",
        name="ImageNet",
        labels=folder / "labels.csv",
        boxes=folder / "boxes.csv",
        classes=test_data / "weights" / "imagenet_classes.csv",
    )
    assert (report.added, report.problems) == (400, [])
    assert len(report.image_set.classes) == 1000
    label = ImageLabel.objects.get(image__name="ILSVRC2012_val_00000580.JPEG")
    assert label.index == 480
    assert "cash machine" in report.image_set.classes[480]
    assert Box.objects.filter(image__name="ILSVRC2012_val_00000580.JPEG", x0=138.9, y1=226.4).count() == 1
