"""Metrics that a copy of a classifier can be tuned for, one a file (definitions §5).

    from mlcore.metrics.learnable.registry import make
    from mlcore.objectives.harmony import Harmony

    metric = make("road", "noise=0.01")
    metric.evaluate(model, images, targets, explain)     # scores (B,)
    objective = Harmony(metric="road", method="lrp")     # what a run is tuned by

docs/extending.md shows how to bring one of your own.
"""
