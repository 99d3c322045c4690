"""The loss on a real architecture against the step written image by image, as the bench times it."""

import pytest
import torch

from bench.gradia_step import compare_losses, main, make_batch
from mlcore.objectives.gradia import Gradia
from mlcore.training.classifiers import build


def test_preset_and_default_equal_the_released_way_where_they_should(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    model = build("resnet18", 10).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = make_batch(3, 112, torch.Generator().manual_seed(0))
    assert compare_losses(model, batch)
    assert "nan" not in capsys.readouterr().out
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    batch.maps = -batch.maps
    wrong = float(Gradia().loss(model, batch).terms["attention"])
    batch.maps = -batch.maps
    assert abs(float(Gradia().loss(model, batch).terms["attention"]) - wrong) > 1e-3


def test_the_bench_prints_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--architecture", "sixconv", "--batch", "2", "--size", "32", "--pairs", "2"]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-4:]] == ["plain", "gradia", "released", "released"]
    assert lines[-4].split()[2] == "1.00"
