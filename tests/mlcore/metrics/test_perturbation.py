"""One engine asks about altered pictures: in batches, nothing twice, and the classifier is as before."""

import pytest
import torch
from torch import Tensor

from mlcore.metrics import make
from mlcore.metrics.average_drop import AverageDrop
from mlcore.metrics.inputs import IMAGENET, NONE
from mlcore.metrics.perturbation import Engine, content_seed, explained_part, ranks
from tests.mlcore.metrics.asking import Brightness, ChannelMeans, maps_of, own_channel, pictures

ALL = {
    "average_drop": {},
    "average_drop_50": {},
    "average_drop_15": {},
    "increase_in_confidence": {},
    "increase_in_confidence_50": {},
    "increase_in_confidence_15": {},
    "adcc": {},
    "deletion": {"steps": 3},
    "insertion": {"steps": 3},
    "road": {},
    "irof": {"segments": 4},
    "input_stability": {"copies": 3},
    "relative_input_stability": {"copies": 3},
}


def made(name: str, model: torch.nn.Module, **options: object) -> object:
    return make(name, model=model, explain=own_channel, **ALL[name], **options)


def test_copies_are_asked_about_in_batches_across_images_and_steps() -> None:
    model = Brightness(torch.ones(1, 1, 1)).train()
    seen: list[tuple[int, int, int]] = []

    def copies(index: int, first: int, end: int) -> Tensor:
        seen.append((index, first, end))
        return torch.arange(first, end, dtype=torch.float32).view(-1, 1, 1, 1) * (index + 1)

    images = torch.zeros(3, 1, 1, 1)
    answers = Engine(model, batch=4).series(images, torch.tensor([0, 1, 0]), [3, 0, 4], copies)
    assert seen == [(0, 0, 3), (2, 0, 1), (2, 1, 4)]
    assert model.asked == 7
    assert model.training
    assert model.drop.training
    expected = torch.tensor([0.0, 1, 2]).sigmoid()
    assert torch.allclose(answers.probability[0, :3], expected)
    assert torch.allclose(answers.probability[2], torch.tensor([0.0, 3, 6, 9]).sigmoid())
    assert bool(answers.probability[1].isnan().all())
    assert answers.predicted[1].tolist() == [-1] * 4
    assert answers.predicted[2].tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="1 or more"):
        Engine(model, batch=0)


@pytest.mark.parametrize(("side", "together"), [(224, 4), (112, 16), (448, 1), (1, 64)])
def test_on_a_cpu_fewer_large_copies_are_asked_about_at_once(side: int, together: int) -> None:
    asked = torch.zeros(()).expand(1, 3, side, side)
    assert Engine(Brightness(torch.ones(1, 1, 1))).size_for(asked) == together
    assert Engine(Brightness(torch.ones(1, 1, 1)), batch=5).size_for(asked) == 5
    assert Engine(Brightness(torch.ones(1, 1, 1))).size_for(asked.to("meta")) == 64


def test_a_classifier_that_views_its_features_as_a_row_is_asked_too() -> None:
    class Viewing(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            row = images.view(len(images), -1)
            images.mul_(2)
            return super().forward(row[:, :, None, None])

    images = pictures(3, 4)
    model = Viewing(torch.ones(1, 1, 1))
    found = Engine(model, batch=2).probabilities(images.clone())
    assert torch.allclose(found[:, 0], (2 * images.sum(dim=(1, 2, 3))).sigmoid(), atol=1e-6)
    assert model.asked == 3
    with pytest.raises(RuntimeError, match="shape"):
        Engine(torch.nn.Linear(5, 2)).probabilities(images)


def test_ranks_and_the_part_that_is_shown() -> None:
    assert ranks(torch.tensor([[[0.1, 0.9], [0.5, 0.9]]])).tolist() == [[[3, 0], [2, 1]]]
    image, heat = torch.full((1, 3, 2, 2), 4.0), torch.tensor([[[1.0, 5.0], [2.0, 3.0]]])
    assert explained_part(heat, image, NONE).tolist() == [[[[0.0, 4.0], [1.0, 2.0]]] * 3]
    assert explained_part(heat, image, NONE, 50.0).tolist() == [[[[0.0, 4.0], [0.0, 2.0]]] * 3]
    black = explained_part(heat, pictures(1, 2), IMAGENET)[0, :, 0, 0]  # nothing is shown there: a black pixel
    assert torch.allclose(black, -torch.tensor(IMAGENET.mean) / torch.tensor(IMAGENET.deviation))


def test_the_seed_follows_what_is_seen() -> None:
    one, other = pictures(2)
    assert content_seed(one, 0, "a") == content_seed(one.double(), 0, "a")
    assert len({content_seed(image, seed, what) for image in (one, other) for seed in (0, 1) for what in "ab"}) == 8


@pytest.mark.parametrize("name", ALL)
def test_batches_are_as_single_images_and_nothing_is_left_behind(name: str) -> None:
    model = ChannelMeans(8.0).train()
    images, maps, targets = pictures(4, 16), maps_of(4, 16), torch.tensor([0, 1, 2, 0])
    names = list("abcd")
    together = made(name, model, internal_batch_size=5)
    state = torch.get_rng_state()
    together.update(maps, images, targets, names)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert model.scale.grad is None
    assert not model._forward_hooks
    assert together.name == name
    assert set(together.per_image) == set(names)
    single = made(name, model)
    for index in (3, 1, 0, 2):
        one = slice(index, index + 1)
        single.update(maps[one], images[one], targets[one], names[one])
    assert single.per_image == pytest.approx(together.per_image, rel=1e-4, abs=1e-5)
    single.reset()
    assert single.compute()["n"] == 0


@pytest.mark.parametrize("name", ALL)
def test_what_cannot_be_measured_is_named(name: str) -> None:
    images, maps = pictures(5, 8), maps_of(5, 8)
    maps[1] = 0.25
    maps[2, 3, 3] = float("nan")
    images[3, 0, 0, 0] = float("inf")
    metric = made(name, ChannelMeans())
    metric.update(maps, images, torch.zeros(5, dtype=torch.int64), list("abcde"))
    assert metric.left_out == {"constant map": ["b"], "non-finite map": ["c"], "non-finite image": ["d"]}
    assert set(metric.per_image) == {"a", "e"}
    with pytest.raises(ValueError, match="one of each"):
        metric.update(maps, images[:2], torch.zeros(5), list("abcde"))
    with pytest.raises(ValueError, match="Maps come as"):
        metric.update(maps[:, None], images, torch.zeros(5), list("abcde"))


def test_a_classifier_that_answers_with_nan_is_reported() -> None:
    metric = AverageDrop(ChannelMeans(float("nan")))
    metric.update(maps_of(1), pictures(1), torch.tensor([0]), ["a"])
    assert metric.left_out == {"non-finite probability": ["a"]}


def test_targets_and_normalisations_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="classes 0 to 2"):
        AverageDrop(ChannelMeans()).update(maps_of(1), pictures(1), torch.tensor([3]), ["a"])
    with pytest.raises(ValueError, match="Normalisations are"):
        AverageDrop(ChannelMeans(), normalisation="cifar")
