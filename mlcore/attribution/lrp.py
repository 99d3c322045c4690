"""LRP ε+ (definitions §1).

Bach et al., "On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation",
PLoS ONE 2015; Montavon et al., "Layer-wise relevance propagation: an overview", 2019.
"""

from __future__ import annotations

from torch import Tensor, nn

from mlcore.attribution.relevance import RelevanceMethod, only
from mlcore.attribution.relevance_rules import How


class LRPEpsilonPlus(RelevanceMethod):
    """The class score shared out layer by layer, from its last layer to the picture.

    - Convolutions: z+, R_x = x⁺·w⁺(R/z) + x⁻·w⁻(R/z) with z = x⁺·w⁺ + x⁻·w⁻ + b⁺: negative inputs count where a
      negative weight makes them raise the output, so colours below the mean have relevance too.
    - Linear layers: ε, R_x = x · w(R/(z + ε·sign z)) with z = x·w + b.
    - Biases take their share (b⁺ in z+, b in ε) and it ends there: Σ R of a map is the class score less the biases'
      part. Without biases the score is kept to the last digit but for the stabilisers.
    - Batch normalisation is merged into the convolution or linear layer before it (with the batch's statistics in
      train mode); one that stands alone, and layer normalisation, pass relevance on. So do activations and dropout.
    - Means and residual sums: in proportion to the values, R · x/z. Max pooling: to the winner. A gate
      (squeeze-excitation) leaves all relevance to what it gates.
    - Denominators other than ε's are moved away from zero by 1e-6.

    Equal to zennit's EpsilonPlus with its canonizers on VGG and ResNet. Starts from the class score z_t.
    epsilon: ε of the linear layers. Other options: see RelevanceMethod.
    """

    def __init__(
        self, model: nn.Module, *, layer: str | None = "", preset: str = "default", epsilon: float = 1e-6
    ) -> None:
        if not epsilon >= 0:
            raise ValueError(f"LRP's ε is 0 or more, not {epsilon}.")
        self.epsilon = epsilon
        super().__init__(model, layer=layer, preset=preset)

    def how(self, *, keep: bool = False) -> How:
        return How("LRP ε+", linear="epsilon", epsilon=self.epsilon, keep=keep)

    def start(self, logits: Tensor, targets: Tensor) -> Tensor:
        return only(logits, targets)
