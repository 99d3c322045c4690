"""Collages: where the image lies, who lies beside it, and what chance depends on (definitions §3)."""

from collections import Counter

import pytest
import torch
from torch import Tensor

from mlcore.objectives.collage import alone, place, plan_collages, tile


def names(count: int) -> list[str]:
    return [f"image {number}" for number in range(count)]


def quarter(pictures: Tensor, quadrant: int) -> Tensor:
    """One quadrant of (n, …, 2h, 2w), cut out by hand."""
    height, width = pictures.shape[-2] // 2, pictures.shape[-1] // 2
    top, left = {0: (0, 0), 1: (0, width), 2: (height, 0), 3: (height, width)}[quadrant]
    return pictures[..., top : top + height, left : left + width]


@pytest.mark.parametrize("quadrant", range(4))
def test_every_quadrant_shows_the_image_it_is_said_to_show(quadrant: int) -> None:
    images = torch.randn(5, 3, 4, 6)
    sources = torch.tensor([[0, 1, 2, 3], [4, 4, 0, 1]])
    collages = tile(images, sources)
    assert collages.shape == (2, 3, 8, 12)
    assert torch.equal(quarter(collages, quadrant), images[sources[:, quadrant]])


def test_a_collage_by_hand() -> None:
    images = torch.arange(1.0, 5.0).view(4, 1, 1, 1).expand(4, 1, 1, 2)
    assert tile(images, torch.tensor([[2, 0, 1, 3]]))[0, 0].tolist() == [[3, 3, 1, 1], [2, 2, 4, 4]]


@pytest.mark.parametrize("quadrant", range(4))
def test_a_map_lies_in_its_quadrant_and_nowhere_else(quadrant: int) -> None:
    maps = torch.rand(1, 2, 3) + 1
    placed = place(maps, torch.tensor([quadrant]))
    assert placed.shape == (1, 4, 6)
    for other in range(4):
        expected = maps if other == quadrant else torch.zeros_like(maps)
        assert torch.equal(quarter(placed, other), expected)


def test_maps_of_a_batch_are_placed_each_by_itself() -> None:
    maps, quadrants = torch.rand(4, 2, 2), torch.tensor([3, 0, 2, 1])
    placed = place(maps, quadrants)
    for index in range(4):
        assert torch.equal(placed[index], place(maps[index : index + 1], quadrants[index : index + 1])[0])


def test_mirrored_images_give_the_mirrored_collage() -> None:
    images, maps = torch.randn(4, 3, 5, 4), torch.rand(4, 3, 2)
    sources, quadrants = torch.tensor([[0, 1, 2, 3], [3, 3, 1, 0]]), torch.tensor([0, 1, 2, 3])
    for axis, swapped in ((3, [1, 0, 3, 2]), (2, [2, 3, 0, 1])):
        assert torch.equal(tile(images.flip(axis), sources[:, swapped]), tile(images, sources).flip(axis))
        moved = torch.tensor(swapped)[quadrants]
        assert torch.equal(place(maps.flip(axis - 1), moved), place(maps, quadrants).flip(axis - 1))


def test_the_memory_layout_and_type_stay() -> None:
    images = torch.randn(4, 3, 4, 4).to(memory_format=torch.channels_last)
    collages = tile(images.bfloat16(), torch.tensor([[0, 1, 2, 3]]))
    assert collages.is_contiguous(memory_format=torch.channels_last)
    assert collages.dtype == torch.bfloat16
    assert torch.equal(collages, tile(images.contiguous().bfloat16(), torch.tensor([[0, 1, 2, 3]])))


@pytest.mark.parametrize("seed", range(40))
def test_a_distractor_never_has_the_images_label(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 24, (), generator=generator))
    classes = int(torch.randint(1, 6, (), generator=generator))
    labels = torch.randint(classes, (count,), generator=generator)
    found = plan_collages(labels, names(count), seed=seed, step=3)
    others = (labels[:, None] != labels[None, :]).sum(1)
    assert found.rows.tolist() == others.nonzero()[:, 0].tolist(), "left out only where there is no other class"
    for row, quadrant, sources in zip(found.rows, found.quadrants, found.sources, strict=True):
        assert sources[quadrant] == row
        beside = [int(one) for place, one in enumerate(sources) if place != quadrant]
        assert all(labels[one] != labels[row] for one in beside)
        assert len(set(beside)) == min(3, int(others[row])), "different ones, where there are enough"


def test_no_image_of_another_class_no_collage() -> None:
    found = plan_collages(torch.tensor([2, 2, 2]), names(3), seed=0, step=0)
    assert (found.rows.shape, found.quadrants.shape, found.sources.shape) == ((0,), (0,), (0, 4))
    found = plan_collages(torch.tensor([], dtype=torch.int64), [], seed=0, step=0)
    assert len(found.rows) == 0
    assert tile(torch.randn(2, 3, 2, 2), found.sources).shape == (0, 3, 4, 4)
    stand_in = alone(1, torch.device("cpu"))
    assert stand_in.sources.tolist() == [[1, 1, 1, 1]]


def test_the_order_of_the_batch_has_no_say() -> None:
    labels, ids = torch.arange(9) % 4, names(9)

    def beside(order: list[int]) -> dict[str, tuple[int, list[str]]]:
        found = plan_collages(labels[order], [ids[one] for one in order], seed=7, step=2)
        shown = [[ids[order[one]] for one in sources] for sources in found.sources.tolist()]
        rows = [ids[order[row]] for row in found.rows.tolist()]
        return dict(zip(rows, zip(found.quadrants.tolist(), shown, strict=True), strict=True))

    assert beside(list(range(9))) == beside([4, 8, 1, 0, 7, 2, 6, 5, 3])


def test_where_an_image_lies_does_not_depend_on_the_others() -> None:
    labels = torch.arange(8) % 2
    whole = plan_collages(labels, names(8), seed=7, step=2).quadrants
    assert torch.equal(plan_collages(labels[:3], names(3), seed=7, step=2).quadrants, whole[:3])


def test_chance_follows_seed_and_step_and_is_even() -> None:
    labels, ids = torch.arange(64) % 8, names(64)
    first = plan_collages(labels, ids, seed=1, step=1)
    again = plan_collages(labels, ids, seed=1, step=1)
    assert torch.equal(first.sources, again.sources)
    for seed, step in ((1, 2), (2, 1)):
        assert not torch.equal(first.sources, plan_collages(labels, ids, seed=seed, step=step).sources)
    quadrants, beside = Counter[int](), Counter[int]()
    for step in range(100):
        found = plan_collages(labels, ids, seed=1, step=step)
        quadrants.update(found.quadrants.tolist())
        beside.update(one for one in found.sources[0].tolist() if one != 0)
    # 6,400 draws of four, 300 of 56: more than six standard deviations off would be no chance.
    assert all(abs(quadrants[quadrant] - 1600) < 210 for quadrant in range(4))
    assert len(beside) > 50
    assert max(beside.values()) < 20


def test_names_and_labels_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="3 images need as many names, not 2"):
        plan_collages(torch.tensor([0, 1, 2]), names(2), seed=0, step=0)
