"""What a run optimises (definitions §2): the supervised loss and the family that teaches where to look."""

from dataclasses import replace
from typing import Any

from mlcore.catalogue.fields import Field
from mlcore.catalogue.learnable import LEARNABLE
from mlcore.catalogue.methods import METHODS
from mlcore.catalogue.spec import ObjectiveSpec

GROUP = "Attention"
TUNING = "Tuning"
TRAINED = "Attention module"
MATCHED = "Correspondence network"
# Methods that a classifier is tuned through (definitions §5).
TUNED_THROUGH = ("grad_cam", "guided_backprop", "excitation_backprop", "lrp", "input_x_gradient")

ATTENTION_WEIGHT = Field(
    "attention_weight", "Weight of attention, λ", "float", 1.0,
    "How much the attention term counts beside the classification loss.", 0.0, 1000.0, group=GROUP,
)  # fmt: skip
STOP_GRADIENT = Field(
    "stop_gradient_weights", "Grad-CAM weights are constants", "bool", True,
    "Yes: α is held constant when the map is trained through, as released. No: second order.", group=GROUP,
)  # fmt: skip
LAYER = Field(
    "layer", "Layer", "text", "",
    "Name of the module whose map is trained. Empty: the last layer with space left in it.", group=GROUP,
)  # fmt: skip
SUPERVISION_SOURCE = Field(
    "supervision_source", "Supervised by", "choice", "maps",
    "People's maps, or the object's boxes.",
    choices=(("maps", "maps"), ("boxes", "boxes")), group=GROUP,
)  # fmt: skip

# Of HARMONY's metrics that ask nothing of where the object is (definitions §5).
TUNED: dict[str, Any] = {
    "batch_size": 8,
    "learning_rate": 3e-5,
    "max_steps": 20_000,
    "evaluate_steps": 50,
    "evaluate_batches": 11,
    "select": "best_score",
    "flip": False,
}
# Of TAME on VGG-16 (definitions §4); ResNet-50 has a tenth of the rate for 4 epochs.
ATTENDED: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 32,
    "optimizer": "sgd",
    "learning_rate": 1e-3,
    "momentum": 0.95,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "one_cycle",
    "resize": "crop",
    "random_crop": True,
    "flip": True,
    "select": "last",
}

# Of convolutional Hough matching (definitions §6).
CORRESPONDING: dict[str, Any] = {
    "epochs": 20,
    "batch_size": 20,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "image_size": 240,
    "flip": True,
    "select": "best_score",
}

OBJECTIVES: dict[str, ObjectiveSpec] = {
    spec.name: spec
    for spec in (
        ObjectiveSpec(
            "supervised",
            "Supervised",
            "mlcore.objectives.supervised.Supervised",
            "Cross-entropy, weighted by w_p where a supervision gives weights.",
        ),
        ObjectiveSpec(
            "gradia",
            "GRADIA",
            "mlcore.objectives.gradia.Gradia",
            "Cross-entropy with w_p and the distance of the Grad-CAM map from the drawn map with w_a.",
            "Gao et al., Aligning Eyes between Humans and Deep Neural Network, CSCW 2022",
            needs=("map", "gradient"),
            fields=(
                ATTENTION_WEIGHT,
                STOP_GRADIENT,
                Field(
                    "preset", "Preset", "choice", "default",
                    "“gradia” repeats the released code (second forward an image, flip of the image only, "
                    "8-bit rounding); default is the corrected form.",
                    choices=(("default", "default"), ("gradia", "as released")), group=GROUP,
                ),
                SUPERVISION_SOURCE,
                LAYER,
            ),
        ),
        ObjectiveSpec(
            "res",
            "RES",
            "mlcore.objectives.res.Res",
            "Robust explanation supervision: a slack for drawn maps that are not exact.",
            "Gao et al., RES, KDD 2022",
            needs=("map", "gradient"),
            fields=(
                ATTENTION_WEIGHT,
                STOP_GRADIENT,
                Field("eta", "Slack, η", "float", 0.1, "Difference that is forgiven.", 0.0, 2.0, group=GROUP),
                Field(
                    "smoothing", "Smoothing of the drawn map", "choice", "gaussian",
                    "Fixed Gaussian, or a convolution that is learned along.",
                    choices=(("gaussian", "Gaussian"), ("learned", "learned")), group=GROUP,
                ),
                SUPERVISION_SOURCE,
                LAYER,
            ),
        ),
        ObjectiveSpec(
            "energy",
            "Energy",
            "mlcore.objectives.energy.Energy",
            "Share of the map's positive mass that lies outside the object; needs masks or boxes.",
            "Rao et al., Studying How to Efficiently and Effectively Guide Models with Explanations, ICCV 2023",
            needs=("map", "gradient"),
            fields=(ATTENTION_WEIGHT, SUPERVISION_SOURCE, LAYER),
        ),
        ObjectiveSpec(
            "grid",
            "Grid consistency",
            "mlcore.objectives.grid.GridConsistency",
            "The map of an image stays the same when the image is one quarter of a collage with other classes.",
            "Pillai & Pirsiavash, Explainable Models with Consistent Interpretations, AAAI 2021; definitions §3",
            needs=("gradient",),
            fields=(
                Field(
                    "grid_weight", "Weight of consistency, λ", "float", 25.0,
                    "How much the distance of the two maps counts beside the classification loss.",
                    0.0, 100_000.0, group=GROUP,
                ),
                Field(
                    "detach_target", "Hold the image's own map constant", "bool", False,
                    "Yes: only the collage's map is moved. No: the gradient goes through both, as published.",
                    group=GROUP,
                ),
                Field(
                    "preset", "Preset", "choice", "default",
                    "“grid” counts images whose map is zero as if it were uniform; default leaves them out.",
                    choices=(("default", "default"), ("grid", "as published")), group=GROUP,
                ),
                LAYER,
            ),
        ),
        ObjectiveSpec(
            "harmony",
            "HARMONY: tuned for a metric",
            "mlcore.objectives.harmony.Harmony",
            "A copy of a classifier scores better on one metric of its maps while its outputs stay the same.",
            "HARMONY; definitions §5",
            needs=("gradient",),
            fields=(
                Field(
                    "metric", "Metric", "choice", "focus", "What the maps shall score better on.",
                    choices=tuple((spec.name, spec.title) for spec in LEARNABLE.values()), group=TUNING,
                ),
                Field(
                    "method", "Attribution method", "choice", "grad_cam", "How the maps are made.",
                    choices=tuple((name, METHODS[name].title) for name in TUNED_THROUGH), group=TUNING,
                ),
                Field(
                    "term_weight", "Weight of the term, c", "float", 0.0, "0: the metric's published weight.",
                    0.0, 1000.0, group=TUNING,
                ),
                Field(
                    "keep_weight", "Weight of staying the same", "float", 1.0,
                    "Of 1 − (cosine of both classifiers' outputs + 1)/2; the released Complexity has 0.",
                    0.0, 1000.0, group=TUNING,
                ),
                Field(
                    "object_source", "Objects from", "choice", "masks",
                    "Where the object is, for metrics that need it: the images' masks, their boxes, or people's maps.",
                    choices=(("masks", "masks"), ("boxes", "boxes"), ("maps", "people's maps")), group=TUNING,
                ),
                Field(
                    "metric_options", "Options of the metric", "text", "",
                    "name=value, separated by semicolons; empty: its defaults.", group=TUNING,
                ),
                LAYER,
            ),
            learns_labels=False,
            scored=True,
            published=TUNED,
        ),
        ObjectiveSpec(
            "tame",
            "TAME: a trained attention",
            "mlcore.objectives.attention_run.AttentionRun",
            "A small module learns, beside a classifier that stays as it is, to draw what its decision needs.",
            "Ntrougkas et al., TAME, ISM 2022; definitions §4",
            needs=("gradient",),
            fields=(
                Field(
                    "variant", "Module", "choice", "default",
                    "TAME's forms, or L-CAM's one layer under the same loss. Where the classifier has no BatchNorm "
                    "(SqueezeNet, AlexNet) take “no skip”: with the skip its large features begin saturated.",
                    choices=(("default", "TAME"), ("no_skip", "TAME, no skip"),
                             ("no_skip_no_norm", "TAME, no skip, no BatchNorm"), ("sigmoid", "TAME, sigmoid"),
                             ("l_cam", "L-CAM")), group=TRAINED,
                ),
                Field(
                    "preset", "Preset", "choice", "default",
                    "“tame” repeats the released code: for each image the maps of all labels of the batch, the "
                    "classifier in train mode. Default: the label's own map, in eval mode.",
                    choices=(("default", "default"), ("tame", "as released")), group=TRAINED,
                ),
                Field(
                    "layers", "Layers", "text", "",
                    "Names of 2 to 4 layers, the finest first, such as layer2,layer3,layer4; one for L-CAM. Empty: "
                    "those that suit the classifier.", group=TRAINED,
                ),
            ),
            learns_labels=False,
            scored=True,
            makes="attention",
            published=ATTENDED,
        ),
        ObjectiveSpec(
            "correspondence",
            "Correspondence: a matching network",
            "mlcore.objectives.correspondence.CorrespondenceTraining",
            "A network learns, beside a classifier that stays as it is, which points of two pictures correspond, "
            "from synthetic warps of the pictures.",
            "Min & Cho, Convolutional Hough Matching Networks, CVPR 2021; definitions §6",
            fields=(
                Field(
                    "layer", "Layer", "text", "",
                    "Name of the stage that is read, with about 15 × 15 cells. Empty: the one that suits the "
                    "classifier, layer3 of a ResNet.", group=MATCHED,
                ),
                Field(
                    "width", "Channels", "int", 256,
                    "After the network's convolution of each scale; published: 256. Fewer cost less.", 8, 2048,
                    group=MATCHED,
                ),
                Field(
                    "warp_strength", "Strength of the warps", "float", 1.0,
                    "Factor of how far pictures are turned (at 1 up to 40°), scaled, moved, tilted and bent.", 0.0, 2.0,
                    group=MATCHED,
                ),
                Field(
                    "key_points", "Key points", "int", 20, "Of each picture and its warp.", 1, 1000, group=MATCHED,
                ),
            ),
            learns_labels=False,
            scored=True,
            makes="network",
            published=CORRESPONDING,
        ),
    )
}  # fmt: skip


def offer_learnable() -> None:
    """Let the tuning objective offer the learnable metrics of now: plug-ins come after the others."""
    spec = OBJECTIVES["harmony"]
    choices = tuple((one.name, one.title) for one in LEARNABLE.values())
    fields = tuple(replace(field, choices=choices) if field.name == "metric" else field for field in spec.fields)
    OBJECTIVES["harmony"] = replace(spec, fields=fields)
