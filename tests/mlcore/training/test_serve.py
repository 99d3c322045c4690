"""Short questions, answered by a real process: one line in, one line out, and nothing that ends it but its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mlcore.attribution import explain
from mlcore.attribution.inspect_layers import usable_layers
from mlcore.attribution.l_cam import LCAMAttention
from mlcore.attribution.tame import TAMEAttention
from mlcore.training.classifiers import build
from mlcore.training.questions import KEPT, Answerer, Kept
from mlcore.training.serve import answer_line
from mlcore.training.weights import save_weights

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "mlcore.training.serve"]
ENVIRONMENT = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
SIZE = 64
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Serving:
    """The process with a person's hands: `ask` writes a line and reads one."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            COMMAND, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def say(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, **question: Any) -> dict[str, Any]:
        return self.say(json.dumps(question))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    made = Serving()
    yield made
    made.end()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "six.safetensors"
    save_weights(build("sixconv", 4), path)
    return {"architecture": "sixconv", "num_classes": 4, "weights": str(path), "padding": "torch"}


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)).save(path)
    return path


TRANSFORM = {"image_size": SIZE, "resize": "none", "normalise": "imagenet"}


def model_of(classifier: dict[str, Any]) -> torch.nn.Module:
    return build(classifier["architecture"], classifier["num_classes"], weights=classifier["weights"]).eval()


def as_input(path: Path) -> torch.Tensor:
    """By hand, without the loader under test."""
    values = (np.asarray(Image.open(path).convert("RGB")) / 255 - MEAN) / STD
    return torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))


@pytest.mark.parametrize(
    ("method", "options", "label"),
    [("grad_cam", {}, None), ("grad_cam", {"layer": "features.5"}, 1), ("lrp", {"preset": "harmony"}, 2),
     ("smooth_grad", {"samples": 4}, 0), ("integrated_gradients", {"steps": 6}, 3), ("centre", {}, 1)],
)  # fmt: skip
def test_the_map_is_the_librarys(
    serving: Serving, classifier: dict[str, Any], picture: Path, method: str, options: dict[str, Any], label: int | None
) -> None:
    answer = serving.ask(
        id=7, kind="mask", classifier=classifier, picture=str(picture), method=method, options=options, label=label,
        transform=TRANSFORM,
    )  # fmt: skip
    assert answer["id"] == 7
    found = answer["answer"]
    model, images = model_of(classifier), as_input(picture)
    with torch.no_grad():
        shares = model(images)[0].softmax(0)
    wanted = int(shares.argmax()) if label is None else label
    expected = explain(model, images, wanted, method, **options)[0]
    assert torch.allclose(torch.tensor(found["map"]), expected, atol=1e-6)
    assert found["label"] == wanted
    assert found["confidence"] == pytest.approx(float(shares[wanted]), abs=1e-6)
    assert [row["label"] for row in found["predictions"]] == shares.argsort(descending=True).tolist()
    assert sum(row["confidence"] for row in found["predictions"]) == pytest.approx(1.0, abs=1e-5)  # four classes
    assert found["status"] == "ok"
    assert found["window"] == [0, 0, SIZE, SIZE]
    assert found["seconds"] > 0


@pytest.mark.parametrize("kind", ["tame", "l_cam"])
def test_a_trained_attention_comes_from_its_file(
    serving: Serving, classifier: dict[str, Any], picture: Path, tmp_path: Path, kind: str
) -> None:
    model = model_of(classifier)
    torch.manual_seed(1)
    if kind == "tame":
        made: Any = TAMEAttention.for_model(model, ["features.5", "features.11", "features"], size=SIZE)
    else:
        made = LCAMAttention.for_model(model, size=SIZE)
    path = made.save(tmp_path / "attention.safetensors")
    question = {"kind": "mask", "classifier": classifier, "picture": str(picture), "method": kind, "label": 2}
    question |= {"transform": TRANSFORM}
    found = serving.ask(**question, options={"attention": str(path)})["answer"]
    expected = explain(model, as_input(picture), 2, kind, attention=made.eval())[0]
    assert torch.allclose(torch.tensor(found["map"]), expected, atol=1e-6)
    assert "needs a trained attention module" in serving.ask(**question)["error"]


def test_what_lies_outside_the_cut_is_told(serving: Serving, classifier: dict[str, Any], tmp_path: Path) -> None:
    wide = tmp_path / "wide.png"
    Image.new("RGB", (3 * SIZE, SIZE), "red").save(wide)
    transform = TRANSFORM | {"resize": "crop"}
    question = {"kind": "mask", "classifier": classifier, "picture": str(wide), "transform": transform}
    found = serving.ask(**question)["answer"]
    assert found["picture"] == [3 * SIZE, SIZE]
    assert found["window"] == [SIZE, 0, 2 * SIZE, SIZE]


def test_layers_need_no_weights(serving: Serving) -> None:
    spec = {"architecture": "resnet18", "num_classes": 10, "weights": "/nowhere/at-all.safetensors"}
    found = serving.ask(kind="layers", classifier=spec, image_size=96)["answer"]
    expected = usable_layers(build("resnet18", 10), 96)
    assert [(row["name"], row["channels"], row["height"]) for row in found["layers"]] == [
        (layer.name, layer.channels, layer.height) for layer in expected
    ]
    assert found["suggested"] == {"grad_cam": ["layer4"], "tame": ["layer2", "layer3", "layer4"]}
    marked = {row["name"]: row["suggested"] for row in found["layers"] if row["suggested"]}
    assert marked == {"layer2": ["tame"], "layer3": ["tame"], "layer4": ["grad_cam", "tame"]}


def test_a_bad_question_is_answered_with_a_sentence_and_the_next_one_is_answered(
    serving: Serving, classifier: dict[str, Any], picture: Path, tmp_path: Path
) -> None:
    mask = {"kind": "mask", "classifier": classifier, "picture": str(picture), "transform": TRANSFORM}
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for question, sentence in (
        ({"kind": "song"}, "A question is of the kind layers or mask"),
        ({"kind": "mask"}, "names no classifier"),
        (mask | {"label": 4}, "classes 0 to 3; there is no class 4"),
        (mask | {"label": -1}, "there is no class -1"),
        (mask | {"method": "magic"}, "There is no method “magic”"),
        (mask | {"options": {"layer": "nowhere"}}, "There is no layer “nowhere”"),
        (mask | {"options": {"colour": 3}}, "refuses its options"),
        (mask | {"picture": str(text)}, "text.png cannot be read"),
        (mask | {"picture": "/nowhere/x.png"}, "The picture x.png does not exist."),
        (mask | {"transform": {"image_size": 4}}, "too small"),
        (mask | {"classifier": classifier | {"num_classes": 5}}, "the weights are for 4 classes"),
        (mask | {"classifier": classifier | {"architecture": "abacus"}}, "There is no classifier named “abacus”"),
        ({"kind": "layers", "classifier": {"architecture": "vit_b_16", "num_classes": 5}, "image_size": 96}, "96×96"),
    ):
        said = serving.ask(id=1, **question)
        assert sentence in said.get("error", ""), said
        assert said["id"] == 1
    assert "no JSON" in serving.say("{")["error"]
    assert "JSON object" in serving.say("[1]")["error"]
    assert serving.ask(**mask)["answer"]["label"] in range(4)
    assert serving.process.poll() is None


def test_whatever_a_classifier_raises_is_an_answer(classifier: dict[str, Any]) -> None:
    class Broken:
        def answer(self, question: Any) -> Any:
            raise MemoryError if question["kind"] == "memory" else ZeroDivisionError("by nothing")

    assert answer_line('{"kind": "memory", "id": 1}', Broken()) == {"id": 1, "error": "The machine ran out of memory."}
    assert "ZeroDivisionError: by nothing" in answer_line('{"kind": "x"}', Broken())["error"]


def test_the_last_few_classifiers_stay_in_memory(classifier: dict[str, Any], picture: Path, tmp_path: Path) -> None:
    asked = Answerer("cpu")
    paths = [tmp_path / f"{number}.safetensors" for number in range(KEPT + 1)]
    for path in paths:
        save_weights(build("sixconv", 4), path)

    def kept(path: Path) -> Kept:
        asked.mask({"classifier": classifier | {"weights": str(path)}, "picture": str(picture), "transform": TRANSFORM})
        return next(reversed(asked._kept.values()))

    first = kept(paths[0])
    assert kept(paths[0]) is first
    for path in paths[1:]:
        kept(path)
    assert len(asked._kept) == KEPT
    assert kept(paths[0]) is not first
    # Other weights under the same name are another classifier.
    before = asked.mask({"classifier": classifier | {"weights": str(paths[0])}, "picture": str(picture), "label": 0})
    torch.manual_seed(99)
    save_weights(build("sixconv", 4), paths[0])
    os.utime(paths[0], ns=(1, 1))
    after = asked.mask({"classifier": classifier | {"weights": str(paths[0])}, "picture": str(picture), "label": 0})
    assert before["confidence"] != after["confidence"]


def test_the_end_of_the_input_is_the_end_after_what_was_asked(classifier: dict[str, Any], picture: Path) -> None:
    questions = [{"id": number, "kind": "layers", "classifier": classifier, "image_size": SIZE} for number in range(2)]
    done = subprocess.run(
        COMMAND, cwd=ROOT, env=ENVIRONMENT, input="\n".join(map(json.dumps, questions)), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [0, 1]


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "mlcore.training.serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdin.write(sys.argv[1].encode() + b"\\n"); child.stdin.flush()
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at through /proc")
def test_it_dies_with_its_parent(classifier: dict[str, Any]) -> None:
    question = json.dumps({"kind": "layers", "classifier": classifier, "image_size": SIZE})
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, question], cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert lives(child)
        parent.send_signal(signal.SIGKILL)
        parent.wait(10)
        deadline = time.monotonic() + 20
        while lives(child):
            assert time.monotonic() < deadline, "it outlived its parent"
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.stdout.close()
        if lives(child):
            os.kill(child, signal.SIGKILL)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
