"""Attribution methods (definitions §1)."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.spec import MethodSpec

GROUP = "Method"

LAYER = Field(
    "layer", "Layer", "text", "",
    "Name of the module whose output is explained. Empty: the last layer with space left in it.", group=GROUP,
)  # fmt: skip
DEPTH = Field(
    "layer", "Read at layer", "text", "",
    "Name of the module at whose output relevance is read. Empty: at the picture itself.", group=GROUP,
)  # fmt: skip
SEED = Field("seed", "Seed", "int", 0, "Of the chance inside the method; the same for every image.", 0, 2**31 - 1,
             group=GROUP)  # fmt: skip
ATTENTION = Field(
    "attention", "Attention module", "text", "",
    "UUID of a trained module of the classifier. Empty: its newest.", group=GROUP,
)  # fmt: skip
SCALED = Field(
    "scaled", "Scaled before the sigmoid", "bool", True,
    "Yes: c scaled by its least and greatest value, by which published figures are computed. No: σ(c), what training "
    "showed the classifier; where it is saturated the map is constant.", group=GROUP,
)  # fmt: skip
CHANNELS = (
    ("sum", "sum (signed)"),
    ("abs_sum", "sum of absolute values"),
    ("max_abs", "largest absolute value"),
)


def _preset(*choices: tuple[str, str]) -> Field:
    return Field(
        "preset", "Preset", "choice", "default",
        "A published system's exact form, to check published numbers; default is the corrected form.",
        choices=(("default", "default"), *choices), group=GROUP,
    )  # fmt: skip


def _channels(default: str) -> Field:
    return Field("channels", "Colours become one map by", "choice", default, "", choices=CHANNELS, group=GROUP)


GRADIA = ("gradia", "GRADIA: no ReLU while training")
GRID = ("grid", "Grid consistency: ReLU, then a distribution over the cells")
HARMONY = ("harmony", "HARMONY: clamped at 0, 224 px")

METHODS: dict[str, MethodSpec] = {
    spec.name: spec
    for spec in (
        MethodSpec(
            "grad_cam",
            "Grad-CAM",
            "mlcore.attribution.grad_cam.GradCAM",
            "Feature maps of one layer, weighted by the mean gradient of the class score.",
            "Selvaraju et al., Grad-CAM, ICCV 2017",
            needs=("gradient",),
            fields=(LAYER, _preset(GRADIA, GRID, HARMONY)),
            differentiable=True,
        ),
        MethodSpec(
            "hires_cam",
            "HiResCAM",
            "mlcore.attribution.hires_cam.HiResCAM",
            "Grad-CAM with the gradient multiplied cell by cell instead of averaged.",
            "Draelos & Carin, HiResCAM, 2020",
            needs=("gradient",),
            fields=(LAYER, _preset(GRADIA, GRID, HARMONY)),
            differentiable=True,
        ),
        MethodSpec(
            "grad_cam_pp",
            "Grad-CAM++",
            "mlcore.attribution.grad_cam_pp.GradCAMPlusPlus",
            "Grad-CAM with each cell's positive gradient weighed by its share in the class score.",
            "Chattopadhay et al., Grad-CAM++, WACV 2018",
            needs=("gradient",),
            fields=(LAYER,),
        ),
        MethodSpec(
            "layer_cam",
            "Layer-CAM",
            "mlcore.attribution.layer_cam.LayerCAM",
            "Feature maps weighted cell by cell by their positive gradients; fine at early layers too.",
            "Jiang et al., LayerCAM, IEEE TIP 2021",
            needs=("gradient",),
            fields=(LAYER,),
        ),
        MethodSpec(
            "score_cam",
            "Score-CAM",
            "mlcore.attribution.score_cam.ScoreCAM",
            "Feature maps weighted by the class score of the picture seen through each of them; no gradient.",
            "Wang et al., Score-CAM, CVPR Workshops 2020",
            fields=(
                LAYER,
                Field("chunk", "Pictures a pass", "int", 32, "Masked pictures that the classifier sees at once.",
                      1, 4096, group=GROUP),
            ),
        ),
        MethodSpec(
            "guided_backprop",
            "Guided backpropagation",
            "mlcore.attribution.guided_backprop.GuidedBackprop",
            "The gradient at the picture, with negative signals stopped at every ReLU.",
            "Springenberg et al., Striving for Simplicity, ICLR Workshops 2015",
            needs=("gradient",),
            fields=(_preset(HARMONY), _channels("sum")),
            resolution="input",
            signed=True,
            differentiable=True,
        ),
        MethodSpec(
            "guided_grad_cam",
            "Guided Grad-CAM",
            "mlcore.attribution.guided_grad_cam.GuidedGradCAM",
            "Guided backpropagation times Grad-CAM enlarged to the picture.",
            "Selvaraju et al., Grad-CAM, ICCV 2017",
            needs=("gradient",),
            fields=(LAYER, _channels("sum")),
            resolution="input",
            signed=True,
        ),
        MethodSpec(
            "input_x_gradient",
            "Input × Gradient",
            "mlcore.attribution.input_x_gradient.InputXGradient",
            "The gradient of the class score at the picture times the picture.",
            "Shrikumar et al., Not Just a Black Box, 2016",
            needs=("gradient",),
            fields=(_preset(HARMONY), _channels("sum")),
            resolution="input",
            signed=True,
            differentiable=True,
        ),
        MethodSpec(
            "integrated_gradients",
            "Integrated Gradients",
            "mlcore.attribution.integrated_gradients.IntegratedGradients",
            "Gradients summed on the way from a grey picture to this one, times the difference.",
            "Sundararajan et al., Axiomatic Attribution, ICML 2017",
            needs=("gradient",),
            fields=(
                Field("steps", "Steps", "int", 50, "Points on the way.", 2, 1000, group=GROUP),
                _channels("sum"),
            ),
            resolution="input",
            signed=True,
        ),
        MethodSpec(
            "smooth_grad",
            "SmoothGrad",
            "mlcore.attribution.smooth_grad.SmoothGrad",
            "The gradient at the picture, averaged over noisy copies of it.",
            "Smilkov et al., SmoothGrad, 2017",
            needs=("gradient",),
            fields=(
                Field("samples", "Noisy copies", "int", 50, "", 1, 1000, group=GROUP),
                Field("noise", "Noise", "float", 0.15, "Its deviation as a share of the picture's own range.", 0.0,
                      1.0, group=GROUP),
                SEED,
                _channels("abs_sum"),
            ),
            resolution="input",
            stochastic=True,
        ),
        MethodSpec(
            "lrp",
            "LRP ε+",
            "mlcore.attribution.lrp.LRPEpsilonPlus",
            "The class score shared out layer by layer: positive parts on convolutions, ε on linear layers.",
            "Bach et al., LRP, PLoS ONE 2015; Montavon et al., 2019",
            needs=("gradient",),
            fields=(
                DEPTH,
                _preset(("harmony", "HARMONY: contrast with all classes, clamped at 0, 224 px")),
                Field("epsilon", "ε", "float", 1e-6, "Keeps divisions on linear layers stable.", 0.0, 1.0,
                      group=GROUP),
            ),
            resolution="input",
            signed=True,
            differentiable=True,
        ),
        MethodSpec(
            "excitation_backprop",
            "Excitation backpropagation",
            "mlcore.attribution.excitation_backprop.ExcitationBackprop",
            "A winner's probability passed down through positive weights only.",
            "Zhang et al., Excitation Backprop, IJCV 2018",
            needs=("gradient",),
            fields=(
                DEPTH,
                _preset(("harmony", "HARMONY: contrast with all classes, clamped at 0, 224 px")),
            ),
            resolution="input",
            differentiable=True,
        ),
        MethodSpec(
            "rise",
            "RISE",
            "mlcore.attribution.rise.RISE",
            "Random masks, each weighed by the class's probability behind it; the classifier is a black box.",
            "Petsiuk et al., RISE, BMVC 2018",
            fields=(
                Field("masks", "Masks", "int", 8000, "How often the classifier is asked about each picture.", 1,
                      100_000, group=GROUP),
                Field("cells", "Cells", "int", 7, "Of a mask's side before it is enlarged.", 1, 64, group=GROUP),
                Field("keep", "Share kept", "float", 0.5, "Chance of a cell to be seen.", 0.01, 0.99, group=GROUP),
                SEED,
                _preset(("torchray", "TorchRay: not divided by the share kept")),
                Field("chunk", "Pictures a pass", "int", 64, "Masked pictures that the classifier sees at once.",
                      1, 4096, group=GROUP),
            ),
            resolution="input",
            stochastic=True,
        ),
        MethodSpec(
            "tame",
            "TAME",
            "mlcore.attribution.tame.TAME",
            "A small trained attention module reads several layers and draws each class's map in one pass.",
            "Ntrougkas et al., TAME, ISM 2022",
            needs=("attention",),
            fields=(ATTENTION, SCALED),
            differentiable=True,
        ),
        MethodSpec(
            "l_cam",
            "L-CAM",
            "mlcore.attribution.l_cam.LCAM",
            "A trained attention over the last layer alone.",
            "Gkartzonika et al., L-CAM, 2022",
            needs=("attention",),
            fields=(ATTENTION, SCALED),
            differentiable=True,
        ),
        MethodSpec(
            "centre",
            "Centre (baseline)",
            "mlcore.attribution.baselines.Centre",
            "A blob in the middle of every picture: what a metric gives to someone who looks at nothing.",
            fields=(Field("width", "Width", "float", 0.25, "Deviation of the blob as a share of each side.", 0.01,
                          1.0, group=GROUP),),
            class_specific=False,
            resolution="input",
            baseline=True,
        ),
        MethodSpec(
            "random",
            "Random (baseline)",
            "mlcore.attribution.baselines.Random",
            "Noise, the same for the same picture: what a metric gives to chance.",
            fields=(SEED,),
            class_specific=False,
            resolution="input",
            stochastic=True,
            baseline=True,
        ),
    )
}  # fmt: skip
