"""Methods that answer while a page waits: those that ask the classifier at most some dozens of times a picture."""

from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.spec import MethodSpec

# An option that says how many of its passes a method makes at once: it makes thousands (RISE), or one for each feature
# map (Score-CAM).
_MANY = "chunk"


def is_quick(spec: MethodSpec) -> bool:
    """Whether a short question may ask for this method."""
    return not any(field.name == _MANY for field in spec.fields)


def quick_methods() -> dict[str, MethodSpec]:
    """Every quick method by name, plug-ins too, baselines last."""
    found = {name: spec for name, spec in METHODS.items() if is_quick(spec)}
    return dict(sorted(found.items(), key=lambda entry: entry[1].baseline))
