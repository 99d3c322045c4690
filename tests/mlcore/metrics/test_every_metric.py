"""One tester for every metric of the catalogue: what holds for each of them, and what each declares of itself."""

import json
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

from mlcore.attribution.maps import upsample
from mlcore.catalogue import METRICS as SPECS
from mlcore.metrics import METRICS, score
from mlcore.metrics.base import feed
from mlcore.metrics.inputs import IMAGENET
from tests.mlcore.attribution.test_side_effects import assert_same, traces
from tests.mlcore.metrics.tester import (
    NAMES,
    SIZE,
    SMALL,
    Colour,
    batch,
    classifier,
    fresh,
    patches,
    rows,
    usual,
    values,
)

EVERY = pytest.mark.parametrize("name", list(SPECS))
OF_MAPS = pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if "map" in spec.needs])
ASKING = pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if "model" in spec.needs])
TAKES = {"map": "maps", "mask": "masks", "person": "people", "model": "images"}
# The mosaic of four pictures depends on their order; superpixels begin in the upper left corner; noise is not mirrored.
ORDERED = {"focus", "combined"}
UNMIRRORED = {"irof", *(name for name, spec in SPECS.items() if spec.stochastic)}


def close(got: dict[str, float], expected: dict[str, float], tolerance: float = 1e-5) -> None:
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name


@EVERY
def test_it_is_what_the_catalogue_says(name: str) -> None:
    spec, metric = SPECS[name], fresh(name)
    assert metric.name == name
    assert metric.spec is spec
    assert spec.higher_is_better in (True, False)
    for need in spec.needs:
        assert TAKES.get(need, "names") in metric.takes
    for what in set(metric.takes) & {"maps", "masks", "people", "images"}:
        assert any(TAKES.get(need) == what for need in (*spec.needs, "model"))
    feed(metric, batch())
    found = metric.compute()
    assert found["metric"] == name
    assert (found["n"], found["left_out"]) == (len(metric.per_image), {})
    assert set(metric.per_image) == set(NAMES)
    if name in ORDERED:
        assert found["low"] is None  # one mosaic
    else:
        assert found["low"] - 1e-12 <= found["value"] <= found["high"] + 1e-12
    json.dumps(found, allow_nan=False)
    low, high = {"share": (0, 1), "%": (0, 100), "": (-1, math.inf)}.get(spec.unit, (0, math.inf))
    if name in ("spearman", "pearson", "ssim"):
        low, high = -1, 1
    elif name == "irof":  # a class may gain from what is removed
        low = -math.inf
    assert all(low <= value <= high for value in metric.per_image.values())


@EVERY
def test_a_batch_is_its_images_one_by_one_in_any_order(name: str) -> None:
    given = batch()
    for order in ([0, 1, 2, 3],) if name in ORDERED else ([0, 1, 2, 3], [2, 0, 3, 1]):
        singly = fresh(name)
        for row in order:
            feed(singly, rows(given, [row]))
        singly.compute()
        close(singly.per_image, usual(name))


@EVERY
def test_reset_forgets_and_an_image_given_again_counts_once(name: str) -> None:
    metric = fresh(name)
    feed(metric, batch())
    before = metric.compute()
    feed(metric, batch())
    close({"value": metric.compute()["value"]}, {"value": before["value"]})
    assert metric.compute()["n"] == before["n"]
    metric.reset()
    after = metric.compute()
    assert (after["value"], after["n"], after["left_out"], after["low"]) == (None, 0, {}, None)
    feed(metric, batch())
    assert metric.compute() == before


@EVERY
def test_nothing_at_all_is_no_error(name: str) -> None:
    metric = fresh(name)
    feed(metric, rows(batch(), []))
    assert metric.compute()["n"] == 0


@EVERY
def test_columns_of_different_length_are_refused(name: str) -> None:
    given = batch()
    given["names"] = [*NAMES, "extra"]
    with pytest.raises(ValueError, match="5 names"):
        feed(fresh(name), given)


@OF_MAPS
def test_maps_that_say_nothing_are_counted_by_name(name: str) -> None:
    given = batch()
    given["maps"][0] = 0.0
    given["maps"][1, 2, 3] = math.nan
    given["maps"][2, 2, 3] = math.inf
    metric = fresh(name)
    feed(metric, given)
    found = metric.compute()
    assert set(metric.per_image) == {"kite"}
    assert found["left_out"].pop("non-finite map") == 2
    assert list(found["left_out"].values()) == [1]
    assert next(iter(found["left_out"])) in ("zero map", "constant map")
    assert (found["n"], found["low"]) == (1, None)
    assert math.isfinite(found["value"])
    close({"kite": metric.per_image["kite"]}, {"kite": usual(name)["kite"]})


@EVERY
def test_masks_people_and_pictures_that_say_nothing_are_counted_by_name(name: str) -> None:
    metric, given = fresh(name), batch()
    if "masks" in metric.takes:
        given["masks"][1] = False
        reason = "empty mask"
    elif "people" in metric.takes:
        given["people"][1] = math.nan
        reason = "empty person's map"
    elif "images" in metric.takes and name not in ORDERED:
        given["images"][1, 0, 0, 0] = math.nan
        reason = "non-finite"
    elif "logits" in metric.takes:
        given["logits"][1, 0] = math.nan
        reason = "non-finite"
    else:
        return
    feed(metric, given)
    found = metric.compute()
    assert "crow" not in metric.per_image
    assert [reason in said for said in found["left_out"]] == [True]
    json.dumps(found, allow_nan=False)


@EVERY
def test_precision_and_what_is_given_are_left_alone(name: str) -> None:
    given = batch()
    lower = given["maps"].bfloat16()
    rounded = values(name, given | {"maps": lower.float()})
    close(values(name, given | {"maps": lower}), rounded)
    if not SPECS[name].costly:
        close(values(name, given | {"maps": lower.double()}), rounded)
    kept = {key: value.clone() for key, value in given.items() if isinstance(value, Tensor)}
    asked = given | {"maps": given["maps"].clone().requires_grad_(), "images": given["images"].clone().requires_grad_()}
    metric = fresh(name)
    feed(metric, asked)
    assert asked["maps"].grad is None
    assert asked["images"].grad is None
    assert all(type(value) is float for value in metric.per_image.values())
    for key, value in kept.items():
        assert torch.equal(given[key].nan_to_num(9), value.nan_to_num(9))
    if SPECS[name].stochastic:
        return
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = values(name, given)
    assert mixed.keys() == usual(name).keys()
    if "model" not in SPECS[name].needs:
        close(mixed, usual(name))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no accelerator here")
@EVERY
def test_an_accelerator_gives_the_same(name: str) -> None:
    given = {key: value.cuda() if isinstance(value, Tensor) else value for key, value in batch().items()}
    close(values(name, given, model=classifier().cuda()), usual(name), 1e-3)


@pytest.mark.parametrize("name", [name for name in SPECS if name not in UNMIRRORED])
def test_a_mirrored_world_has_the_same_value(name: str) -> None:
    given = batch()
    if "model" in SPECS[name].needs:  # equal pixels are ranked in reading order: there are none in these maps
        generator = torch.Generator().manual_seed(9)
        given["maps"] = upsample(given["maps"], (SIZE, SIZE)) + 0.01 * torch.rand(4, SIZE, SIZE, generator=generator)
    expected = values(name, given)
    for axis in (-1, -2):
        mirrored = {
            key: value.flip(axis) if isinstance(value, Tensor) and value.dim() > 2 else value
            for key, value in given.items()
        }
        close(values(name, mirrored), expected, 1e-4)


@EVERY
def test_better_is_where_the_catalogue_says(name: str) -> None:
    """A map of the object against a map of everything else; a steady method against one that jumps."""
    given, masks = batch(), patches().float()
    good, bad = given | {"maps": masks}, given | {"maps": 1 - masks}
    right, wrong = {}, {"explain": Colour(wrong=True)}
    if name in ("complexity", "entropy", "sparseness"):
        bad["maps"] = torch.ones(len(NAMES), SIZE, SIZE)
    elif name == "accuracy":
        good["logits"] = torch.eye(3)[given["labels"]]
        bad["logits"] = -good["logits"]
    elif "stability" in name:
        pictures = given["images"]
        good["maps"] = Colour()(pictures, given["targets"])
        bad["maps"] = Colour(wild=True)(pictures, given["targets"])
        wrong = {"explain": Colour(wild=True)}
    better, worse = (sum(values(name, *how[:1], **how[1]).values()) for how in ((good, right), (bad, wrong)))
    if name == "increase_in_confidence_50" and better == worse:
        return
    assert (better > worse) == SPECS[name].higher_is_better
    assert better != worse


@EVERY
def test_it_travels_between_processes(name: str) -> None:
    metric = fresh(name)
    feed(metric, batch())
    metric.leave_out("gone", "no map")
    arrived = pickle.loads(pickle.dumps(metric))
    assert arrived.compute() == metric.compute()
    assert arrived.left_out == metric.left_out
    feed(arrived, batch())
    assert arrived.compute()["n"] == len(NAMES)


@EVERY
def test_it_says_what_it_lacks(name: str) -> None:
    whole = {"model": classifier(), "explain": Colour()} | batch() | SMALL.get(name, {})
    assert score(name, **whole)["n"] == len(NAMES)
    lacking: dict[str, Any] = {
        "map": "maps",
        "mask": "masks",
        "person": "people",
        "model": "model",
        "method": "explain",
    }
    for need in SPECS[name].needs:
        with pytest.raises(ValueError, match=r"needs|asks"):
            score(name, **{key: value for key, value in whole.items() if key != lacking[need]})
    metric = fresh(name)
    for what in metric.takes:
        if what != "names":
            with pytest.raises(ValueError, match=f"needs.*{what}"):
                feed(metric, {key: value for key, value in batch().items() if key != what})


@ASKING
def test_nothing_is_left_on_the_classifier(name: str) -> None:
    model = classifier()
    model.fc.bias.grad = torch.ones_like(model.fc.bias)
    before = traces(model)
    first = values(name, batch(), model=model)
    assert_same(before, traces(model))
    torch.rand(5)  # the noise is its own, whatever was drawn outside
    close(values(name, batch(), model=model.eval()), first)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.stochastic])
def test_noise_belongs_to_the_image_and_the_seed(name: str) -> None:
    given = batch()
    assert values(name, given, seed=0) == usual(name)
    if name != "road":  # counts changed predictions: another seed may change the same ones
        assert values(name, given, seed=3) != usual(name)


def test_every_metric_is_one_of_ours() -> None:
    for name in SPECS:
        assert METRICS[name].__doc__
    assert IMAGENET.from_unit(IMAGENET.to_unit(torch.ones(1, 3, 1, 1))).allclose(torch.ones(1, 3, 1, 1))
