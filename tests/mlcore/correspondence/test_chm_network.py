"""The correspondence network against the formulas, written as loops (definitions §6)."""

import json
from itertools import product
from math import exp, sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mlcore.correspondence.chm.hough import Hough4d, Hough6d, convolve, padded, scale_reach
from mlcore.correspondence.chm.network import CHMNetwork, mutual, resized_pairs, sides
from mlcore.correspondence.chm.psi import SCALE_GROUPS, PsiKernel, space_classes
from mlcore.correspondence.chm.transfer import transfer


def naive(votes, kernel, bias):
    """Nested loops: votes (3, 3, n, n, n, n) or (1, 1, …), kernel of as many scales by 5⁴, zeros beyond the edges."""
    scales, side = votes.shape[0], votes.shape[-1]
    found = np.full(votes.shape, bias)
    reach = kernel.shape[0] // 2
    for to in product(range(scales), range(scales), *[range(side)] * 4):
        for step in product(*[range(-reach, reach + 1)] * 2, *[range(-2, 3)] * 4):
            place = tuple(a + b for a, b in zip(to, step, strict=True))
            edges = (scales, scales, side, side, side, side)
            if all(0 <= number < edge for number, edge in zip(place, edges, strict=True)):
                middle = (reach, reach, 2, 2, 2, 2)
                found[to] += kernel[tuple(a + b for a, b in zip(step, middle, strict=True))] * votes[place]
    return found


def dense(kernel):
    """The 3 × 3 × 5⁴ (or 1 × 1 × 5⁴) kernel entry by entry, each weight over the number of entries that share it."""
    numbers, weights = {}, kernel.weight.detach().double().numpy()
    for row in product(range(-2, 3), repeat=4):
        source, target = row[0] ** 2 + row[1] ** 2, row[2] ** 2 + row[3] ** 2
        apart = (row[0] - row[2]) ** 2 + (row[1] - row[3]) ** 2
        numbers.setdefault((max(source, target), min(source, target), apart), []).append(row)
    side = 3 if len(kernel.groups) > 1 else 1
    found = np.zeros((side * side, 5, 5, 5, 5))
    for group, cells in enumerate(kernel.groups):
        for number, key in enumerate(sorted(numbers)):
            share = weights[group, number] / (len(numbers[key]) * len(cells))
            for cell, row in product(cells, numbers[key]):
                found[(cell, *(offset + 2 for offset in row))] = share
    return found.reshape(side, side, 5, 5, 5, 5)


def test_fifty_five_weights_share_a_kernel_and_the_layers_have_221_and_56_parameters():
    classes = space_classes()
    assert int(classes.max()) + 1 == 55 == len(classes.unique())
    assert sum(parameter.numel() for parameter in Hough6d().parameters()) == 221
    assert sum(parameter.numel() for parameter in Hough4d().parameters()) == 56
    # A swap of the images, and a quarter turn of both, leave a vote as it counts.
    assert torch.equal(classes, classes.permute(2, 3, 0, 1))
    assert torch.equal(classes, classes.flip(0, 2).permute(1, 0, 3, 2))


def test_a_kernel_of_equal_weights_sums_to_their_number():
    kernel = PsiKernel(SCALE_GROUPS)
    kernel.weight.data.fill_(1.0)
    cells = torch.tensor([len(group) for group in SCALE_GROUPS])
    with torch.no_grad():
        assert float((kernel().flatten(1).sum(dim=1) * cells).sum()) == pytest.approx(4 * 55, rel=1e-5)


def test_the_four_dimensional_layer_is_the_nested_loop():
    torch.manual_seed(1)
    layer = Hough4d()
    layer.kernel.weight.data.normal_()
    layer.kernel.bias.data.fill_(0.3)
    votes = torch.rand(2, 6, 6, 6, 6)
    wanted = [naive(one.double().numpy()[None, None], dense(layer.kernel), 0.3)[0, 0] for one in votes]
    assert np.abs(layer(votes).detach().numpy() - np.stack(wanted)).max() < 1e-5


def test_the_six_dimensional_layer_is_the_nested_loop():
    torch.manual_seed(2)
    layer = Hough6d()
    layer.kernel.weight.data.normal_()
    layer.kernel.bias.data.fill_(-0.2)
    votes = torch.rand(1, 3, 3, 3, 3, 3, 3)
    wanted = naive(votes[0].double().numpy(), dense(layer.kernel), -0.2)
    assert np.abs(layer(votes)[0].detach().numpy() - wanted).max() < 1e-5


def test_gradients_of_the_convolution_are_those_of_finite_differences():
    torch.manual_seed(3)
    kernel = PsiKernel(SCALE_GROUPS).double()
    kernel.weight.data.normal_()
    votes = torch.rand(1, 9, 3, 3, 3, 3, dtype=torch.float64, requires_grad=True)

    def sums(votes, weight):
        return convolve(votes, (weight / kernel.shared)[:, kernel.classes], scale_reach())

    assert torch.autograd.gradcheck(sums, (votes, kernel.weight), fast_mode=True)


def test_what_goes_over_an_edge_meets_zeros():
    assert [padded(side) for side in (3, 15, 30)] == [6, 18, 32]
    assert all(padded(side) >= side + 2 for side in range(3, 60))


def test_the_network_is_the_formulas_one_after_another():
    torch.manual_seed(4)
    network = CHMNetwork("features.3", 6, width=5, side=3)
    network.hough6d.kernel.weight.data.uniform_(0, 3)
    network.hough4d.kernel.weight.data.uniform_(0, 3)
    network.hough6d.kernel.bias.data.fill_(-0.4)
    network.hough4d.kernel.bias.data.fill_(-0.7)
    assert sides(15) == (11, 15, 21)
    assert network.sides == (2, 3, 4)
    source, target = torch.randn(1, 6, 3, 3), torch.randn(1, 6, 3, 3)
    with torch.no_grad():
        found = network(source, target)
        votes = np.zeros((3, 3, 3, 3, 3, 3))
        for (row, ours), (column, theirs) in product(enumerate(network.sides), repeat=2):
            a = network.convolutions[row](shrunk(source, ours))[0]
            b = network.convolutions[column](shrunk(target, theirs))[0]
            cosine = np.zeros((ours, ours, theirs, theirs))
            for i, j, k, m in product(range(ours), range(ours), range(theirs), range(theirs)):
                cosine[i, j, k, m] = F.cosine_similarity(a[:, i, j], b[:, k, m], dim=0)
            votes[row, column] = enlarged(cosine, 3).clip(0)
        best = 1 / (1 + np.exp(-naive(votes, dense(network.hough6d.kernel), -0.4)))
        finer = enlarged(best.max(axis=(0, 1)), 6)
        summed = naive(finer[None, None], dense(network.hough4d.kernel), float(network.hough4d.kernel.bias))[0, 0]
        scores = np.log1p(np.exp(summed)).reshape(36, 36)
    wanted = np.zeros((36, 36))
    for i, j in product(range(36), range(36)):
        wanted[i, j] = scores[i, j] * (scores[i, j] / scores[i].max()) * (scores[i, j] / scores[:, j].max())
    assert found.shape == (1, 36, 36)
    assert np.abs(found[0].numpy() - wanted).max() < 1e-4 * wanted.max()


def shrunk(features, side):
    return F.interpolate(features, (side, side), mode="bilinear", align_corners=True)


def line(size, to):
    """Rows of weights by which `size` numbers become `to`, corners on corners."""
    found = np.zeros((to, size))
    for row in range(to):
        place = row * (size - 1) / (to - 1)
        low = min(int(place), size - 2)
        found[row, low] += 1 - (place - low)
        found[row, low + 1] += place - low
    return found


def enlarged(pairs, to):
    a, b = line(pairs.shape[0], to), line(pairs.shape[2], to)
    return np.einsum("ai,bj,ck,dm,ijkm->abcd", a, a, b, b, pairs)


def test_pairs_are_resized_corners_on_corners():
    pairs = torch.rand(2, 3, 3, 3, 3, dtype=torch.float64)
    assert np.abs(resized_pairs(pairs, 5)[1].numpy() - enlarged(pairs[1].numpy(), 5)).max() < 1e-12


def test_mutual_neighbours_of_zeros_are_zeros():
    assert torch.equal(mutual(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def test_transfer_is_the_formula_in_loops():
    torch.manual_seed(5)
    side = 30
    scores = torch.rand(1, side**2, side**2, dtype=torch.float64) * 8
    points = torch.tensor([[[0.31, -0.72], [-1.0, -1.0], [0.98, 0.05], [0.0, 0.0]]], dtype=torch.float64)
    found = transfer(scores, points, sigma=17)
    coordinate = np.linspace(-1, 1, side)
    for (x, y), place in zip(points[0].tolist(), found[0].tolist(), strict=True):
        total, summed = 0.0, np.zeros(2)
        for row, column in product(range(side), range(side)):
            apart = sqrt((coordinate[column] - x) ** 2 + (coordinate[row] - y) ** 2 + 1e-5)
            if apart >= 0.1:
                continue
            one = scores[0, row * side + column].numpy().reshape(side, side)
            top = divmod(int(one.argmax()), side)
            weighed = np.array(
                [[one[i, j] * exp(-((i - top[0]) ** 2 + (j - top[1]) ** 2) / (2 * 17**2)) for j in range(side)]
                 for i in range(side)]
            )  # fmt: skip
            share = np.exp(weighed - weighed.max())
            share /= share.sum()
            summed += (0.1 - apart) * np.array([(share.sum(0) * coordinate).sum(), (share.sum(1) * coordinate).sum()])
            total += 0.1 - apart
        assert place == pytest.approx((summed / total).tolist(), abs=1e-9)


def test_a_sure_score_moves_a_point_there():
    side = 30
    scores = torch.zeros(1, side**2, side**2)
    scores[:, :, 7 * side + 21] = 60.0
    moved = transfer(scores, torch.tensor([[[0.0, 0.0], [-3.0, 2.0]]]))
    assert moved[0].flatten().tolist() == pytest.approx([-1 + 42 / 29, -1 + 14 / 29] * 2, abs=1e-3)


def test_a_file_says_what_it_fits_and_holds_no_weights_of_the_classifier(tmp_path):
    torch.manual_seed(6)
    network = CHMNetwork("layer3[5]", 7, width=4, side=5, size=160)
    path = network.save(tmp_path / "network.safetensors")
    again = CHMNetwork.load(path)
    assert (again.layer, again.settings) == ("layer3.5", {"channels": 7, "width": 4, "side": 5, "size": 160})
    assert not again.training
    features = torch.randn(2, 7, 5, 5)
    assert torch.equal(again(features, features.flip(0)), network(features, features.flip(0)))
    assert sorted(load_file(path)) == sorted(
        [f"convolutions.{number}.weight" for number in range(3)]
        + [f"{layer}.kernel.{what}" for layer in ("hough6d", "hough4d") for what in ("bias", "weight")]
    )
    with pytest.raises(ValueError, match=r"reads 7 channels of layer “layer3\.5”"):
        again.embed(torch.randn(1, 8, 5, 5))


def test_a_bad_file_is_named(tmp_path):
    network = CHMNetwork("features", 4, width=3, side=4)
    path = network.save(tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match=r"two\.safetensors: the file of the correspondence network does not exist"):
        CHMNetwork.load(tmp_path / "two.safetensors")
    (tmp_path / "two.safetensors").write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"two\.safetensors: the file is damaged"):
        CHMNetwork.load(tmp_path / "two.safetensors")
    save_file(load_file(path), tmp_path / "two.safetensors")
    with pytest.raises(ValueError, match="says nothing of a correspondence network"):
        CHMNetwork.load(tmp_path / "two.safetensors")
    with safe_open(path, "pt") as file:
        said = file.metadata()
    said["settings"] = json.dumps(network.settings | {"width": 5})
    save_file(load_file(path), tmp_path / "two.safetensors", metadata=said)
    with pytest.raises(ValueError, match="weights do not fit"):
        CHMNetwork.load(tmp_path / "two.safetensors")
