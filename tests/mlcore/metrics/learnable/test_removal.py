"""Terms of ROAD and IROF, worked out by hand; their scores are the plain metrics' (definitions §5).

That the plain scores are Quantus' is tested in tests/oracles/test_metrics_quantus.py
(test_roads_imputation_to_1e_5, test_road_keeps_what_ours_changes, test_irofs_curve_to_1e_4).
"""

from collections.abc import Callable

import numpy as np
import pytest
import skimage.segmentation
import torch
from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.metrics.irof import IROF as PlainIROF
from mlcore.metrics.learnable.irof import IROF
from mlcore.metrics.learnable.removal import Removal
from mlcore.metrics.learnable.road import ROAD
from mlcore.metrics.road import ROAD as PlainROAD
from mlcore.metrics.road import SHARES
from mlcore.metrics.segments import superpixels
from tests.mlcore.metrics.asking import ChannelMeans
from tests.mlcore.metrics.learnable.tuning import (
    CLASSES,
    SIZE,
    channel_step,
    explainer,
    photographs,
    score,
    step_of,
    toy,
    tuned,
)

KINDS = pytest.mark.parametrize("make", [ROAD, lambda: IROF(9)], ids=["road", "irof"])
Make = Callable[[], Removal]
CLASSES_OF = torch.tensor([0, 2, 1])


def maps_of(count: int = 3) -> Tensor:
    cells = torch.rand(count, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return cells + 0.1


def filled_densely(image: Tensor, removed: Tensor) -> Tensor:
    """ROAD's filling by a dense solution of its equations, pixel by pixel as they are published."""
    height, width = removed.shape
    unknown = [tuple(place) for place in removed.nonzero().tolist()]
    number = {place: at for at, place in enumerate(unknown)}
    matrix, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), image.shape[0]))
    for (row, column), at in number.items():
        near = {
            (row + y, column + x): 1 / 6 if 0 in (x, y) else 1 / 12
            for y in (-1, 0, 1) for x in (-1, 0, 1)
            if (x or y) and 0 <= row + y < height and 0 <= column + x < width
        }  # fmt: skip
        matrix[at, at] = 1
        for place, weight in near.items():
            if place in number:
                matrix[at, number[place]] -= weight / sum(near.values())
            else:
                right[at] += weight / sum(near.values()) * image[:, place[0], place[1]].numpy()
    filled = image.clone()
    filled[:, removed] = torch.from_numpy(np.linalg.solve(matrix, right)).T
    return filled


def test_roads_term_by_hand() -> None:
    images, maps = photographs(3), maps_of()
    metric = ROAD(noise=0.0)
    step = channel_step(images, CLASSES_OF, maps, agreement=0.75)
    found = metric.loss(step)
    step.generator.manual_seed(5)
    altered = metric.perturb(images, maps, step.generator)
    ratios, shares = [], []
    for image, heat, out, target in zip(images, maps, altered, CLASSES_OF, strict=True):
        changed = (out != image).any(dim=0)
        shares.append(int(changed.sum()))
        assert shares[-1] in [SIZE * SIZE * share // 100 for share in SHARES]
        threshold = heat.flatten().sort(descending=True).values[shares[-1] - 1]
        assert torch.equal(changed, heat >= threshold)
        expected = filled_densely(image, changed)
        assert float((out - expected).abs().max()) < 1e-5
        after = expected.mean(dim=(1, 2)).softmax(0)[target]
        ratios.append(float(after / (image.mean(dim=(1, 2)).softmax(0)[target] + 1e-9)))
    assert len(set(shares)) > 1  # each image has a share of its own
    assert found.item() == pytest.approx(0.75 * sum(ratios) / 3, rel=1e-6)


def test_roads_noise_is_on_what_is_filled_in() -> None:
    images, maps = photographs(3), maps_of()
    quiet = ROAD(noise=0.0).perturb(images, maps, torch.Generator().manual_seed(2))
    noisy = ROAD(noise=0.5).perturb(images, maps, torch.Generator().manual_seed(2))
    added, filled = noisy - quiet, (quiet != images).any(dim=1, keepdim=True).expand_as(images)
    assert not added[~filled].any()
    assert float(added[filled].std()) == pytest.approx(0.5, rel=0.1)
    assert ROAD().noise == 0.01


def test_roads_shares_are_the_published_ten_equally_often() -> None:
    shown = torch.zeros(200, 1, 10, 10)
    rows = torch.arange(100.0).view(1, 10, 10).expand(200, -1, -1)
    altered = ROAD(noise=1.0).perturb(shown, rows, torch.Generator().manual_seed(0))
    counts = (altered != 0).sum(dim=(1, 2, 3)).bincount(minlength=100)
    assert counts.nonzero()[:, 0].tolist() == list(SHARES)
    assert int(counts[list(SHARES)].min()) > 8


def test_irofs_term_by_hand() -> None:
    images, maps = photographs(3), maps_of()
    metric = IROF(9)
    step = channel_step(images, CLASSES_OF, maps, agreement=0.5)
    found = metric.loss(step)
    step.generator.manual_seed(5)
    shares = torch.rand(3, generator=step.generator).double() * 0.9 + 0.05
    ratios = []
    for image, heat, share, target in zip(images, maps, shares, CLASSES_OF, strict=True):
        labels = superpixels(image, 9)
        count = int(labels.max()) + 1
        means = torch.stack([heat[labels == number].mean() for number in range(count)])
        altered = image.clone()
        for number in means.argsort(descending=True)[: max(1, int(share * count))].tolist():
            altered[:, labels == number] = image.mean(dim=(1, 2))[:, None]
        after = altered.mean(dim=(1, 2)).softmax(0)[target]
        ratios.append(float(after / (image.mean(dim=(1, 2)).softmax(0)[target] + 1e-9)))
    assert found.item() == pytest.approx(0.5 * sum(ratios) / 3, rel=1e-6)


def test_irof_removes_a_share_between_one_and_nineteen_twentieths() -> None:
    image = photographs(1)
    labels = superpixels(image[0], 40)
    count = int(labels.max()) + 1
    many = IROF(40).perturb(image.expand(300, -1, -1, -1), maps_of(1).expand(300, -1, -1), torch.Generator())
    gone = [len(labels[(one != image[0]).any(dim=0)].unique()) for one in many]
    assert min(gone) == int(0.05 * count)
    assert int(0.9 * count) <= max(gone) <= int(0.95 * count)


def test_a_run_over_many_images_makes_superpixels_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    slic = skimage.segmentation.slic

    def counted(*given: object, **options: object) -> object:
        made.append(1)
        return slic(*given, **options)

    monkeypatch.setattr(skimage.segmentation, "slic", counted)
    images = torch.randn(300, 3, 6, 6, generator=torch.Generator().manual_seed(7))
    first, again = (IROF(4).perturb(images, images[:, 0], torch.Generator().manual_seed(0)) for _ in range(2))
    assert len(made) == 300
    assert torch.equal(first, again)


@KINDS
def test_both_probabilities_have_a_graph_and_the_maps_have_none(make: Make) -> None:
    images, maps = photographs(3), maps_of().requires_grad_()
    step = channel_step(images, CLASSES_OF, maps)
    metric = make()
    assert not metric.trains_maps
    logits = step.logits.detach().requires_grad_()
    step.logits = logits
    scale = step.model.scale
    metric.loss(step).backward()
    assert maps.grad is None
    assert bool(logits.grad.any(dim=1).all())  # p(x)
    assert scale.grad.item() != 0  # p(x′): the logits were cut off


@KINDS
def test_the_gradient_is_that_of_the_tuned_copy(make: Make) -> None:
    """By differences of the model's one parameter, x′ fixed by the generator and the maps."""
    metric, images, maps = make(), photographs(3), maps_of()
    step = channel_step(images, CLASSES_OF, maps, scale=2.0)
    metric.loss(step).backward()
    around = [metric.loss(channel_step(images, CLASSES_OF, maps, scale=2.0 + at)).item() for at in (-1e-3, 1e-3)]
    assert step.model.scale.grad.item() == pytest.approx((around[1] - around[0]) / 2e-3, rel=1e-4)


@KINDS
def test_one_more_forward_pass_and_the_same_chance_the_same_value(make: Make) -> None:
    class Counted(ChannelMeans):
        asked = 0

        def forward(self, images: Tensor) -> Tensor:
            self.asked += 1
            return super().forward(images)

    images, maps = photographs(3), maps_of()
    found = []
    for _ in range(2):
        step = channel_step(images, CLASSES_OF, maps)
        step.model = Counted().double().eval()
        found.append(make().loss(step))
        assert step.model.asked == 1
    assert torch.equal(found[0], found[1])
    assert make().loss(step).item() != found[0].item()  # the generator has gone on


@KINDS
def test_maps_that_say_nothing_count_as_nothing(make: Make) -> None:
    images, maps = photographs(3), maps_of()
    broken = maps.clone()
    broken[1] = 0.0
    two = make().loss(channel_step(images, CLASSES_OF, broken)).item()

    class Spared(ChannelMeans):
        def forward(self, images: Tensor) -> Tensor:
            self.images = images
            return super().forward(images)

    step = channel_step(images, CLASSES_OF, broken)
    step.model = Spared().double().eval()
    assert make().loss(step).item() == two
    assert len(step.model.images) == 2
    before = images.mean(dim=(2, 3)).softmax(1)[[0, 2], [0, 1]]
    after = step.model.images.mean(dim=(2, 3)).softmax(1)[[0, 1], [0, 1]]
    assert two == pytest.approx(float((after / (before + 1e-9)).mean()), rel=1e-6)
    for nothing in (torch.zeros_like(maps), torch.full_like(maps, torch.nan)):
        step = channel_step(images, CLASSES_OF, nothing)
        term = make().loss(step)
        assert (term.item(), term.shape) == (0.0, ())


@KINDS
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_float32_in_any_layout_gives_the_same(make: Make, layout: torch.memory_format) -> None:
    images, maps = photographs(3), maps_of()
    expected = make().loss(channel_step(images, CLASSES_OF, maps)).item()
    single = images.float().contiguous(memory_format=layout)
    found = make().loss(channel_step(single, CLASSES_OF, maps.float()))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, rel=1e-5)


@KINDS
def test_the_score_is_the_plain_metrics(make: Make) -> None:
    model, images = toy(), photographs()
    targets, explain = model(images).argmax(1), explainer(model)
    plain = PlainROAD(model) if make is ROAD else PlainIROF(model, segments=9)
    plain.update(explain(images, targets), images, targets, list("abcdef"))
    metric = make()
    found = metric.evaluate(model, images, targets, explain)
    assert (found.dtype, found.requires_grad) == (torch.float64, False)
    assert found.tolist() == list(plain.per_image.values())
    assert metric.name == plain.name
    assert metric.better_higher is plain.higher_is_better

    def silent(images: Tensor, targets: Tensor) -> Tensor:
        maps = explain(images, targets)
        return maps * (torch.arange(len(maps)) != 2)[:, None, None]

    found = metric.evaluate(model, images, targets, silent)
    assert found.isnan().tolist() == [False, False, True, False, False, False]
    assert found[:2].tolist() == list(plain.per_image.values())[:2]


@KINDS
def test_ten_steps_of_tuning_improve_the_score(make: Make) -> None:
    """With the published weight; 100 times the published rate, for ten steps are not 20,000."""
    original, images, metric = toy(), photographs(3), make()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    model = tuned(original, metric, images, weight=0.1, rate=3e-3)
    first, _ = score(metric, original, original, images)
    last, agreement = score(metric, model, original, images)
    assert last > first + 0.1
    assert agreement == 1.0
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    for name, value in model.state_dict().items():
        if "running" in name or "tracked" in name:
            assert torch.equal(value, before[name])
    assert not any(module.training for module in model.modules())


def test_a_step_of_the_toy_is_what_it_says() -> None:
    model, images = toy(), photographs()
    step = step_of(model, toy(), images)
    assert step.maps.shape == (6, SIZE, SIZE)
    assert step.logits.shape == (6, CLASSES)
    assert torch.equal(step.logits.detach(), step.original)
    assert torch.equal(step.explain(images, step.targets), step.maps)
    assert torch.equal(upsample(step.maps, (SIZE, SIZE)), step.maps)


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="deviation"):
        ROAD(noise=-1)
    with pytest.raises(ValueError, match="2 segments"):
        IROF(1)
