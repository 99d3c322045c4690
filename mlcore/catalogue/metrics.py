"""Metrics of a classifier and of its maps (definitions §2, §5, §7)."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.spec import MetricSpec

GROUP = "Metric"

TOLERANCE = Field("tolerance", "Tolerance", "float", 15.0, "Pixels at the image's own size; 0: inside.", 0.0, 1000.0,
                  group=GROUP)  # fmt: skip
SEED = Field("seed", "Seed", "int", 0, "Of the noise.", 0, 2**31 - 1, group=GROUP)
STEPS = Field("steps", "Steps", "int", 28, "How many times pixels are taken away; published: one a row.", 2, 1000,
              group=GROUP)  # fmt: skip
BASELINE = ("mean", "blur", "zero")
FILL = Field("fill", "Filled with", "choice", "zero", "What stands where pixels are taken away; zero: ImageNet's mean.",
             choices=tuple((name, name) for name in BASELINE), group=GROUP)  # fmt: skip


def _mask(name: str, title: str, path: str, summary: str, reference: str, **more: object) -> MetricSpec:
    return MetricSpec(name, title, path, summary, reference, needs=("map", "mask"), higher_is_better=True, **more)  # type: ignore[arg-type]


def _person(name: str, title: str, path: str, summary: str, *, higher: bool = True, unit: str = "") -> MetricSpec:
    return MetricSpec(
        name, title, path, summary, "definitions §7", needs=("map", "person"), higher_is_better=higher, unit=unit
    )


METRICS: dict[str, MetricSpec] = {
    spec.name: spec
    for spec in (
        MetricSpec(
            "accuracy",
            "Accuracy",
            "mlcore.metrics.accuracy.Accuracy",
            "Share of images whose predicted class is right.",
            higher_is_better=True,
        ),
        _mask(
            "attention_iou_50",
            "Attention IoU at 0.5",
            "mlcore.metrics.attention_iou.AttentionIoU",
            "Overlap of [evaluation map > 0.5] with the mask: intersection over union, mean over images.",
            "definitions §2",
        ),
        _mask(
            "attention_iou_75",
            "Attention IoU at 0.75",
            "mlcore.metrics.attention_iou.AttentionIoU75",
            "Overlap of [evaluation map > 0.75] with the mask, the threshold of GRADIA.",
            "Gao et al., GRADIA, CSCW 2022",
        ),
        _mask(
            "pointing",
            "Pointing game",
            "mlcore.metrics.pointing.PointingGame",
            "Share of images whose map has its maximum less than 15 px from the object; mean over classes.",
            "Zhang et al., Excitation Backprop, IJCV 2018",
            fields=(TOLERANCE,),
        ),
        _mask(
            "stochastic_pointing",
            "Stochastic pointing game",
            "mlcore.metrics.stochastic_pointing.StochasticPointingGame",
            "Chance that a point drawn from the map lies less than 15 px from the object; exact, mean over images.",
            "Pillai et al., Consistent Explanations by Contrastive Learning, CVPR 2022",
            fields=(TOLERANCE,),
        ),
        _mask(
            "content_heat_map",
            "Content heat map",
            "mlcore.metrics.content_heat_map.ContentHeatMap",
            "Share of the map's positive mass that lies on the object.",
            "Pillai & Pirsiavash, AAAI 2021; also energy pointing game, relevance mass accuracy",
        ),
        *(
            _mask(
                f"{name}_{at}",
                f"{title} at {words}",
                f"mlcore.metrics.overlap.{cls}{suffix}",
                f"{what} of [evaluation map in its {words}] and the mask.",
                "definitions §7",
            )
            for name, title, cls, what in (
                ("iou", "IoU", "IoU", "Intersection over union"),
                ("dice", "Dice", "Dice", "Twice the intersection over the sum"),
                ("precision", "Precision", "Precision", "Share that lies on the object"),
                ("recall", "Recall", "Recall", "Share of the object that is covered by the part"),
            )
            for at, words, suffix in (("top10", "top 10 %", "Top10"), ("50", "part above 0.5", "50"))
            if not (name == "iou" and at == "50")  # that is attention IoU
        ),
        MetricSpec(
            "average_drop",
            "Average drop",
            "mlcore.metrics.average_drop.AverageDrop",
            "How much of its probability the predicted class loses when only the map's part is seen.",
            "Chattopadhay et al., Grad-CAM++, WACV 2018",
            needs=("map", "model"),
            fields=(
                Field("keep", "Kept (%)", "float", 100.0, "The rest, the map's lowest part, is set to zero.", 1.0,
                      100.0, group=GROUP),
            ),
            higher_is_better=False,
            unit="%",
            costly=True,
        ),
        MetricSpec(
            "increase_in_confidence",
            "Increase in confidence",
            "mlcore.metrics.average_drop.IncreaseInConfidence",
            "Share of images whose predicted class gains probability when only the map's part is seen.",
            "Chattopadhay et al., Grad-CAM++, WACV 2018",
            needs=("map", "model"),
            fields=(
                Field("keep", "Kept (%)", "float", 100.0, "The rest, the map's lowest part, is set to zero.", 1.0,
                      100.0, group=GROUP),
            ),
            higher_is_better=True,
            unit="%",
            costly=True,
        ),
        *(
            MetricSpec(
                f"{name}_{kept}",
                f"{title}, {kept} % kept",
                f"mlcore.metrics.average_drop.{cls}{kept}",
                f"{title} when only the brightest {kept} % of the map are left.",
                "Ntrougkas et al., TAME, ISM 2022",
                needs=("map", "model"),
                higher_is_better=higher,
                unit="%",
                costly=True,
            )
            for name, title, cls, higher in (
                ("average_drop", "Average drop", "AverageDrop", False),
                ("increase_in_confidence", "Increase in confidence", "IncreaseInConfidence", True),
            )
            for kept in (50, 15)
        ),
        MetricSpec(
            "adcc",
            "ADCC",
            "mlcore.metrics.adcc.ADCC",
            "Harmonic mean of coherency, 1 − complexity and 1 − average drop.",
            "Poppi et al., Revisiting the Evaluation of CAMs, CVPR Workshops 2021",
            needs=("map", "model", "method"),
            higher_is_better=True,
            unit="%",
            costly=True,
        ),
        MetricSpec(
            "deletion",
            "Deletion",
            "mlcore.metrics.insertion_deletion.Deletion",
            "Area under the class's probability while the most relevant pixels are taken away.",
            "Petsiuk et al., RISE, BMVC 2018",
            needs=("map", "model"),
            fields=(STEPS, FILL),
            higher_is_better=False,
            costly=True,
        ),
        MetricSpec(
            "insertion",
            "Insertion",
            "mlcore.metrics.insertion_deletion.Insertion",
            "Area under the class's probability while the most relevant pixels appear on a blurred picture.",
            "Petsiuk et al., RISE, BMVC 2018",
            needs=("map", "model"),
            fields=(STEPS,),
            higher_is_better=True,
            costly=True,
        ),
        MetricSpec(
            "road",
            "ROAD",
            "mlcore.metrics.road.ROAD",
            "Share of removals (5 to 86 % of the pixels, filled in from around them) that change the prediction.",
            "Rong et al., ROAD, ICML 2022; definitions §5",
            needs=("map", "model"),
            fields=(
                Field("noise", "Noise", "float", 0.01, "Deviation of what is added to filled-in pixels.", 0.0, 1.0,
                      group=GROUP),
                SEED,
            ),
            higher_is_better=True,
            stochastic=True,
            costly=True,
        ),
        MetricSpec(
            "irof",
            "IROF",
            "mlcore.metrics.irof.IROF",
            "Mean loss of probability while segments are removed, the most relevant first.",
            "Rieger & Hansen, IROF, 2020; definitions §5",
            needs=("map", "model"),
            fields=(Field("segments", "Segments", "int", 100, "", 2, 2000, group=GROUP),),
            higher_is_better=True,
            costly=True,
        ),
        MetricSpec(
            "focus",
            "Focus",
            "mlcore.metrics.focus.Focus",
            "Share of a mosaic's relevance that lies on the picture whose class the mosaic shows.",
            "Arias-Duart et al., Focus!, 2022; definitions §5",
            needs=("model", "method"),
            higher_is_better=True,
            costly=True,
        ),
        MetricSpec(
            "input_stability",
            "Input stability (IS)",
            "mlcore.metrics.stability.InputStability",
            "Largest relative change of the map under small noise, as in HARMONY.",
            "definitions §5",
            needs=("map", "model", "method"),
            fields=(
                Field("copies", "Noisy copies", "int", 20, "", 1, 1000, group=GROUP),
                Field("noise", "Noise", "float", 0.05, "Its deviation.", 0.0, 1.0, group=GROUP),
                SEED,
            ),
            higher_is_better=False,
            unit="",
            stochastic=True,
            costly=True,
        ),
        MetricSpec(
            "relative_input_stability",
            "Relative input stability (RIS)",
            "mlcore.metrics.stability.RelativeInputStability",
            "Largest relative change of the map against that of the picture, by L2 norms.",
            "Agarwal et al., Rethinking Stability, 2022; definitions §5",
            needs=("map", "model", "method"),
            fields=(Field("copies", "Noisy copies", "int", 200, "", 1, 1000, group=GROUP), SEED),
            higher_is_better=False,
            unit="",
            stochastic=True,
            costly=True,
        ),
        MetricSpec(
            "complexity",
            "Complexity",
            "mlcore.metrics.complexity.Complexity",
            "Share of pixels whose relevance is more than 0.00001.",
            "definitions §5",
            needs=("map",),
            higher_is_better=False,
        ),
        MetricSpec(
            "entropy",
            "Entropy",
            "mlcore.metrics.complexity.Entropy",
            "Entropy of the map's absolute values as a distribution over pixels.",
            "Bhatt et al., Evaluating and Aggregating Explanations, IJCAI 2020",
            needs=("map",),
            higher_is_better=False,
            unit="nats",
        ),
        MetricSpec(
            "sparseness",
            "Sparseness",
            "mlcore.metrics.complexity.Sparseness",
            "Gini index of the map's absolute values: 1 is a single pixel.",
            "Chalasani et al., Concise Explanations, ICML 2020",
            needs=("map",),
            higher_is_better=True,
        ),
        _person(
            "spearman", "Spearman with people", "mlcore.metrics.people.Spearman",
            "Rank correlation of the map with a person's map, pixel by pixel.",
        ),
        _person(
            "pearson", "Pearson with people", "mlcore.metrics.people.Pearson",
            "Correlation of the map with a person's map, pixel by pixel.",
        ),
        _person(
            "ssim", "SSIM with people", "mlcore.metrics.people.SSIM",
            "Structural similarity of the map and a person's map.",
        ),
        _person(
            "people_dice_top10", "Dice with people, top 10 %", "mlcore.metrics.people.PeopleDice",
            "Overlap of the brightest 10 % of both maps.", unit="share",
        ),
        _person(
            "people_iou_50", "IoU with people at 0.5", "mlcore.metrics.people.PeopleIoU",
            "Intersection over union of both maps above 0.5.", unit="share",
        ),
        _person(
            "emd", "Earth mover's distance to people", "mlcore.metrics.people.EMD",
            "How far the map's mass has to be carried to become the person's, in sides of the picture.",
            higher=False, unit="sides",
        ),
    )
}  # fmt: skip
