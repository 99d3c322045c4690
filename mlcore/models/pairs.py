"""Two maps of one image to be compared blind: the original classifier's, and that of a copy tuned for one metric.

A pair set is one cell of HARMONY's question, metric × classifier × method (definitions §5); its images are disjoint
from those of the cells made beside it, and selected nothing in the tuning.
"""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from mlcore.models.base import ImmutableModel, UUIDModel
from mlcore.models.explanations import Explanation, ExplanationSet
from mlcore.models.images import Image, ImageSet


class PairSet(ImmutableModel):
    """One cell: what the tuned classifier was tuned for, and both classifiers' maps by one method."""

    name = models.CharField(max_length=160)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL)
    image_set = models.ForeignKey(ImageSet, on_delete=models.PROTECT, related_name="pair_sets")
    metric = models.CharField(max_length=60, help_text="The learnable metric that the tuned classifier was tuned for.")
    original = models.ForeignKey(ExplanationSet, on_delete=models.PROTECT, related_name="+")
    tuned = models.ForeignKey(ExplanationSet, on_delete=models.PROTECT, related_name="+")
    part = models.CharField(max_length=20, blank=True, help_text="Part of the partition that the images come from.")
    agreement = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)],
        help_text="Share of the part's images on which both classifiers say the same.",
    )  # fmt: skip
    spec = models.JSONField(default=dict, help_text="How many were wanted, and why images were left out.")
    created = models.DateTimeField(auto_now_add=True)

    class Meta(UUIDModel.Meta):
        abstract = False
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.name

    @property
    def method(self) -> str:
        """How both maps were made."""
        return self.original.method


class AttributionPair(UUIDModel):
    """One image's two maps of the true class. `before` and `after` are the metric's values of both, where known."""

    set = models.ForeignKey(PairSet, on_delete=models.CASCADE, related_name="pairs")
    position = models.PositiveIntegerField()
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="pairs")
    original = models.ForeignKey(Explanation, on_delete=models.PROTECT, related_name="+")
    tuned = models.ForeignKey(Explanation, on_delete=models.PROTECT, related_name="+")
    before = models.FloatField(null=True, blank=True)
    after = models.FloatField(null=True, blank=True)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["set", "position"], name="pair_position_once_a_set"),
            models.UniqueConstraint(fields=["set", "image"], name="pair_once_an_image"),
            models.CheckConstraint(condition=~models.Q(original=models.F("tuned")), name="pair_is_of_two_maps"),
        ]

    def __str__(self) -> str:
        return f"{self.image_id} in {self.set_id}"
