"""docs/extending.md's metric to tune for, as it stands, in a folder outside: known to the web, tuned for, scored."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch
from django.core.management import CommandError, call_command

from mlcore.catalogue import LEARNABLE, METHODS, METRICS, OBJECTIVES, RecipeError, clean
from mlcore.catalogue.plugins import FAILED, load
from mlcore.metrics import score
from mlcore.metrics.learnable.toy import classifier, pictures
from mlcore.objectives import OBJECTIVES as CLASSES
from mlcore.objectives.batch import Batch

ROOT = Path(__file__).resolve().parents[4]
PAGE = ROOT / "docs" / "extending.md"
TEMPLATE = ROOT / "docs" / "templates" / "learnable_metric.py"

# The application's catalogue and its forms, settings loaded; neither torch nor the file may be.
WEB = """
import sys, django
django.setup()
from mlcore.catalogue import LEARNABLE, METRICS, OBJECTIVES, clean
from mlcore.catalogue.plugins import FAILED
assert not FAILED, FAILED
assert LEARNABLE["border"].title == METRICS["border"].title == "Mass at the border"
recipe = clean("train", {"objective": "harmony", "metric": "border"})
assert clean("score", {"metrics": "border"})["metrics"] == ["border"]
import mlcore.admin.run_form
assert "torch" not in sys.modules and "border" not in sys.modules
print(recipe["metric"])
"""


def code() -> str:
    found = re.search(r"```python\n# border.py\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert found is not None
    return found.group(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    kept = [(known, dict(known)) for known in (METHODS, METRICS, LEARNABLE, OBJECTIVES, FAILED)]
    path = list(sys.path)
    (tmp_path / "border.py").write_text(code())
    monkeypatch.setenv("HARMONY_PLUGIN_FOLDER", str(tmp_path))
    yield tmp_path
    for known, before in kept:
        known.clear()  # type: ignore[attr-defined]
        known.update(before)  # type: ignore[attr-defined]
    sys.path[:] = path
    for name in ("border", "border_mass", "wrong"):
        sys.modules.pop(name, None)


def test_a_metric_takes_less_than_thirty_lines() -> None:
    assert len([line for line in code().splitlines() if line.strip()]) < 30


def test_the_web_process_offers_it_without_torch(folder: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if key != "HARMONY_PLUGINS"}
    done = subprocess.run(
        [sys.executable, "-c", WEB],
        env=kept | {"DJANGO_SETTINGS_MODULE": "harmony.settings", "SECRET_KEY": "outside", "DEBUG": "1"},
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.stdout == "border\n", done.stderr


def test_a_network_is_tuned_for_it_and_its_maps_are_scored(folder: Path) -> None:
    load()
    assert not FAILED
    recipe = clean("train", {"objective": "harmony", "metric": "border"})
    objective = CLASSES["harmony"].from_recipe(recipe | {"term_weight": 1.0})
    images, labels, _ = pictures(8)
    model, batch = classifier(), Batch.plain(images, labels)
    objective.prepare(model)
    before = objective.measure(model, batch)["score"]
    attribution = objective._attribution
    targets = objective.original(images).argmax(1)
    plain = score(
        "border", attribution.explain(images, targets), images=images, targets=targets, model=model,
        explain=attribution.explain,
    )  # fmt: skip
    assert list(plain["per_image"].values()) == pytest.approx(before.tolist(), abs=1e-7)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        optimizer.zero_grad()
        objective.loss(model, batch).total.backward()
        optimizer.step()
    after = objective.measure(model, batch)
    assert not objective.higher_is_better
    assert float(after["score"].mean()) < float(before.mean()) - 0.02
    assert float(after["agreement"].mean()) == 1.0


def test_without_the_folder_nobody_knows_it() -> None:
    with pytest.raises(RecipeError, match="“border” is not one of"):
        clean("train", {"objective": "harmony", "metric": "border"})


def checked(file: Path, *options: str) -> str:
    out = StringIO()
    call_command("check_plugin", str(file), *options, stdout=out)
    return out.getvalue()


def test_the_command_finds_nothing_in_the_page_or_the_template(folder: Path) -> None:
    assert checked(folder / "border.py") == "Mass at the border: as it should be.\n"
    shutil.copy(TEMPLATE, folder / "border_mass.py")
    assert "as it should be" in checked(folder / "border_mass.py", "--steps=0")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"term_weight": 0.1', '"term_weight": WEIGHT', "wrong.py, line 5: HARMONY must be written out"),
        ("HARMONY =", "OTHER =", "wrong.py does not say what it is"),
        ("import torch\n", "import torhc\n", "wrong.py, line 5: ModuleNotFoundError: No module named 'torhc'"),
        (".double()", "", "evaluate gives torch.float32, not torch.float64."),
        ('name, better_higher = "border", False', 'name, better_higher = "border", True', "better_higher is True, and"),
        ("class Border(LearnableMetric)", "class Border", "Border is no learnable metric"),
        (
            '"kind": "learnable"', '"kind": "metric", "unit": "share"',
            "There is no “term_weight” here",
        ),
    ],
)  # fmt: skip
def test_the_command_names_what_is_wrong(folder: Path, before: str, after: str, words: str) -> None:
    assert before in code()
    (folder / "wrong.py").write_text(code().replace(before, after))
    out = StringIO()
    with pytest.raises(CommandError) as caught:
        call_command("check_plugin", str(folder / "wrong.py"), "--steps=0", stdout=out)
    assert words in out.getvalue() + str(caught.value)


def test_the_command_looks_at_other_kinds_too(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "from mlcore.metrics.base import Metric\n"
        "from mlcore.attribution.base import Attribution\n"
        'HARMONY = [{"kind": "metric", "name": "one", "class": "One"},\n'
        '           {"kind": "method", "name": "two", "class": "Two"},\n'
        '           {"kind": "metric", "name": "three", "class": "Two"}]\n'
        "class One(Metric): ...\nclass Two(Attribution): ...\n"
    )
    out = StringIO()
    with pytest.raises(CommandError, match="2 things to mend"):
        call_command("check_plugin", str(folder / "wrong.py"), stdout=out)
    assert out.getvalue().splitlines() == [
        "wrong.py, line 3: Two has no _explain.",
        "wrong.py, line 3: Two is no Metric: write class Two(Metric).",
    ]
    with pytest.raises(CommandError, match="There is no file"):
        call_command("check_plugin", str(folder / "none.py"))
