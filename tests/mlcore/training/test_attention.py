"""Training an attention module by itself: groups, schedule, steps, files, and a classifier left alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mlcore.attribution.tame import TAME
from mlcore.objectives.batch import Batch
from mlcore.objectives.feature_store import FeatureStore
from mlcore.objectives.tame import TAMETraining
from mlcore.training.attention import Pictures, attention_learning_rate, one_cycle, optimizer_of, train_attention
from mlcore.training.errors import JobError
from mlcore.training.job import Item
from tests.mlcore.attribution.nets import images
from tests.mlcore.objectives.test_tame import LAYERS, Stages


def world(preset: str = "default") -> tuple[Stages, TAMETraining, list[Batch]]:
    torch.manual_seed(3)
    model = Stages().train()
    model.drop.eval()
    objective = TAMETraining(preset=preset, layers=LAYERS)
    objective.prepare(model)
    pictures = images(8, dtype=torch.float32)
    return model, objective, [Batch.plain(part, torch.zeros(4, dtype=torch.int64)) for part in pictures.split(4)]


def test_weights_decay_and_biases_learn_twice_as_fast() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = optimizer_of(module, 1e-3)
    weights, biases = optimizer.param_groups
    assert [tuple(p.shape) for p in weights["params"]] == [(4, 3, 1, 1), (4,)]
    assert [p is q for p, q in zip(biases["params"], (module[0].bias, module[1].bias), strict=True)] == [True, True]
    assert (weights["lr"], weights["weight_decay"]) == (1e-3, 5e-4)
    assert (biases["lr"], biases["weight_decay"]) == (2e-3, 0.0)
    assert weights["nesterov"]
    assert biases["nesterov"]


def test_one_cycle_by_hand() -> None:
    optimizer = optimizer_of(nn.Linear(2, 2), 1.0)
    schedule = one_cycle(1.0, 11)  # up during steps 0 … 2.3, down until 10
    rates, momenta = [], []
    for step in range(11):
        schedule.apply(optimizer, step)
        rates.append([group["lr"] for group in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0]["momentum"])
    assert rates[0] == pytest.approx([1 / 25, 2 / 25])
    up = 0.5 * (1 - math.cos(math.pi * 1 / 2.3))
    assert rates[1] == pytest.approx([0.04 + 0.96 * up, 2 * (0.04 + 0.96 * up)])
    down = 0.5 * (1 + math.cos(math.pi * (5 - 2.3) / (10 - 2.3)))
    end = 0.04 / 1e4
    assert rates[5][0] == pytest.approx(end + (1 - end) * down)
    assert rates[10] == pytest.approx([end, 2 * end])
    assert (momenta[0], momenta[10]) == (pytest.approx(0.95), pytest.approx(0.95))
    assert momenta[5] == pytest.approx(0.95 - 0.1 * down)


@pytest.mark.parametrize("preset", ["default", "tame"])
def test_training_lowers_the_loss_and_leaves_the_classifier_alone(tmp_path: Path, preset: str) -> None:
    model, objective, batches = world(preset)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    told: list[int] = []
    torch.manual_seed(0)
    steps = train_attention(
        model, objective, batches, learning_rate=0.05, epochs=5, on_step=lambda step, terms: told.append(step)
    )
    assert told == list(range(1, 11))
    assert set(steps[0]) == {"loss", "classification", "area", "variation", "kept"}
    assert sum(one["loss"] for one in steps[-2:]) < sum(one["loss"] for one in steps[:2]) - 0.1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(p.grad is None for p in objective.parameters())
    assert not objective.attention.training
    path = objective.attention.save(tmp_path / "attention.safetensors")
    shown, classes = batches[0].images, torch.arange(4)
    with torch.no_grad():
        expected = TAME(model, objective.attention).explain(shown, classes)
    assert torch.equal(TAME(model, path).explain(shown, classes), expected)


def test_the_same_seed_trains_the_same_weights() -> None:
    found = []
    for _ in range(2):
        model, objective, batches = world()
        train_attention(model, objective, batches, learning_rate=0.01, epochs=1)
        found.append(objective.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_the_learning_rate_test_changes_nothing() -> None:
    model, objective, batches = world()
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    of_model = {name: value.clone() for name, value in model.state_dict().items()}
    curve = attention_learning_rate(model, objective, batches, steps=2, high=1.0)
    assert curve.rates == pytest.approx((1e-8, 1.0))
    torch.testing.assert_close(torch.tensor(curve.losses).isfinite(), torch.tensor([True, True]))
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert all(torch.equal(value, of_model[name]) for name, value in model.state_dict().items())


def test_the_learning_rate_test_goes_over_a_short_epoch_again() -> None:
    model, objective, batches = world()
    assert len(attention_learning_rate(model, objective, batches[:1], low=1e-3, high=1e-1).rates) == 22
    assert len(attention_learning_rate(model, objective, batches, low=1e-3, high=1e-1, steps=5).rates) == 5
    with pytest.raises(JobError, match="at least one batch"):
        attention_learning_rate(model, objective, [])


def pictures_of(folder: Path, count: int = 5, **options: object) -> Pictures:
    items = []
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        items.append(Item(id=str(number), path=str(folder / f"{number}.png"), label=None))
    return Pictures(items, batch_size=2, size=32, **options)


def test_fixed_views_come_again_and_others_do_not(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path, views=2)
    epochs = [list(pictures) for _ in range(4)]
    for first, second in ((0, 2), (1, 3)):
        for one, other in zip(epochs[first], epochs[second], strict=True):
            assert one.ids == other.ids
            assert torch.equal(one.images, other.images)
    names = [name for batch in (*epochs[0], *epochs[1]) for name in batch.ids]
    assert len(set(names)) == 10  # a name for each view of each picture
    free = list(pictures_of(tmp_path))
    assert all(torch.equal(one.images, other.images) for one, other in zip(epochs[0], free, strict=True))
    with pytest.raises(JobError, match="1 view or more, not 0"):
        pictures_of(tmp_path, views=0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_kept_features_train_the_very_same_weights(tmp_path: Path, channels_last: bool) -> None:
    found, told = [], []
    for limit in (1 << 30, 30_000, 0):  # everything is kept, two batches of four, nothing
        model, objective, _ = world()
        passes: list[int] = []
        model.first.register_forward_hook(lambda module, given, output, passes=passes: passes.append(len(output)))
        pictures = pictures_of(tmp_path, views=2, channels_last=channels_last)
        told.append(train_attention(model, objective, pictures, learning_rate=0.02, epochs=6, cache_bytes=limit))
        assert objective.store is None
        found.append((objective.state_dict(), sum(passes)))
    assert found[0][1] == 2 * 5 + 6 * 5  # two views once, and every step's dimmed pictures
    assert found[2][1] == 2 * 6 * 5
    assert found[0][1] < found[1][1] < found[2][1]
    assert told[0] == told[1] == told[2]
    for state, _ in found[1:]:
        assert all(torch.equal(value, found[0][0][name]) for name, value in state.items())


def test_features_kept_in_half_precision_train_nearly_alike(tmp_path: Path) -> None:
    losses = []
    for half in (False, True):
        model, objective, _ = world()
        objective.store = FeatureStore(half=half)
        told = train_attention(model, objective, pictures_of(tmp_path, views=1), learning_rate=0.02, epochs=4)
        losses.append([one["loss"] for one in told])
        assert objective.store.reads == 6
    assert losses[0][:2] == losses[1][:2]  # computed, not read
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=5e-3)


def test_a_classifier_in_train_mode_answers_anew(tmp_path: Path) -> None:
    model, objective, _ = world("tame")
    objective.store = FeatureStore()
    train_attention(model, objective, pictures_of(tmp_path, views=1), learning_rate=0.02, epochs=2)
    assert len(objective.store) == 0


def test_a_loss_that_is_not_a_number_ends_training_with_a_sentence() -> None:
    model, objective, batches = world()
    batches[1].images[0] = math.nan
    with pytest.raises(JobError, match=r"not a number any more at step 2; a smaller learning rate"):
        train_attention(model, objective, batches, learning_rate=0.01, epochs=1)
    assert all(torch.isfinite(parameter).all() for parameter in objective.parameters())
    with pytest.raises(JobError, match="at least one batch"):
        train_attention(model, objective, [], learning_rate=0.01, epochs=1)


def test_pictures_are_cut_flipped_and_shuffled_anew_each_epoch(tmp_path: Path) -> None:
    items = []
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        items.append(Item(id=str(number), path=str(tmp_path / f"{number}.png"), label=None))
    pictures = Pictures(items, batch_size=2, size=28, normalise="none")
    first, second = list(pictures), list(pictures)
    again = list(Pictures(items, batch_size=2, size=28, normalise="none"))
    assert len(pictures) == len(first) == 1  # the last one alone joins the batch before
    assert first[0].images.shape == (3, 3, 28, 28)
    assert 0 <= float(first[0].images.min()) < float(first[0].images.max()) <= 1
    assert torch.equal(first[0].images, again[0].images)
    assert not torch.equal(first[0].images, second[0].images)
