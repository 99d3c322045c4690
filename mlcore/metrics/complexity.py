"""How simple a map is: complexity, entropy, sparseness (definitions §5, §7).

All three look at the map as it is given, at its own size, without ReLU: a 7×7 map and the same map enlarged are two
maps. Compare methods only at one size.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from mlcore.metrics.base import NONFINITE_MAP, ZERO_MAP, Metric, as_maps, check_lengths

SEEN = 1e-5


class OfMap(Metric):
    """A metric that needs nothing but the map. A map of zeros is left out: it shows nothing, simply or not."""

    def update(self, maps: Tensor, names: Sequence[str]) -> None:
        """maps (B, h, w); names of the B images."""
        check_lengths(maps=maps, names=names)
        strength = as_maps(maps).abs().flatten(1)
        finite = torch.isfinite(strength).all(dim=1).tolist()
        values = self.values_of(torch.nan_to_num(strength)).tolist()
        zero = (strength == 0).all(dim=1).tolist()
        for name, value, usable, nothing in zip(names, values, finite, zero, strict=True):
            self.note(name, NONFINITE_MAP if not usable else ZERO_MAP if nothing else value)

    @abstractmethod
    def values_of(self, strength: Tensor) -> Tensor:
        """Values (B,) from absolute values (B, n); any number where they are all zero."""


class Complexity(OfMap):
    """Share of pixels with |r| > 1e-5, of the map as it is given: the scale counts."""

    name = "complexity"

    def values_of(self, strength: Tensor) -> Tensor:
        """In [0, 1]."""
        return (strength > SEEN).double().mean(dim=1)


class Entropy(OfMap):
    """−Σ p ln p with p = |r| / Σ|r|, in nats: 0 for a single pixel, ln n for an even map.

    Bhatt et al., "Evaluating and aggregating feature-based model explanations", IJCAI 2020 (their "complexity").
    """

    name = "entropy"

    def values_of(self, strength: Tensor) -> Tensor:
        """In [0, ln n]."""
        share = _shares(strength)
        return -torch.xlogy(share, share).sum(dim=1).clamp(max=0)


class Sparseness(OfMap):
    """Gini index of |r|: Σ_k (2k − n − 1)·|r|_(k) / (n·Σ|r|), sorted upwards; 0 for an even map, 1 − 1/n for a pixel.

    Chalasani et al., "Concise explanations of neural networks using adversarial training", ICML 2020.
    """

    name = "sparseness"

    def values_of(self, strength: Tensor) -> Tensor:
        """In [0, 1)."""
        count = strength.shape[1]
        weight = 2 * torch.arange(1, count + 1, dtype=torch.float64, device=strength.device) - count - 1
        return (_shares(strength).sort(dim=1).values * weight).sum(dim=1).clamp(min=0) / count


def _shares(strength: Tensor) -> Tensor:
    """(B, n) divided by its sum; by its maximum first, so that neither huge nor tiny values are lost."""
    strength = strength.double()
    strength = strength / strength.amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return strength / strength.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
