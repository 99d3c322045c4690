"""What exists, without importing torch: one spec per method, metric, objective and classifier family.

Forms, command lines and checks are made from these specs; a test resolves every dotted path.
"""

from mlcore.catalogue.architectures import ARCHITECTURES, FAMILIES
from mlcore.catalogue.fields import Field, RecipeError
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.matchers import MATCHERS
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.metrics import METRICS
from mlcore.catalogue.objectives import OBJECTIVES
from mlcore.catalogue.plugins import load, register, unregister
from mlcore.catalogue.recipes import clean, differences, fields_for, own_options, upgrade
from mlcore.catalogue.spec import LearnableSpec, MethodSpec, MetricSpec, Spec

__all__ = [
    "ARCHITECTURES",
    "FAMILIES",
    "LEARNABLE",
    "MATCHERS",
    "METHODS",
    "METRICS",
    "OBJECTIVES",
    "Field",
    "LearnableSpec",
    "MethodSpec",
    "MetricSpec",
    "RecipeError",
    "Spec",
    "clean",
    "differences",
    "fields_for",
    "own_options",
    "register",
    "unregister",
    "upgrade",
]

load()
