"""One tester for every method of the catalogue: what holds for each of them, and what each declares of itself."""

import inspect
import pickle
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from mlcore.attribution import METHODS
from mlcore.attribution.base import Attribution
from mlcore.attribution.maps import status
from mlcore.catalogue import METHODS as SPECS
from tests.mlcore.attribution.test_side_effects import assert_same
from tests.mlcore.attribution.tester import CLASSES, SIZE, TARGETS, all_traces, method_for, mirrored, net, pictures

EVERY = pytest.mark.parametrize("name", list(SPECS))
WITH_A_MODEL = pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.baseline])
DIFFERENTIABLE = [name for name, spec in SPECS.items() if spec.differentiable]


def same(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@EVERY
def test_maps_come_batch_first_in_float32_and_without_a_graph(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        maps = method_for(name, net(dtype)).explain(pictures(dtype).requires_grad_(), TARGETS)
        side = SIZE if SPECS[name].resolution == "input" else maps.shape[-1]
        assert maps.shape == (3, side, side)
        assert (maps.dtype, maps.requires_grad) == (torch.float32, False)
        assert status(maps) == ["ok"] * 3
    assert (side < SIZE) == (SPECS[name].resolution == "layer")
    assert method_for(name, net()).explain(pictures()[:0], TARGETS[:0]).shape[0] == 0


@EVERY
def test_a_batch_is_its_images_one_by_one(name: str) -> None:
    method = method_for(name, net())
    maps = method.explain(pictures(), TARGETS)
    one_by_one = [method.explain(pictures()[i : i + 1], TARGETS[i : i + 1]) for i in range(3)]
    same(maps, torch.cat(one_by_one))
    same(method.explain(pictures(), TARGETS, internal_batch_size=2), maps)
    same(method.explain(pictures().flip(0), TARGETS.flip(0)).flip(0), maps)


@EVERY
def test_several_classes_are_the_classes_one_by_one(name: str) -> None:
    method = method_for(name, net())
    several = torch.tensor([[0, 1], [2, 2], [1, 0]])
    maps = method.explain(pictures(), several)
    same(maps, torch.stack([method.explain(pictures(), column) for column in several.unbind(1)], dim=1))
    same(method.explain(pictures(), several, internal_batch_size=2), maps)


@EVERY
def test_classes_may_be_one_number_or_what_the_logits_say(name: str) -> None:
    model = net()
    method = method_for(name, model)
    same(method.explain(pictures(), 1), method.explain(pictures(), torch.tensor([1, 1, 1])))
    predicted = deepcopy(model).eval()(pictures()).argmax(1)
    same(method.explain(pictures(), lambda logits: logits.argmax(1)), method.explain(pictures(), predicted))


@WITH_A_MODEL
def test_a_class_that_there_is_not_is_refused(name: str) -> None:
    method = method_for(name, net())
    for wrong in (torch.tensor([0, 1, CLASSES]), -1):
        with pytest.raises(ValueError, match="classes 0 to 2"):
            method.explain(pictures(), wrong)
    with pytest.raises(ValueError, match="need as many target classes"):
        method.explain(pictures(), torch.tensor([0, 1]))


@EVERY
def test_it_is_of_the_class_and_signed_as_declared(name: str) -> None:
    spec = SPECS[name]
    method = method_for(name, net())
    maps = method.explain(pictures(), torch.arange(CLASSES).expand(3, -1))
    for first, second in zip(maps.unbind(1), maps.roll(1, dims=1).unbind(1), strict=True):
        assert torch.equal(first, second) != spec.class_specific
    assert bool((maps < 0).any()) == spec.signed


@EVERY
def test_explaining_leaves_no_trace(name: str) -> None:
    method = method_for(name, net())
    before = all_traces(method)
    method.explain(pictures(), TARGETS)
    method.explain(pictures(), TARGETS[:, None].expand(-1, 2))
    assert_same(before, all_traces(method))


@WITH_A_MODEL
@pytest.mark.parametrize("where", ["in the middle", "at the end"])
def test_a_network_that_breaks_is_left_as_it_was(name: str, where: str) -> None:
    model = net()
    method = method_for(name, model)
    (model.features[3] if where == "in the middle" else model.late).broken = True
    before = all_traces(method)
    # Whoever chooses by the class scores runs the network to its end; a closed form need not.
    given = (TARGETS, TARGETS[:, None]) if where == "in the middle" else (lambda logits: TARGETS,)
    for targets in given:
        with pytest.raises(RuntimeError, match="the network broke"):
            method.explain(pictures(), targets)
    assert_same(before, all_traces(method))
    if SPECS[name].differentiable:
        with pytest.raises(RuntimeError, match="the network broke"):
            method.forward(pictures(), TARGETS, create_graph=True)
        kept = (" hooks", " learns", " mode", " grad")
        after = all_traces(method)
        for key in [key for key in before if key.endswith(kept)]:
            assert_same({key: before[key]}, {key: after[key]})


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if not spec.stochastic])
def test_a_mirrored_picture_has_a_mirrored_map(name: str) -> None:
    model = net()
    maps = method_for(name, model).explain(pictures(), TARGETS)
    same(method_for(name, mirrored(model)).explain(pictures().flip(-1), TARGETS).flip(-1), maps)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.stochastic])
def test_chance_comes_from_the_seed(name: str) -> None:
    model = net()
    first, again, other = (method_for(name, model, seed=seed).explain(pictures(), TARGETS) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@EVERY
def test_pictures_that_say_nothing_are_counted_and_spoil_no_other(name: str) -> None:
    method = method_for(name, net())
    batch = pictures(count=4)
    batch[1], batch[2] = 0.25, torch.nan
    targets = torch.tensor([0, 1, 1, 2])
    maps = method.explain(batch, targets)
    found = status(maps)
    assert found[0] == found[3] == "ok"
    assert found[1] != "nonfinite"
    assert SPECS[name].baseline or found[2] != "ok"
    same(maps[[0, 3]], method.explain(batch[[0, 3]], targets[[0, 3]]))
    same(method.explain(batch, targets, internal_batch_size=1)[[0, 1, 3]], maps[[0, 1, 3]])


@WITH_A_MODEL
def test_a_classifier_that_says_nothing_gives_maps_without_a_nan(name: str) -> None:
    model = net()
    torch.nn.init.zeros_(model.fc.weight)
    torch.nn.init.zeros_(model.fc.bias)
    assert "nonfinite" not in status(method_for(name, model).explain(pictures(), TARGETS))


@EVERY
def test_in_lower_precision_maps_are_float32(name: str) -> None:
    method = method_for(name, net(torch.float32))
    before = all_traces(method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = method.explain(pictures(torch.float32), TARGETS)
    assert maps.dtype == torch.float32
    assert status(maps) == ["ok"] * 3
    assert_same(before, all_traces(method))


@EVERY
def test_the_callers_modes_of_recording_do_not_matter(name: str) -> None:
    method = method_for(name, net())
    maps = method.explain(pictures(), TARGETS)
    with torch.no_grad():
        same(method.explain(pictures(), TARGETS), maps)
    with torch.inference_mode():
        same(method.explain(pictures(), TARGETS), maps)


@pytest.mark.parametrize("name", [name for name in SPECS if name not in DIFFERENTIABLE])
def test_what_cannot_be_trained_through_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match="cannot be trained through"):
        method_for(name, net()).forward(pictures(), TARGETS, create_graph=True)


def trainable(name: str) -> tuple[Attribution, dict[str, bool]]:
    """In eval mode, all parameters learning; and what makes the derivative a whole one."""
    model = net().eval().requires_grad_()
    model.zero_grad(set_to_none=True)
    method = method_for(name, model)
    getattr(method, "attention", model).eval()
    whole = "stop_gradient_weights" in inspect.signature(method.forward).parameters
    return method, {"stop_gradient_weights": False} if whole else {}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_shared_forward_gives_the_logits_and_the_same_maps(name: str) -> None:
    method, _ = trainable(name)
    logits, maps = method.forward(pictures(), TARGETS, create_graph=True)
    torch.testing.assert_close(logits, method.model(pictures()))
    assert logits.requires_grad
    assert maps.requires_grad
    same(maps.detach().float(), method.explain(pictures(), TARGETS))
    assert not method.forward(pictures(), TARGETS, create_graph=False)[1].requires_grad
    with torch.no_grad():
        logits, detached = method.forward(pictures(), TARGETS, create_graph=True)
    same(detached, maps.detach())
    assert not logits.requires_grad
    assert not detached.requires_grad


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_the_derivative_by_the_parameters_is_right(name: str) -> None:
    method, options = trainable(name)
    # Those that the map goes through: gradcheck moves each in place, and back.
    learn = [*method.model.parameters(), *getattr(method, "attention", torch.nn.Module()).parameters()]
    weights = torch.randn(2, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def maps(*_parameters: Tensor) -> Tensor:
        made = method.forward(pictures()[:2], TARGETS[:2], create_graph=True, **options)[1]
        return (made * weights).sum(0)

    assert torch.autograd.gradcheck(maps, tuple(learn), fast_mode=True, eps=1e-7, atol=1e-5)


@EVERY
def test_specs_and_methods_travel(name: str) -> None:
    assert pickle.loads(pickle.dumps(SPECS[name])) == SPECS[name]
    method = method_for(name, net())
    maps = method.explain(pictures(), TARGETS)
    for copy in (pickle.loads(pickle.dumps(method)), deepcopy(method)):
        same(copy.explain(pictures(), TARGETS), maps)


@EVERY
def test_every_option_of_the_catalogue_is_the_methods_own(name: str) -> None:
    given = {field.name: field.default for field in SPECS[name].fields}
    known = inspect.signature(METHODS[name].__init__).parameters
    assert given.keys() <= known.keys()
    # An attention that is not named is the classifier's newest, which runs find out; here it is the tester's.
    small = {key: value for key, value in given.items() if key not in ("masks", "steps", "samples", "attention")}
    # Runs draw c scaled, so that no map is one colour; the class by itself gives σ(c), as published.
    other = {key: value for key, value in small.items() if key in ("cells", "scaled")}
    same(
        method_for(name, net(), **small).explain(pictures(), TARGETS),
        method_for(name, net(), **other).explain(pictures(), TARGETS),
    )
    assert issubclass(METHODS[name], Attribution)
    assert METHODS[name].__doc__


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_maps_stay_on_the_device_and_are_the_same_there() -> None:
    for name in SPECS:
        here = method_for(name, net())
        expected = here.explain(pictures(), TARGETS)
        attention = getattr(here, "attention", None)
        given = {} if attention is None else {"attention": deepcopy(attention).cuda()}
        method = method_for(name, net().cuda(), **given)
        state = torch.cuda.get_rng_state()
        maps = method.explain(pictures().cuda(), TARGETS.cuda())
        assert maps.device.type == "cuda", name
        torch.testing.assert_close(maps.cpu(), expected, atol=1e-5, rtol=1e-4)
        same(method.explain(pictures().cuda(), TARGETS), maps)
        assert torch.equal(torch.cuda.get_rng_state(), state), name
