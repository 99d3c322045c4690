"""A step of HARMONY's tuning as the released trainers take it, written from a description of what they do.

Image by image; the original's and the tuned copy's forward pass are taken again for every term that needs them; a map
is an ordinary backward pass of the class score, with a graph where the term goes through it; ROAD's equations are
solved one image and one channel at a time by a sparse direct solver; superpixels are made anew in every step. What is
drawn comes in the order in which our own terms draw it, so that both sides have the same chance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve
from skimage.segmentation import slic
from torch import Tensor, nn

from mlcore.attribution.maps import upsample
from mlcore.metrics.focus import mosaics
from mlcore.objectives.batch import Batch

SHARES = (5, 14, 23, 32, 41, 50, 59, 68, 77, 86)
EPS = 1e-9


class Released:
    """The original, the tuned copy and the layer that Grad-CAM reads.

    agreement: share of the previous batch on which both said the same.
    """

    def __init__(self, original: nn.Module, tuned: nn.Module, layer: str) -> None:
        self.original, self.tuned = original, tuned
        self.layer = tuned.get_submodule(layer)
        self.agreement = 1.0

    def keep(self, images: Tensor) -> Tensor:
        """Mean of 1 − (cos + 1)/2."""
        apart, same = [], []
        for image in images.split(1):
            with torch.no_grad():
                before = self.original(image)
            after = self.tuned(image)
            apart.append(1 - (F.cosine_similarity(before, after) + 1) / 2)
            same.append(float(before.argmax() == after.argmax()))
        self.agreement = sum(same) / len(same)
        return torch.cat(apart).mean()

    def target(self, image: Tensor) -> int:
        """The original's prediction."""
        with torch.no_grad():
            return int(self.original(image).argmax())

    def map(self, image: Tensor, target: int, *, graph: bool) -> tuple[Tensor, Tensor]:
        """(logits (1, K), map (H, W)) of the tuned copy."""
        seen: list[Tensor] = []
        handle = self.layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        logits = self.tuned(image)
        handle.remove()
        features = seen[0]
        features.retain_grad()
        logits[0, target].backward(retain_graph=True, create_graph=graph)
        assert features.grad is not None
        weights = features.grad.mean(dim=(2, 3), keepdim=True)
        heat = (weights * features).sum(dim=1, keepdim=True).clamp(min=0)
        heat = F.interpolate(heat, size=image.shape[2:], mode="bilinear", align_corners=False)[0, 0]
        return logits, heat if graph else heat.detach()


def focus(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """Mosaics one by one, each seen twice: for its class, and for its map."""
    images, away = batch.images, []
    count = len(images) // 4
    for index, picture in enumerate(mosaics(images).split(1)):
        with torch.no_grad():
            target = int(way.tuned(picture).argmax())
            own = [float(way.tuned(images[part * count + index][None]).softmax(1)[0, target]) for part in range(4)]
        _, heat = way.map(picture, target, graph=True)
        row, column = divmod(int(np.argmax(own)), 2)
        height, width = heat.shape[0] // 2, heat.shape[1] // 2
        part = heat[row * height : (row + 1) * height, column * width : (column + 1) * width]
        away.append(1 - part.sum() / (heat.sum() + EPS))
    return torch.stack(away).mean()


def rma(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """1 − Σ r·m / Σ(r + 1e-9)."""
    assert batch.maps is not None
    away = []
    for image, mask in zip(batch.images.split(1), batch.maps, strict=True):
        _, heat = way.map(image, way.target(image), graph=True)
        away.append(1 - (heat * (mask > 0)).sum() / (heat + EPS).sum())
    return torch.stack(away).mean()


def complexity(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """Mean of |r|/max|r|."""
    found = []
    for image in batch.images.split(1):
        _, heat = way.map(image, way.target(image), graph=True)
        found.append((heat.abs() / heat.abs().max()).mean())
    return torch.stack(found).mean()


def combined(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """RMA and Focus with their weights."""
    return 0.05 * rma(way, batch, chance) + 0.01 * focus(way, batch, chance)


def road(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """p(x′)/(p(x) + 1e-9), one share an image."""
    agreement = way.agreement
    drawn = (torch.rand(len(batch), generator=chance) * len(SHARES)).long().tolist()
    noise = 0.01 * torch.randn(batch.images.shape, generator=chance)
    ratios = []
    for image, one, added in zip(batch.images.split(1), drawn, noise, strict=True):
        target = way.target(image)
        logits, heat = way.map(image, target, graph=False)
        order = heat.flatten().argsort(descending=True, stable=True)
        removed = torch.zeros(heat.numel(), dtype=torch.bool)
        removed[order[: heat.numel() * SHARES[one] // 100]] = True
        altered = filled(image[0], removed.view_as(heat)) + added * removed.view_as(heat)
        ratios.append(way.tuned(altered[None]).softmax(1)[0, target] / (logits.softmax(1)[0, target] + EPS))
    return agreement * torch.stack(ratios).mean()


def irof(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """p(x′)/(p(x) + 1e-9), one share of segments an image."""
    agreement = way.agreement
    shares = 0.05 + 0.9 * torch.rand(len(batch), generator=chance)
    ratios = []
    for image, share in zip(batch.images.split(1), shares.tolist(), strict=True):
        target = way.target(image)
        logits, heat = way.map(image, target, graph=False)
        picture = image[0].double().movedim(0, -1).numpy()
        labels = torch.from_numpy(slic(picture, n_segments=100, compactness=10.0, start_label=0))
        numbers = labels.unique()
        means = torch.stack([heat[labels == number].double().mean() for number in numbers])
        gone = numbers[means.argsort(descending=True)[: max(1, int(share * len(numbers)))]]
        altered = torch.where(torch.isin(labels, gone), image[0].mean(dim=(1, 2), keepdim=True), image[0])
        ratios.append(way.tuned(altered[None]).softmax(1)[0, target] / (logits.softmax(1)[0, target] + EPS))
    return agreement * torch.stack(ratios).mean()


def input_stability(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """Sums of absolute relative changes, one noisy copy an image."""
    noise = 0.05 * torch.randn(batch.images.shape, generator=chance)

    def change(clean: Tensor, noisy: Tensor, image: Tensor, copy: Tensor) -> Tensor:
        above = ((noisy - clean) / (clean + EPS)).abs().sum()
        return above / (((copy - image) / (image + EPS)).abs().sum() + EPS)

    return _stability(way, batch, noise, change)


def relative_input_stability(way: Released, batch: Batch, chance: torch.Generator) -> Tensor:
    """L2 norms of relative changes, one noisy copy an image."""
    noise = 0.02 + (0.2 - 0.02) * torch.rand(batch.images.shape, generator=chance)

    def change(clean: Tensor, noisy: Tensor, image: Tensor, copy: Tensor) -> Tensor:
        above = ((noisy - clean) / torch.where(clean == 0, 1e-6, clean)).norm()
        return above / ((copy - image) / torch.where(image == 0, 1e-6, image)).norm()

    return _stability(way, batch, noise, change)


def _stability(way: Released, batch: Batch, noise: Tensor, change: Callable[..., Tensor]) -> Tensor:
    found = []
    for image, added in zip(batch.images.split(1), noise.split(1), strict=True):
        target = way.target(image)
        _, clean = way.map(image, target, graph=False)
        _, noisy = way.map(image + added, target, graph=True)
        found.append(change(clean / clean.sum(), noisy / noisy.sum(), image, image + added))
    return torch.stack(found).mean()


TERMS: dict[str, Callable[[Released, Batch, torch.Generator], Tensor]] = {
    term.__name__: term
    for term in (focus, rma, road, irof, input_stability, relative_input_stability, complexity, combined)
}


def filled(image: Tensor, removed: Tensor) -> Tensor:
    """ROAD's linear imputation of one image (C, H, W): one sparse system, solved anew for every channel."""
    gone = removed.numpy()
    height, width = gone.shape
    number = np.cumsum(gone).reshape(gone.shape) - 1
    rows, columns = np.nonzero(gone)
    own = number[rows, columns]
    total = np.zeros(len(own))
    right = np.zeros((len(own), len(image)))
    values, at, to = [], [], []
    pixels = image.double().numpy()
    for down in (-1, 0, 1):
        for along in (-1, 0, 1):
            if not (down or along):
                continue
            weight = 1 / 6 if 0 in (down, along) else 1 / 12
            y, x = rows + down, columns + along
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            total += weight * inside
            y, x = y.clip(0, height - 1), x.clip(0, width - 1)
            unknown, known = inside & gone[y, x], inside & ~gone[y, x]
            values.append(np.full(unknown.sum(), -weight))
            at.append(own[unknown])
            to.append(number[y[unknown], x[unknown]])
            right[known] += weight * pixels[:, y[known], x[known]].T
    values.append(total)
    at.append(own)
    to.append(own)
    matrix = coo_matrix((np.concatenate(values), (np.concatenate(at), np.concatenate(to)))).tocsc()
    result = image.clone()
    for channel in range(len(image)):
        result[channel, removed] = torch.from_numpy(spsolve(matrix, right[:, channel])).to(image)
    return result


def smooth(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Pictures (count, 3, size, size) whose colours change slowly."""
    return upsample(torch.randn(count, 3, 28, 28, generator=generator), (size, size))
