"""ROAD and IROF, worked out by hand (definitions §5)."""

import pytest
import torch

from mlcore.attribution.maps import upsample
from mlcore.metrics.imputation import impute
from mlcore.metrics.irof import IROF, removal_steps
from mlcore.metrics.perturbation import ranks
from mlcore.metrics.road import ROAD, SHARES
from mlcore.metrics.segments import superpixels
from tests.mlcore.metrics.asking import Brightness, ChannelMeans, maps_of, pictures


def test_road_is_the_share_of_changed_predictions() -> None:
    assert SHARES == (5, 14, 23, 32, 41, 50, 59, 68, 77, 86)
    images, maps = pictures(3, 20), maps_of(3, 20)
    model = ChannelMeans()
    metric = ROAD(model, noise=0.0)
    metric.update(maps, images, torch.tensor([0, 1, 2]), list("abc"))
    for index, name in enumerate("abc"):
        changed = []
        for share in SHARES:
            removed = ranks(maps[index : index + 1]) < 400 * share // 100
            changed.append(int(model(impute(images[index : index + 1], removed)).argmax()) != index)
        assert metric.per_image[name] == pytest.approx(sum(changed) / 10)


def test_roads_noise_is_on_what_is_filled_in_and_follows_the_seed() -> None:
    image = pictures(1, 20)[0]
    metric, other = ROAD(ChannelMeans(), noise=0.5, internal_batch_size=10), ROAD(ChannelMeans(), noise=0.5, seed=1)
    drawn = metric._noise(image, 0, 10)
    assert torch.equal(drawn[3:5], metric._noise(image, 3, 5))
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn, other._noise(image, 0, 10))
    assert float(drawn.std()) == pytest.approx(0.5, rel=0.05)

    class Kept(ChannelMeans):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.seen = images
            return super().forward(images)

    metric.engine.model = Kept()
    heat = maps_of(1, 20)
    metric.update(heat, image[None], torch.tensor([0]), ["a"])
    known = ranks(heat)[0] >= 20
    assert torch.equal(metric.engine.model.seen[0][:, known], image[:, known])
    with pytest.raises(ValueError, match="deviation"):
        ROAD(ChannelMeans(), noise=-1)


def test_segments_go_by_their_mean_relevance() -> None:
    labels = torch.tensor([[0, 0, 1], [2, 2, 1]])
    heat = torch.tensor([[1.0, 1.0, 5.0], [2.0, 2.1, 0.0]])  # means 1, 2.5, 2.05
    assert removal_steps(heat, labels).tolist() == [[2, 2, 0], [1, 1, 0]]


def test_irof_step_by_step() -> None:
    images = upsample(pictures(2, 4).flatten(0, 1), (24, 24)).view(2, 3, 24, 24)
    maps = maps_of(2, 24)
    model = Brightness(torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(3)) / 30)
    metric = IROF(model, segments=9)
    metric.update(maps, images, torch.tensor([0, 1]), ["a", "b"])
    model.eval()
    for image, heat, label, name in zip(images, maps, (0, 1), "ab", strict=True):
        labels = superpixels(image, 9)
        means = torch.stack([heat[labels == number].mean() for number in range(int(labels.max()) + 1)])
        assert len(means) > 3
        altered, losses = image.clone(), []
        before = float(model(image[None]).softmax(1)[0, label])
        for number in means.argsort(descending=True).tolist():
            altered[:, labels == number] = image.mean(dim=(1, 2))[:, None]
            losses.append(1 - float(model(altered[None]).softmax(1)[0, label]) / (before + 1e-9))
        assert metric.per_image[name] == pytest.approx(sum(losses) / len(losses), rel=1e-3, abs=1e-5)
    with pytest.raises(ValueError, match="2 segments"):
        IROF(model, segments=1)


def test_superpixels_are_scikit_images() -> None:
    from skimage.segmentation import slic

    image = pictures(1, 32)[0]
    expected = slic(image.double().movedim(0, -1).numpy(), n_segments=9, compactness=10, start_label=0)
    assert superpixels(image, 9).tolist() == expected.tolist()
    assert superpixels(image, 9).tolist() == expected.tolist()  # kept from the first time
