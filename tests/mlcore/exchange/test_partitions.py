"""Every image in one part, each class cut alike, the same seed the same cut."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcore.exchange.partitions import PartitionRefused, _apportion, make_partition, partition_from_splits
from mlcore.models import AuditEntry, Image, ImageLabel, ImageSet, PartitionMember
from mlcore.models.partitions import Part


def make_set(sizes: dict[str, int], name: str = "Set", backwards: bool = False) -> ImageSet:
    """A set of rows without files: partitions look at hashes and labels only."""
    made = ImageSet.objects.create(name=name, classes=list(sizes))
    rows = [(index, f"{label}/{i}.png") for index, (label, size) in enumerate(sizes.items()) for i in range(size)]
    for index, file in reversed(rows) if backwards else rows:
        digest = hashlib.sha256(file.encode()).hexdigest()
        image = Image.objects.create(image_set=made, name=file, file=file, sha256=digest, width=4, height=4)
        ImageLabel.objects.create(image=image, index=index)
    return made


def table(partition) -> dict[tuple[int, str], int]:
    rows = PartitionMember.objects.filter(partition=partition).values_list("image__labels__index", "part")
    return dict(Counter(rows))


def parts(partition) -> dict[str, str]:
    return dict(PartitionMember.objects.filter(partition=partition).values_list("image__name", "part"))


@pytest.mark.django_db
def test_counts_then_fractions_of_what_is_left():
    made = make_set({"a": 14, "b": 18})
    cut = make_partition(
        made, "m", counts_per_class={"train": 10}, fractions={"pool": 0.25, "val": 0.25, "test": 0.5}, seed=3
    )
    assert table(cut) == {
        (0, "train"): 10,
        (0, "annotation_pool"): 1,
        (0, "validation"): 1,
        (0, "test"): 2,
        (1, "train"): 10,
        (1, "annotation_pool"): 2,
        (1, "validation"): 2,
        (1, "test"): 4,
    }
    assert cut.seed == 3
    assert cut.spec["counts_per_class"] == {"train": 10}
    assert AuditEntry.objects.get(action="make_partition").after["parts"]["train"] == 20


@pytest.mark.django_db
def test_the_rest_goes_where_it_is_told():
    made = make_set({"a": 9, "b": 5})
    cut = make_partition(made, "m", counts_per_class={"train": 2, "validation": 1}, rest="test")
    assert table(cut) == {
        (0, "train"): 2,
        (0, "validation"): 1,
        (0, "test"): 6,
        (1, "train"): 2,
        (1, "validation"): 1,
        (1, "test"): 2,
    }
    half = make_partition(made, "half", fractions={"train": 0.5}, rest="test")
    assert Counter(parts(half).values()) == {"train": 7, "test": 7}


@pytest.mark.django_db
def test_the_seed_decides_and_the_order_of_import_does_not():
    first, second = make_set({"a": 20}, "one"), make_set({"a": 20}, "two", backwards=True)
    cuts = [
        parts(make_partition(made, f"{seed}", fractions={"train": 0.5, "test": 0.5}, seed=seed))
        for made, seed in ((first, 0), (second, 0), (first, 1))
    ]
    assert cuts[0] == cuts[1]
    assert cuts[0] != cuts[2]


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=20),
    st.lists(st.floats(0.01, 1), min_size=1, max_size=4),
)
def test_every_class_is_cut_to_within_one_image(sizes, weights):
    shares = {part: weight / sum(weights) for part, weight in zip(Part, weights, strict=False)}
    carry = dict.fromkeys(shares, 0.0)
    given_to: Counter = Counter()
    for size in sizes:
        numbers = _apportion(size, shares, carry)
        assert sum(numbers.values()) == size
        for part, number in numbers.items():
            assert abs(number - shares[part] * size) < 1 + 1e-6
        given_to.update(numbers)


@pytest.mark.django_db
def test_small_classes_even_out_over_the_set():
    made = make_set({str(index): 1 for index in range(40)})
    cut = make_partition(made, "m", fractions={"train": 0.5, "validation": 0.25, "test": 0.25})
    assert Counter(parts(cut).values()) == {"train": 20, "validation": 10, "test": 10}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "Say how many"),
        ({"fractions": {"train": 0.5, "test": 0.4}}, "add up to 0.9"),
        ({"fractions": {"train": 0.8, "test": 0.4}}, "add up to 1.2"),
        ({"fractions": {"train": -0.5, "test": 1.5}}, "between 0 and 1"),
        ({"fractions": {"train": float("nan")}}, "between 0 and 1"),
        ({"fractions": {"holiday": 1}}, "“holiday” is not a part"),
        ({"counts_per_class": {"train": 5}, "rest": "test"}, "“b” has 4 images, the parts ask for 5"),
        ({"counts_per_class": {"train": 2}}, "“a” has 4 images more"),
        ({"counts_per_class": {"train": -1}, "rest": "test"}, "whole number"),
        ({"counts_per_class": {"train": 1.5}, "rest": "test"}, "whole number"),
    ],
)
def test_cuts_that_cannot_be_made(options, said):
    made = make_set({"a": 6, "b": 4})
    with pytest.raises(PartitionRefused, match=said):
        make_partition(made, "m", **options)
    assert not made.partitions.exists()


@pytest.mark.django_db
def test_a_name_is_taken_once_and_an_empty_set_is_refused():
    made = make_set({"a": 4})
    make_partition(made, "m", rest="train")
    with pytest.raises(PartitionRefused, match="has a partition “m” already"):
        make_partition(made, "m", rest="train")
    with pytest.raises(PartitionRefused, match="holds no images"):
        make_partition(make_set({"a": 0}, "empty"), "m", rest="train")


@pytest.mark.django_db
def test_given_parts_by_dictionary_and_by_table(tmp_path):
    made = make_set({"a": 3})
    cut = partition_from_splits(made, {"a/0.png": "training", "1.png": "Val", "a/2.png": "TEST", "gone.png": "test"})
    assert parts(cut) == {"a/0.png": "train", "a/1.png": "validation", "a/2.png": "test"}
    path = tmp_path / "splits.csv"
    path.write_text("file,split\na/0.png,pool\na/1.png,dev\na/2.png,test\n")
    assert parts(partition_from_splits(made, path, "table")) == {
        "a/0.png": "annotation_pool",
        "a/1.png": "validation",
        "a/2.png": "test",
    }


@pytest.mark.django_db
def test_given_parts_that_leave_questions(tmp_path):
    made = make_set({"a": 3})
    with pytest.raises(PartitionRefused, match=r"2 of 3 images have no part: a/1\.png, a/2\.png"):
        partition_from_splits(made, {"a/0.png": "train"})
    with pytest.raises(PartitionRefused, match="“later” is not a part"):
        partition_from_splits(made, {"a/0.png": "later"})
    path = tmp_path / "splits.csv"
    path.write_text("file,split\na/0.png,train\na/0.png,test\n")
    with pytest.raises(PartitionRefused, match=r"row 3: a/0\.png is in another part above"):
        partition_from_splits(made, path)
    path.write_text("file,size\na/0.png,3\n")
    with pytest.raises(PartitionRefused, match="no column says the part"):
        partition_from_splits(made, path)
