"""Weights in: what fits becomes a classifier, what does not is refused in words, and nothing foreign is run."""

import hashlib
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mlcore.catalogue import ARCHITECTURES
from mlcore.exchange.weights import WeightsRefused, head_of, import_classifier
from mlcore.models import AuditEntry, Classifier

# The smallest of each family; meta tensors take no memory.
FAMILIES = """
    sixconv alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet inception_v3 maxvit_t
    mnasnet0_5 mobilenet_v2 mobilenet_v3_small regnet_x_400mf regnet_y_400mf resnet18 resnext50_32x4d wide_resnet50_2
    resnet18_max_pool shufflenet_v2_x0_5 squeezenet1_0 squeezenet1_1 swin_t swin_v2_t vgg11 vgg11_bn vit_b_32
"""


def test_every_architecture_has_a_head():
    assert all(head_of(name) for name in ARCHITECTURES)


def test_heads_are_those_of_the_models():
    pytest.importorskip("torch")
    from mlcore.training import convert

    for name in FAMILIES.split():
        assert convert._head(name) == head_of(name), name


def six(classes: int = 3) -> dict:
    """Weights of the small network, drawn by torch and given as arrays."""
    torch = pytest.importorskip("torch")
    from mlcore.training.classifiers import build

    torch.manual_seed(0)
    return {name: value.numpy() for name, value in build("sixconv", classes).state_dict().items()}


@pytest.fixture
def npz(tmp_path):
    def write(arrays: dict, name: str = "six.npz"):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return write


def halves(arrays: dict) -> dict:
    return {name: value.astype(np.float16) if value.dtype.kind == "f" else value for name, value in arrays.items()}


@pytest.mark.django_db
@pytest.mark.parametrize("check_fit", [True, False])
def test_half_precision_npz_becomes_float32_safetensors(npz, check_fit):
    given = halves(six())
    made = import_classifier(
        npz(given), name="Six", architecture="sixconv", classes=["ant", "bee", "cat"], check_fit=check_fit
    )
    stored = load_file(made.weights.path)
    assert stored.keys() == given.keys()
    for name, value in given.items():
        assert stored[name].dtype == (np.float32 if value.dtype.kind == "f" else value.dtype)
        assert stored[name].shape == value.shape
        assert np.array_equal(stored[name], value)
    assert made.classes == ["ant", "bee", "cat"]
    assert made.sha256 == hashlib.sha256(made.weights.read()).hexdigest()
    assert made.weights.name == f"classifiers/{made.uuid}.safetensors"
    assert AuditEntry.objects.get().action == "import_classifier"


@pytest.mark.django_db
def test_classes_from_a_file_or_none(npz, tmp_path):
    (tmp_path / "classes.txt").write_text("ant\nbee\ncat\n")
    path = npz(six())
    options = {"architecture": "sixconv", "check_fit": False}
    assert import_classifier(path, name="a", classes=tmp_path / "classes.txt", **options).classes[2] == "cat"
    assert import_classifier(path, name="b", classes=None, **options).classes == ["0", "1", "2"]


@pytest.mark.django_db
def test_checkpoints_are_read_as_weights_only(tmp_path):
    torch = pytest.importorskip("torch")
    state = {f"module.{name}": torch.from_numpy(np.array(value)) for name, value in six().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "best.pth.tar")
    made = import_classifier(tmp_path / "best.pth.tar", name="Six", architecture="sixconv")
    assert np.array_equal(load_file(made.weights.path)["classifier.weight"], six()["classifier.weight"])


@pytest.mark.django_db
def test_a_whole_training_checkpoint_is_read_for_its_weights(tmp_path):
    """As torch's ImageNet example leaves it: beside the weights the optimiser, the scheduler and the best figure."""
    torch = pytest.importorskip("torch")
    from mlcore.training.classifiers import build

    torch.manual_seed(1)
    model = torch.nn.DataParallel(build("sixconv", 3))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.zeros(1, 3, 32, 32)).sum().backward()
    optimiser.step()
    whole = {
        "epoch": 90,
        "arch": "sixconv",
        "state_dict": model.state_dict(),
        "best_acc1": torch.tensor(71.5),
        "optimizer": optimiser.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(optimiser, 30).state_dict(),
    }
    torch.save(whole, tmp_path / "model_best.pth.tar")
    made = import_classifier(tmp_path / "model_best.pth.tar", name="Six", architecture="sixconv")
    stored = load_file(made.weights.path)
    expected = model.module.state_dict()
    assert stored.keys() == expected.keys()
    for name, value in expected.items():
        assert np.array_equal(stored[name], value.numpy()), name


class Hostile:
    """A pickle that would write a file if anybody unpickled it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.django_db
def test_a_pickle_that_wants_to_run_code_is_refused_and_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    trap = tmp_path / "ran"
    torch.save({"state_dict": Hostile(str(trap))}, tmp_path / "bad.pt")
    with pytest.raises(WeightsRefused, match=r"bad\.pt: refused, because the file holds more than weights"):
        import_classifier(tmp_path / "bad.pt", name="Bad", architecture="sixconv")
    (tmp_path / "worse.npz").write_bytes(pickle.dumps(Hostile(str(trap))))
    np.savez(tmp_path / "bad.npz", a=np.array([Hostile(str(trap))], dtype=object))
    for name in ("worse.npz", "bad.npz"):
        with pytest.raises(WeightsRefused, match="damaged"):
            import_classifier(tmp_path / name, name="Bad", architecture="sixconv", check_fit=False)
    assert not trap.exists()
    assert not Classifier.objects.exists()


@pytest.mark.django_db
def test_weights_of_another_network_are_refused_without_torch_too(npz):
    with pytest.raises(WeightsRefused, match=r"do not fit resnet18: fc\.weight missing"):
        import_classifier(npz(six()), name="Six", architecture="resnet18", check_fit=False)
    endless = six()
    endless["classifier.bias"] = np.array([0, np.nan, 1], dtype=np.float32)
    with pytest.raises(WeightsRefused, match=r"classifier\.bias holds values that are not finite"):
        import_classifier(npz(endless), name="Six", architecture="sixconv", check_fit=False)


@pytest.mark.django_db
def test_what_is_refused_before_reading(npz, tmp_path):
    path = npz(six())
    good = {"name": "Six", "architecture": "sixconv", "check_fit": False}
    for change, said in (
        ({"architecture": "resnet19"}, "“resnet19” is neither"),
        ({"padding": "zero"}, "Padding is one of torch, tensorflow"),
        ({"name": " "}, "needs a name"),
        ({"classes": ["a", "b"]}, "for 3 classes, the list names 2"),
        ({"classes": ["a", "b", "b"]}, "“b” stands twice"),
        ({"classes": ["a", "", "b"]}, "class 1 has no name"),
    ):
        with pytest.raises(WeightsRefused, match=said):
            import_classifier(path, **{**good, **change})
    with pytest.raises(WeightsRefused, match="There is no file"):
        import_classifier(tmp_path / "absent.npz", **good)
    for name, data, said in (
        ("a.pt", b"x", "manage.py import_classifier"),
        ("a.onnx", b"x", "must be a file ending in"),
        ("a.npz", b"not a zip", "damaged"),
        ("a.safetensors", b"\xff" * 40, "damaged"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsRefused, match=said):
            import_classifier(tmp_path / name, **good)
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(WeightsRefused, match="holds no weights"):
        import_classifier(tmp_path / "empty.safetensors", **good)
    assert not Classifier.objects.exists()


@pytest.mark.django_db
@pytest.mark.slow
def test_published_weights(test_data):
    made = import_classifier(
        test_data / "weights/squeezenet1_1_imagenet.npz",
        name="SqueezeNet",
        architecture="squeezenet1_1",
        classes=test_data / "weights/imagenet_classes.csv",
    )
    assert len(made.classes) == 1000
    assert load_file(made.weights.path)["classifier.1.weight"].shape == (1000, 512, 1, 1)
    birds = import_classifier(
        test_data / "weights/mobilenet_v2_inat_bird.npz",
        name="Birds",
        architecture="mobilenet_v2",
        classes=test_data / "weights/inat_bird_classes.txt",
        padding="tensorflow",
        check_fit=False,
    )
    assert (len(birds.classes), birds.padding) == (965, "tensorflow")
