"""Trying whether weights fit, as the process apart does it."""

import numpy as np
import pytest
from safetensors.numpy import load_file

torch = pytest.importorskip("torch")

from mlcore.training.classifiers import build  # noqa: E402
from mlcore.training.convert import convert, main  # noqa: E402


@pytest.fixture
def state():
    torch.manual_seed(0)
    return build("sixconv", 5).state_dict()


def test_half_precision_becomes_single_and_the_classes_are_counted(tmp_path, state):
    torch.save(
        {name: value.half() if value.is_floating_point() else value for name, value in state.items()}, tmp_path / "a.pt"
    )
    assert convert(tmp_path / "a.pt", tmp_path / "out.safetensors", architecture="sixconv") == 5
    written = load_file(tmp_path / "out.safetensors")
    assert written["classifier.weight"].dtype == np.float32
    assert np.array_equal(written["classifier.weight"], state["classifier.weight"].half().float().numpy())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "out.safetensors"]


def test_without_an_architecture_nothing_is_tried(tmp_path, state):
    torch.save({"state_dict": state}, tmp_path / "a.pth.tar")
    assert convert(tmp_path / "a.pth.tar", tmp_path / "out.safetensors") is None
    assert load_file(tmp_path / "out.safetensors").keys() == state.keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("features.0.weight"), "features.0.weight missing"),
        (lambda state: state.pop("classifier.weight"), "classifier.weight missing"),
        (lambda state: state.update(extra=torch.ones(2)), "extra not part of it"),
        (lambda state: state.update({"classifier.bias": torch.ones(4)}), "classifier.bias of another shape"),
        (
            lambda state: state["classifier.bias"].fill_(float("inf")),
            "classifier.bias holds values that are not finite",
        ),
    ],
)
def test_misfits_are_named_and_leave_no_file(tmp_path, state, change, said, capsys):
    change(state)
    torch.save(state, tmp_path / "a.pt")
    code = main([str(tmp_path / "a.pt"), str(tmp_path / "out.safetensors"), "--architecture", "sixconv"])
    assert code == 1
    sentence = capsys.readouterr().err.strip()
    assert sentence.startswith("a.pt: ")
    assert said in sentence
    assert "\n" not in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
