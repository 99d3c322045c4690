"""Attribution methods (definitions §1)."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.spec import Spec

LAYER = Field(
    "layer", "Layer", "text", "",
    "Name of the module whose output is explained. Empty: the last layer with space left in it.", group="Method",
)  # fmt: skip
PRESET = Field(
    "preset", "Preset", "choice", "default",
    "A published system's exact form, to check published numbers; default is the corrected form.",
    choices=(
        ("default", "default"),
        ("gradia", "GRADIA: true class, no ReLU"),
        ("harmony", "HARMONY: clamped at 0"),
    ),
    group="Method",
)  # fmt: skip

METHODS: dict[str, Spec] = {
    spec.name: spec
    for spec in (
        Spec(
            "grad_cam",
            "Grad-CAM",
            "mlcore.attribution.grad_cam.GradCAM",
            "Feature maps of one layer, weighted by the mean gradient of the class score.",
            "Selvaraju et al., Grad-CAM, ICCV 2017",
            needs=("gradient",),
            fields=(LAYER, PRESET),
        ),
        Spec(
            "hires_cam",
            "HiResCAM",
            "mlcore.attribution.grad_cam.HiResCAM",
            "Grad-CAM with the gradient multiplied cell by cell instead of averaged.",
            "Draelos & Carin, HiResCAM, 2020",
            needs=("gradient",),
            fields=(LAYER, PRESET),
        ),
    )
}
