"""The objective that trains a correspondence network on warps: its loss, what it measures, what it leaves alone."""

import pytest
import torch

from mlcore.correspondence.chm.learning import measured, train_network
from mlcore.correspondence.chm.network import CHMNetwork
from mlcore.correspondence.chm.stage import default_stage, probe
from mlcore.correspondence.chm.transfer import transfer
from mlcore.correspondence.features import describe
from mlcore.objectives.batch import Batch
from mlcore.objectives.correspondence import CorrespondenceTraining
from mlcore.training.classifiers import build

LAYER = "features.8"  # of sixconv: 8 × 8 cells at 32 px


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return build("sixconv", 3).eval()


def batch_of(count, chances=True, seed=2):
    torch.manual_seed(seed)
    made = Batch.plain(torch.randn(count, 3, 32, 32), torch.zeros(count, dtype=torch.int64))
    made.chances = list(range(10, 10 + count)) if chances else []
    return made


def objective_for(model, **options):
    torch.manual_seed(3)
    made = CorrespondenceTraining(layer=LAYER, width=16, key_points=6, image_size=32, **options)
    made.prepare(model)
    made.network.side, made.network.sides = 6, (4, 6, 8)  # smaller, for the test's time
    return made


def test_the_loss_is_the_mean_squared_distance_of_the_points(model):
    objective, batch = objective_for(model), batch_of(3)
    found = objective.loss(model, batch)
    pairs = objective.pairs(model, batch)
    with torch.no_grad():
        moved = transfer(objective.network(pairs.source, pairs.target), pairs.points)
    wanted = sum(
        float((moved[row, point] - pairs.true[row, point]).square().sum()) for row in range(3) for point in range(6)
    )
    assert float(found.total.detach()) == pytest.approx(wanted / 18, rel=1e-5)
    assert float(found.terms["distance"]) == pytest.approx(
        float((moved - pairs.true).norm(dim=2).mean()) * 16, rel=1e-5
    )
    assert found.logits.shape == (3, 1)


def test_the_target_is_the_picture_warped_and_seen_by_the_same_stage(model):
    objective, batch = objective_for(model, warp_strength=0.0), batch_of(2)
    pairs = objective.pairs(model, batch)
    assert torch.equal(pairs.source, describe(model, LAYER, batch.images))
    assert torch.allclose(pairs.source, pairs.target, atol=1e-4)
    assert torch.allclose(pairs.points, pairs.true, atol=1e-6)
    assert bool(pairs.there.all())


def test_warps_follow_from_the_batch_s_chances_alone(model):
    objective, batch = objective_for(model), batch_of(3)
    first, again = objective.pairs(model, batch), objective.pairs(model, batch)
    assert torch.equal(first.target, again.target)
    batch.chances = [11, 10, 99]
    swapped = objective.pairs(model, batch)
    assert torch.equal(swapped.true[:2], first.true[:2].flip(0))
    assert not torch.equal(swapped.true[2], first.true[2])
    named = batch_of(3, chances=False)
    assert torch.equal(objective.pairs(model, named).true, objective.pairs(model, named).true)


def test_only_the_network_learns_and_the_classifier_stays(model):
    objective, batch = objective_for(model), batch_of(2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    objective.loss(model, batch).total.backward()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.grad is not None for parameter in objective.network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    groups = objective.groups(model)
    assert sum(len(group["params"]) for group in groups) == len(list(objective.network.parameters())) == 7
    assert objective.trained(model) is objective.network


def test_it_measures_itself_and_the_plain_cosine(model):
    objective, batch = objective_for(model), batch_of(3)
    found = objective.measure(model, batch)
    assert set(found) == {"pck", "pck_cosine"}
    assert all(values.shape == (3,) and values.dtype == torch.float64 for values in found.values())
    assert all(bool(((values >= 0) & (values <= 1)).all()) for values in found.values())
    # A warp of no strength: a cell of a picture is most like itself, or what lies between two cells like a neighbour.
    assert float(objective_for(model, warp_strength=0.0).measure(model, batch)["pck_cosine"].mean()) > 0.9
    assert float(found["pck_cosine"].mean()) < 0.9


def test_a_few_steps_bring_points_closer(model):
    objective, batch = objective_for(model, warp_strength=0.5), batch_of(4)
    pairs = [objective.pairs(model, batch)]
    network = objective.network
    before = float(measured(network, pairs).mean())
    told = train_network(network, lambda number: pairs, pairs, epochs=12, learning_rate=5e-3)
    assert told[-1]["loss"] < 0.8 * told[0]["loss"]
    # The best weights are kept, not the last.
    after = float(measured(network, pairs).mean())
    assert after == pytest.approx(max(one["pck"] for one in told))
    assert after >= before
    assert not network.training
    with pytest.raises(ValueError, match="chosen by validation pairs"):
        train_network(network, lambda number: pairs, [], epochs=1)
    with pytest.raises(ValueError, match="at least one pair"):
        train_network(network, lambda number: [], pairs, epochs=1)


@pytest.mark.parametrize(
    ("architecture", "stage", "shape"),
    [
        ("resnet18", "layer3", (256, 15)),
        ("mobilenet_v2", "features.13", (96, 15)),
        ("squeezenet1_1", "features.12", (512, 14)),
        ("vgg11", "features.20", (512, 7)),
    ],
)
def test_every_family_has_a_stage(architecture, stage, shape):
    model = build(architecture, 5).eval()
    found = default_stage(model)
    if architecture != "vgg11":
        assert found == stage
        assert probe(model, found) == shape
    else:
        assert probe(model, found)[1] == 15


def test_what_cannot_be_is_said(model):
    with pytest.raises(ValueError, match="There is no layer “nowhere”"):
        CorrespondenceTraining(layer="nowhere").prepare(model)
    with pytest.raises(ValueError, match="no cells"):
        CHMNetwork.for_model(build("resnet18", 3).eval(), "avgpool")
    with pytest.raises(ValueError, match="1 key point or more"):
        CorrespondenceTraining(key_points=0)
    with pytest.raises(ValueError, match="made by `prepare`"):
        CorrespondenceTraining().loss(model, batch_of(1))
