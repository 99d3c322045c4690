"""Grad-CAM: the closed form, autograd and captum are one definition (definitions §1)."""

from collections.abc import Callable

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn

from mlcore.attribution.grad_cam import GradCAM
from mlcore.attribution.hires_cam import HiResCAM
from mlcore.training.classifiers import build
from tests.mlcore.attribution.nets import (
    ConvPool,
    Curved,
    MeanLinear,
    PoolConv,
    PoolLinear,
    ReluPool,
    Transparent,
    finite_differences,
    images,
)

TOY_NETS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "pool-linear": (PoolLinear, "pool_linear"),
    "mean-linear": (MeanLinear, "pool_linear"),
    "pool-conv": (PoolConv, "pool_linear"),
    "relu-pool-linear": (ReluPool, "relu_pool_linear"),
    "conv-pool": (lambda: ConvPool(relu=False), "conv_pool"),
    "conv-relu-pool": (lambda: ConvPool(relu=True), "conv_relu_pool"),
}


def toy(name: str) -> nn.Module:
    torch.manual_seed(3)
    model = TOY_NETS[name][0]().double()
    model(images(8))  # BatchNorm statistics that are not the initial ones
    return model.eval()


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    difference = (ours.detach().double() - theirs.detach().double()).abs().max()
    return float(difference / theirs.detach().abs().max())


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("name", TOY_NETS)
def test_closed_form_equals_autograd_and_captum(name: str, relu: bool) -> None:
    model, pictures, targets = toy(name), images(), torch.tensor([0, 2, 3])
    closed = GradCAM(model, form="closed", relu=relu)
    assert closed.head is not None
    assert closed.head.kind == TOY_NETS[name][1]
    oracle = LayerGradCam(model, model.features).attribute(pictures, targets, relu_attributions=relu)[:, 0]
    assert oracle.abs().amax(dim=(1, 2)).min() > 0, "the oracle must have something to compare"
    assert relative_difference(closed.explain(pictures, targets), oracle) < 1e-5
    autograd = GradCAM(model, form="autograd", relu=relu)
    assert autograd.head is None
    assert relative_difference(autograd.explain(pictures, targets), oracle) < 1e-5


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("resnet18", "pool_linear"), ("squeezenet1_1", "conv_relu_pool"), ("mobilenet_v2", "pool_linear")],
)
def test_closed_form_equals_autograd_and_captum_on_torchvision(architecture: str, kind: str) -> None:
    torch.manual_seed(0)
    model = build(architecture, 7).double().train()
    pictures, targets = images(2, 96), torch.tensor([1, 5])
    for _ in range(3):  # statistics of the data at hand, or a random MobileNetV2 fades to nothing
        model(pictures)
    model.eval()
    closed, autograd = GradCAM(model, form="closed"), GradCAM(model, form="autograd")
    assert closed.head is not None
    assert closed.head.kind == kind
    layer = model.get_submodule(closed.layer)
    oracle = LayerGradCam(model, layer).attribute(pictures, targets, relu_attributions=True)[:, 0]
    assert oracle.max() > 0
    assert relative_difference(closed.explain(pictures, targets), oracle) < 1e-5
    assert relative_difference(autograd.explain(pictures, targets), oracle) < 1e-5


def test_map_by_hand() -> None:
    model = Transparent()
    picture = torch.zeros(1, 3, 2, 2)
    picture[0, 1] = torch.tensor([[1.0, -2.0], [4.0, 8.0]])
    expected = torch.tensor([[[0.25, 0.0], [1.0, 2.0]]])  # W = 1 on channel 1, divided by h·w = 4, ReLU
    assert torch.equal(GradCAM(model).explain(picture, 1), expected)
    assert torch.equal(GradCAM(model, relu=False).explain(picture, 1)[0, 0, 1], torch.tensor(-0.5))


def test_relu_between_convolution_and_pool_counts_positive_cells_by_hand() -> None:
    model = nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.no_grad():
        model[1].weight.fill_(2.0)
        model[1].bias.fill_(-3.0)
    picture = torch.tensor([[[[1.0, 2.0], [3.0, -1.0]]]])  # logits −1, 1, 3, −5: two of four are positive
    expected = torch.tensor([[[2.0, 4.0], [6.0, 0.0]]]) / 4 * (2 / 4)
    for form in ("closed", "autograd"):
        assert torch.allclose(GradCAM(model, "0", form=form).explain(picture, 0), expected)
    elementwise = torch.tensor([[[0.0, 4.0], [6.0, 0.0]]]) / 4
    for form in ("closed", "autograd"):
        assert torch.allclose(HiResCAM(model, "0", form=form).explain(picture, 0), elementwise)


def test_relu_before_the_pool_counts_each_channels_positive_cells_by_hand() -> None:
    model = nn.Sequential(nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 1))
    with torch.no_grad():
        model[4].weight.copy_(torch.tensor([[8.0, 16.0]]))
    picture = torch.tensor([[[[1.0, 2.0], [3.0, -1.0]], [[0.0, 1.0], [-2.0, -4.0]]]])
    # g is 8/4 in 3 of 4 cells of the first channel, 16/4 in 1 of 4 of the second: α = 1.5 and 1
    expected = torch.tensor([[[1.5, 4.0], [2.5, -5.5]]])
    elementwise = torch.tensor([[[2.0, 8.0], [6.0, 0.0]]])
    for form in ("closed", "autograd"):
        assert torch.allclose(GradCAM(model, "0", form=form, relu=False).explain(picture, 0), expected)
        assert torch.allclose(HiResCAM(model, "0", form=form, relu=False).explain(picture, 0), elementwise)


def test_elementwise_equals_grad_cam_on_a_linear_head_and_differs_elsewhere() -> None:
    pictures, targets = images(), torch.tensor([0, 1, 2])
    model = toy("pool-linear")
    plain = GradCAM(model).explain(pictures, targets)
    for form in ("closed", "autograd"):
        assert relative_difference(HiResCAM(model, form=form).explain(pictures, targets), plain) < 1e-5
    bent = toy("conv-relu-pool")
    by_cell = HiResCAM(bent, form="autograd").explain(pictures, targets)
    assert relative_difference(HiResCAM(bent, form="closed").explain(pictures, targets), by_cell) < 1e-5
    assert relative_difference(GradCAM(bent).explain(pictures, targets), by_cell) > 1e-2


@pytest.mark.parametrize("form", ["closed", "autograd"])
@pytest.mark.parametrize("name", TOY_NETS)
def test_a_batch_of_n_is_n_batches_of_one(name: str, form: str) -> None:
    model, pictures, targets = toy(name).train(), images(4), torch.tensor([3, 0, 1, 1])
    method = GradCAM(model, form=form, relu=False)
    together = method.explain(pictures, targets)
    singly = torch.cat([method.explain(pictures[i : i + 1], targets[i : i + 1]) for i in range(4)])
    assert relative_difference(together, singly) < 1e-6


def test_targets_may_be_one_class_or_a_function_of_the_logits() -> None:
    model, pictures = toy("pool-linear"), images()
    with torch.no_grad():
        predicted = model(pictures).argmax(dim=1)
    method = GradCAM(model)
    assert torch.equal(method.explain(pictures, lambda z: z.argmax(dim=1)), method.explain(pictures, predicted))
    assert torch.equal(method.explain(pictures, 2), method.explain(pictures, torch.tensor([2, 2, 2])))


@pytest.mark.parametrize(
    ("targets", "said"), [(torch.tensor([0, 1]), "3 images"), (torch.tensor([0, 1, 4]), "0 to 3"), (-1, "0 to 3")]
)
def test_targets_that_do_not_fit_are_refused(targets: Tensor | int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GradCAM(toy("pool-linear")).explain(images(), targets)


def test_preset_gradia_trains_without_relu_and_explains_with_it() -> None:
    method = GradCAM(toy("pool-linear"), preset="gradia")
    _, maps = method.forward(images(), torch.tensor([0, 1, 2]), create_graph=True)
    assert maps.min() < 0
    shown = method.explain(images(), torch.tensor([0, 1, 2]))
    assert shown.min() == 0
    assert torch.allclose(shown, maps.detach().clamp(min=0).float())


def test_preset_harmony_explains_the_last_convolution_before_its_norm_at_224() -> None:
    torch.manual_seed(0)
    model = build("resnet18", 5).double().eval()
    method = GradCAM(model, preset="harmony")
    assert method.layer == "layer4.1.conv2"
    pictures, targets = images(2, 64), torch.tensor([0, 4])
    maps = method.explain(pictures, targets)
    assert maps.shape == (2, 224, 224)
    oracle = LayerGradCam(model, model.layer4[1].conv2).attribute(pictures, targets, relu_attributions=True)
    enlarged = nn.functional.interpolate(oracle, (224, 224), mode="bilinear", align_corners=False)[:, 0]
    assert relative_difference(maps, enlarged) < 1e-5
    with torch.device("meta"):  # only its names are looked at
        vgg = build("vgg11", 5)
    assert GradCAM(vgg, preset="harmony").layer == "avgpool"
    with pytest.raises(ValueError, match="SqueezeNet: name the layer"):
        GradCAM(build("squeezenet1_1", 5), preset="harmony")


@pytest.mark.parametrize("form", ["closed", "autograd"])
def test_preset_grid_is_a_distribution_over_the_cells_and_uniform_where_nothing_speaks_for_the_class(form: str) -> None:
    model = Transparent()
    picture = torch.zeros(2, 3, 2, 2)
    picture[0, 1] = torch.tensor([[1.0, -2.0], [4.0, 3.0]])
    picture[1, 1] = -1.0
    expected = torch.tensor([[0.125, 0.0], [0.5, 0.375]])
    for method in (GradCAM(model, preset="grid", form=form), HiResCAM(model, preset="grid", form=form)):
        maps = method.explain(picture, 1)
        assert torch.allclose(maps[0], expected, atol=1e-7)
        assert torch.equal(maps[1], torch.full((2, 2), 1e-8))
    bent = toy("conv-relu-pool")
    targets = torch.tensor([0, 1, 2])
    raw = HiResCAM(bent, form="autograd").explain(images(), targets).double()
    wanted = raw / (raw.sum((1, 2), keepdim=True) + 1e-8) + 1e-8
    assert torch.allclose(GradCAM(bent, preset="grid", form=form).explain(images(), targets).double(), wanted)


@pytest.mark.parametrize("form", ["closed", "autograd"])
def test_preset_grid_can_be_trained_through_and_by_finite_differences(form: str) -> None:
    model, targets = toy("conv-pool").eval(), torch.tensor([0, 1, 2])
    method = GradCAM(model, preset="grid", form=form)
    goal = torch.rand(3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def value() -> Tensor:
        return (method.forward(images(), targets, create_graph=True, stop_gradient_weights=False)[1] * goal).sum()

    value().backward()
    weight = model.features[3].bias
    assert weight.grad.abs().sum() > 0
    assert torch.allclose(weight.grad, finite_differences(lambda: float(value().detach()), weight), atol=1e-6)


@pytest.mark.parametrize("form", ["closed", "autograd"])
@pytest.mark.parametrize("name", TOY_NETS)
@pytest.mark.parametrize("preset", ["default", "grid"])
def test_several_classes_an_image_take_one_forward_pass(name: str, form: str, preset: str) -> None:
    model, several = toy(name), torch.tensor([[0, 3], [2, 2], [1, 0]])
    method = GradCAM(model, form=form, preset=preset)
    calls = []
    model.features.register_forward_hook(lambda *_: calls.append(1))
    maps = method.explain(images(), several)
    assert maps.shape == (3, 2, 8, 8)
    assert len(calls) == 1
    for column in (0, 1):
        assert torch.allclose(maps[:, column], method.explain(images(), several[:, column]), atol=1e-7)
    _, trained = method.forward(images(), several, create_graph=True)
    assert torch.allclose(trained.detach().float(), maps, atol=1e-7)
    assert trained.requires_grad


@pytest.mark.parametrize("form", ["auto", "autograd"])
def test_forward_gives_the_models_own_logits_and_keeps_their_graph(form: str) -> None:
    model = toy("pool-linear")
    logits, maps = GradCAM(model, form=form).forward(images(), torch.tensor([0, 1, 2]), create_graph=False)
    assert torch.equal(logits, model(images()))
    assert logits.requires_grad
    assert not maps.requires_grad
    with torch.no_grad():
        quiet_logits, quiet_maps = GradCAM(model, form=form).forward(
            images(), torch.tensor([0, 1, 2]), create_graph=True
        )
    assert not quiet_logits.requires_grad
    assert not quiet_maps.requires_grad
    assert torch.allclose(quiet_maps, maps)


@pytest.mark.parametrize("form", ["auto", "autograd"])
def test_frozen_parameters_and_inference_mode_make_no_difference(form: str) -> None:
    model, targets = toy("pool-linear"), torch.tensor([0, 1, 2])
    expected = GradCAM(model, form=form).explain(images(), targets)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert torch.equal(GradCAM(model, form=form).explain(images(), targets), expected)
    assert torch.allclose(GradCAM(model, form=form).forward(images(), targets, create_graph=True)[1].float(), expected)
    with torch.inference_mode():
        assert torch.equal(GradCAM(model, form=form).explain(images(), targets), expected)


def test_gradient_reaches_the_head_only_in_second_order() -> None:
    for form in ("closed", "autograd"):
        for stopped in (True, False):
            model = toy("pool-linear")
            _, maps = GradCAM(model, form=form).forward(
                images(), torch.tensor([0, 1, 2]), create_graph=True, stop_gradient_weights=stopped
            )
            maps.square().sum().backward()
            assert model.features[0].weight.grad is not None
            head_moves = model.fc.weight.grad is not None and bool(model.fc.weight.grad.abs().sum() > 0)
            assert head_moves != stopped


def test_unknown_words_are_refused_in_a_sentence() -> None:
    model = Curved()
    with pytest.raises(ValueError, match="more than a pool and one linear layer"):
        GradCAM(model, form="closed")
    with pytest.raises(ValueError, match="forms auto, closed and autograd"):
        GradCAM(model, form="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="presets default, gradia, grid and harmony"):
        GradCAM(model, preset="tame")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no layer “layer9” in Curved; it is made of features, hidden, fc"):
        GradCAM(model, "layer9")


def test_half_precision_features_give_a_float32_map() -> None:
    model = toy("pool-linear").float()
    pictures, targets = images(dtype=torch.float32), torch.tensor([0, 1, 2])
    exact = GradCAM(model).explain(pictures, targets)
    for form in ("closed", "autograd"):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, maps = GradCAM(model, form=form).forward(pictures, targets, create_graph=True)
        assert maps.dtype == torch.float32
        assert relative_difference(maps, exact) < 0.05
