"""A learnable metric to start from: the share of a map's mass that lies at the border of the picture.

Copy this file into the folder that HARMONY_PLUGIN_FOLDER names, call it and what it says of itself something else, and
put your own score and term in the place of these. Then ask

    python manage.py check_plugin border_mass.py

what is still wrong. `HARMONY` is read without running the file: it must be written out, without names or sums.
"""

import torch

from mlcore.metrics.learnable.base import LearnableMetric

HARMONY = {
    "kind": "learnable",
    "class": "BorderMass",
    # How addresses, recipes and commands call it; the title is for people.
    "name": "border_mass",
    "title": "Mass at the border",
    "summary": "Share of the map's mass that lies at the border of the picture.",
    "reference": "ours",
    "higher_is_better": False,
    # In what its values are: "share" (0 to 1), "%" or "" (a plain number).
    "unit": "share",
    # c, by which the term counts beside the term that keeps the outputs the same. A run can name another.
    "term_weight": 0.1,
    # "trained_with": ["mask"] where the term needs to know where the object is; needs_masks = True in the class then.
    # "stochastic": True where chance enters the score (seed it); "costly": True where the classifier is asked again.
    # Options of the constructor; kind is int, float, bool, choice or text.
    "fields": [
        {"name": "width", "label": "Width", "kind": "float", "default": 0.1, "minimum": 0.01, "maximum": 0.49,
         "help": "Of the border, as a share of the picture's side."},
    ],
}  # fmt: skip


class BorderMass(LearnableMetric):
    """Σ r at the border / Σ r."""

    name = "border_mass"
    better_higher = False
    # trains_maps = False where the term does not go back through step.maps; maps are cheaper then.

    def __init__(self, width: float = 0.1) -> None:
        super().__init__()
        self.width = width

    def perturb(self, images, maps, generator=None):
        """What the metric shows the classifier besides the images (B, 3, H, W): nothing, so the images themselves."""
        return images

    def evaluate(self, model, images, targets, explain, *, masks=None):
        """Score (B,) of each image, float64, NaN where there is none. `explain` gives maps (B, H, W), nowhere below 0.

        `model` may be asked anything; it is in eval mode and no gradient is recorded.
        """
        maps = explain(images, targets).double()
        return torch.where(maps.sum(dim=(1, 2)) > 0, self.share(maps), torch.nan)

    def loss(self, step):
        """The term, a scalar to be made small. `step` has all that one pass of both classifiers gave: see its class.

        Images that have no score are left out, and a batch of one image must do.
        """
        seen = step.maps.detach().sum(dim=(1, 2)) > 0
        # Replaced before the division: where nothing is seen, 0/0 would make every gradient NaN.
        maps = torch.where(seen[:, None, None], step.maps, torch.ones_like(step.maps))
        return (self.share(maps) * seen).sum() / seen.sum().clamp(min=1)

    def share(self, maps):
        """(B, H, W) → (B,)."""
        height, width = maps.shape[1:]
        down, right = max(1, round(height * self.width)), max(1, round(width * self.width))
        inner = maps[:, down : height - down, right : width - right].sum(dim=(1, 2))
        return 1 - inner / maps.sum(dim=(1, 2))
