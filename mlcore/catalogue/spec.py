"""The description of something that exists, small enough for the web process."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlcore.catalogue.fields import Field


@dataclass(frozen=True)
class Spec:
    """`path` is the dotted path of the class in a PyTorch room; `needs` names what must be at hand
    (mask, box, person, map, model, method, gradient, attention); `fields` are its own options."""

    name: str
    title: str
    path: str
    summary: str
    reference: str = ""
    needs: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    higher_is_better: bool | None = None


@dataclass(frozen=True)
class ObjectiveSpec(Spec):
    """What a run optimises.

    learns_labels: the classifier learns the images' classes; otherwise it keeps its own, and labels are not looked at.
    scored: it measures a score of its own, by which an epoch can be chosen. makes: "classifier", or a module that is
    trained beside one: "attention", "network" (of correspondence). published: options whose defaults are others for
    this objective.
    """

    learns_labels: bool = True
    scored: bool = False
    makes: str = "classifier"
    published: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class MethodSpec(Spec):
    """An attribution method (definitions §1).

    class_specific: the map depends on the class that is asked about. resolution: "layer", the cells of one layer, or
    "input", every pixel. signed: the map has negative values that mean "against". differentiable: `forward` gives
    maps that a model can be trained through. stochastic: chance (seeded) enters the map. baseline: looks at no model.
    """

    class_specific: bool = True
    resolution: str = "layer"
    signed: bool = False
    differentiable: bool = False
    stochastic: bool = False
    baseline: bool = False

    @property
    def needs_backward(self) -> bool:
        """Whether a gradient is taken somewhere (closed forms may do without)."""
        return "gradient" in self.needs


@dataclass(frozen=True)
class MetricSpec(Spec):
    """A metric (definitions §5, §7). unit: what its values are in: "share" (0…1), "%", "" (a plain number).

    stochastic: chance (seeded) enters the value. costly: asks the classifier many times for each image.
    """

    unit: str = "share"
    stochastic: bool = False
    costly: bool = False


@dataclass(frozen=True)
class LearnableSpec(MetricSpec):
    """A metric that a copy of a classifier can be tuned for (definitions §5): also an objective's choice.

    plain: the metric of METRICS that gives the same score of maps; its own name where the class is a metric itself.
    term_weight: c, by which the term counts beside the keep term. keep: whether the released trainer kept the outputs.
    gradient_norm: largest norm of the gradient; 0: as it is. trained_with: "mask" where the term needs one.
    """

    plain: str = ""
    term_weight: float = 1.0
    gradient_norm: float = 0.0
    trained_with: tuple[str, ...] = ()
