"""The researchers' pages about images, classifiers, runs and maps."""

from mlcore.admin import attention, classifiers, explanation_sets, galleries, image_sets, networks, others, runs

__all__ = ["attention", "classifiers", "explanation_sets", "galleries", "image_sets", "networks", "others", "runs"]
