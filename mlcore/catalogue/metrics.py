"""Metrics of a classifier and of its maps (definitions §2, §7)."""

from mlcore.catalogue.spec import Spec

METRICS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "accuracy",
            "Accuracy",
            "mlcore.metrics.accuracy.Accuracy",
            "Share of images whose predicted class is right.",
            higher_is_better=True,
        ),
        Spec(
            "attention_iou_50",
            "Attention IoU at 0.5",
            "mlcore.metrics.attention_iou.AttentionIoU",
            "Overlap of [evaluation map > 0.5] with the mask: intersection over union, mean over images.",
            "definitions §2",
            needs=("map", "mask"),
            higher_is_better=True,
        ),
        Spec(
            "attention_iou_75",
            "Attention IoU at 0.75",
            "mlcore.metrics.attention_iou.AttentionIoU75",
            "Overlap of [evaluation map > 0.75] with the mask, the threshold of GRADIA.",
            "Gao et al., GRADIA, CSCW 2022",
            needs=("map", "mask"),
            higher_is_better=True,
        ),
        Spec(
            "pointing",
            "Pointing game",
            "mlcore.metrics.pointing.PointingGame",
            "Share of images whose map has its maximum less than 15 px from the object; mean over classes.",
            "Zhang et al., Excitation Backprop, IJCV 2018",
            needs=("map", "mask"),
            higher_is_better=True,
        ),
        Spec(
            "content_heat_map",
            "Content heat map",
            "mlcore.metrics.content_heat_map.ContentHeatMap",
            "Share of the map's positive mass that lies on the object.",
            "Pillai & Pirsiavash, AAAI 2021",
            needs=("map", "mask"),
            higher_is_better=True,
        ),
    )
}
