"""Metrics that a copy of a classifier can be tuned for (definitions §5), each with the metric of the same score."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.spec import LearnableSpec

GROUP = "Term"
HARMONY = "HARMONY; definitions §5"


def _of(plain: str, name: str, path: str, summary: str, weight: float, **more: object) -> LearnableSpec:
    """A learnable metric whose score is the plain metric's."""
    spec = METRICS[plain]
    return LearnableSpec(
        name,
        str(more.pop("title", spec.title)),
        f"mlcore.metrics.learnable.{path}",
        summary,
        HARMONY,
        needs=spec.needs,
        higher_is_better=spec.higher_is_better,
        unit=spec.unit,
        stochastic=spec.stochastic,
        costly=spec.costly,
        plain=plain,
        term_weight=weight,
        **more,  # type: ignore[arg-type]
    )


LEARNABLE: dict[str, LearnableSpec] = {
    spec.name: spec
    for spec in (
        _of(
            "focus", "focus", "focus.Focus",
            "On a mosaic of four pictures, the map lies on the one whose class it is about.", 0.01,
        ),
        _of(
            "content_heat_map", "rma", "rma.RMA", "The map's mass lies on the object (mask or boxes).", 0.05,
            title="Relevance mass accuracy (RMA)", gradient_norm=1.0, trained_with=("mask",),
        ),
        _of("road", "road", "road.ROAD", "Filling in the most relevant pixels lowers the class's probability.", 0.1),
        _of("irof", "irof", "irof.IROF", "Removing the most relevant segments lowers the class's probability.", 0.1),
        _of(
            "input_stability", "input_stability", "stability.InputStability",
            "The map stays as it is under small noise.", 5e-6,
        ),
        _of(
            "relative_input_stability", "relative_input_stability", "stability.RelativeInputStability",
            "The map changes no more than the picture does, by L2 norms.", 5e-6,
        ),
        _of("complexity", "complexity", "complexity.Complexity", "The map is small and sparse.", 0.1),
        LearnableSpec(
            "combined",
            "Combined",
            "mlcore.metrics.learnable.combined.Combined",
            "A weighted sum of the others, each by its own weight.",
            HARMONY,
            needs=("map", "model", "method"),
            higher_is_better=True,
            unit="",
            costly=True,
            plain="combined",
            fields=(
                Field(
                    "parts", "Metrics and weights", "text", "rma=0.05,focus=0.01",
                    "name=weight, separated by commas; the weight is that of the metric's term.", group=GROUP,
                ),
            ),
            trained_with=("mask",),
        ),
    )
}  # fmt: skip
"""By name. A researcher's own is added by a plug-in (mlcore.catalogue.plugins)."""
