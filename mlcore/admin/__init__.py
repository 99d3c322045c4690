"""The researchers' pages about images, classifiers, runs and maps."""

from mlcore.admin import classifiers, explanation_sets, image_sets, others, runs

__all__ = ["classifiers", "explanation_sets", "image_sets", "others", "runs"]
