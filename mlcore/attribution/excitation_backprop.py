"""Excitation backpropagation (definitions §1).

Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mlcore.attribution.relevance import RelevanceMethod
from mlcore.attribution.relevance_rules import How


class ExcitationBackprop(RelevanceMethod):
    """A winner's probability passed down: each neuron is the winner in proportion to what it excites.

    P(x) = Σ P(y) · x·w⁺ / Σ x·w⁺ on convolutions and linear layers, from probability 1 at the class that is asked
    about. Inputs below zero (a picture's, SiLU's) excite through negative weights: x⁺·w⁺ + x⁻·w⁻ stands for x·w⁺.
    Batch normalisation is merged into the layer before it. Means and residual sums share among what is positive;
    max pooling gives to the winner; activations, dropout, other normalisations and gates as in LRP ε+.
    Biases win nothing, so a map is nowhere negative and sums to 1 but for neurons that nothing excites.

    preset "harmony": as HARMONY has it (zennit's composite): biases' positive part takes a share, means and residual
    sums share among signed values, R · x/z; both starts from the class scores, contrasted as RelevanceMethod says.
    Equal to zennit's ExcitationBackprop with its canonizers in that form.
    """

    def how(self, *, keep: bool = False) -> How:
        released = self.preset == "harmony"
        return How(
            "Excitation backprop",
            linear="plus",
            stabiliser=1e-6 if released else 1e-12,
            biases=released,
            positive=not released,
            keep=keep,
        )

    def start(self, logits: Tensor, targets: Tensor) -> Tensor:
        return torch.zeros_like(logits).scatter(1, targets[:, None], 1.0)
