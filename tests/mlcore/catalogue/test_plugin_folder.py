"""Files of a folder are read without being run; what they say is checked, with the line it stands in."""

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlcore.catalogue import LEARNABLE, METHODS, METRICS, OBJECTIVES, plugins, tuning
from mlcore.catalogue.learnable import needs_objects, options_of, parts_of
from mlcore.catalogue.plugin_folder import Malformed, specs_of
from mlcore.catalogue.plugins import FAILED, load, register, unregister
from mlcore.catalogue.spec import LearnableSpec

GOOD = """
import a_module_that_nobody_has
raise SystemExit("this file must never be run")

HARMONY = {
    "kind": "learnable", "name": "edge_mass", "title": "Edge mass", "class": "EdgeMass", "higher_is_better": False,
    "term_weight": 2, "trained_with": ["mask"],
    "fields": [{"name": "width", "kind": "int", "default": 3, "minimum": 1, "maximum": 9}],
}


class EdgeMass:
    pass
"""


@pytest.fixture(autouse=True)
def _catalogue_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    kept = [(known, dict(known)) for known in (METHODS, METRICS, LEARNABLE, OBJECTIVES, FAILED)]
    path = list(sys.path)
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: ())
    monkeypatch.delenv("HARMONY_PLUGINS", raising=False)
    yield
    for known, before in kept:
        known.clear()  # type: ignore[attr-defined]
        known.update(before)  # type: ignore[attr-defined]
    sys.path[:] = path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HARMONY_PLUGIN_FOLDER", str(tmp_path))
    return tmp_path


def choices() -> dict[str, str]:
    return dict(next(field for field in OBJECTIVES["harmony"].fields if field.name == "metric").choices)


def test_a_file_is_known_and_never_run(folder: Path) -> None:
    (folder / "edge_mass.py").write_text(GOOD)
    (folder / "helper.py").write_text("raise SystemExit(1)")
    (folder / "_private.py").write_text("HARMONY = 1")
    load()
    assert not FAILED
    spec = LEARNABLE["edge_mass"]
    assert (spec.path, spec.title, spec.term_weight) == ("edge_mass.EdgeMass", "Edge mass", 2)
    assert (spec.trained_with, spec.higher_is_better, spec.plain) == (("mask",), False, "edge_mass")
    assert options_of("edge_mass", "width = 5") == {"width": 5}
    assert needs_objects("edge_mass")
    assert choices()["edge_mass"] == "Edge mass"
    metric = METRICS["edge_mass"]
    assert (metric.needs, metric.higher_is_better) == (("map", "mask", "model", "method"), False)
    assert [field.name for field in metric.fields] == ["width"]
    assert sys.path[-1] == str(folder)
    assert "edge_mass" not in sys.modules
    load()  # a second time changes nothing
    assert not FAILED
    unregister("edge_mass")
    assert "edge_mass" not in METRICS
    assert "edge_mass" not in choices()


def test_a_method_and_a_plain_metric_are_known_too(folder: Path) -> None:
    (folder / "two_things.py").write_text(
        'HARMONY = [{"kind": "method", "name": "halo", "class": "Halo", "class_specific": False},\n'
        '           {"kind": "metric", "name": "halo_size", "class": "Size", "needs": ["map", "mask"]}]\n'
        "class Halo: ...\nclass Size: ...\n"
    )
    load()
    assert not FAILED
    assert (METHODS["halo"].path, METHODS["halo"].class_specific) == ("two_things.Halo", False)
    assert (METRICS["halo_size"].needs, METRICS["halo_size"].title) == (("map", "mask"), "Halo size")


@pytest.mark.parametrize(
    ("code", "line", "words"),
    [
        ("\nHARMONY = {'kind': KIND}\n", 2, "must be written out"),
        ("HARMONY = 3", 1, "must be a dictionary"),
        ("x = 1\ny = 2\nHARMONY = {'kind': 'learnable', 'name': 'b'}", 3, "does not say class"),
        ("HARMONY = {'kind': 'spell', 'name': 'b', 'class': 'B'}", 1, "kind is learnable, metric, method"),
        ("HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B'}", 1, "There is no class “B” in this file"),
        ("HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B', 'colour': 1}\nclass B: ...", 1, "no “colour” here"),
        ("HARMONY = {'kind': 'metric', 'name': 3, 'class': 'B'}\nclass B: ...", 1, "name is text, not 3"),
        ("HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B', 'needs': 'map'}\nclass B: ...", 1, "list of texts"),
        ("HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B', 'costly': 1}\nclass B: ...", 1, "True or False"),
        (
            "HARMONY = {'kind': 'learnable', 'name': 'b', 'class': 'B', 'term_weight': 'x'}\nclass B: ...", 1,
            "term_weight is a number",
        ),
        (
            "HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B', 'fields': [{'name': 'n', 'kind': 'int',"
            " 'default': 'x'}]}\nclass B: ...", 1, "The field 'n': “x” is not a number",
        ),
        ("HARMONY = {'kind': 'learnable', 'name': 'b', 'class': 'B'}\nclass B: ...", 1, "which way is better"),
        ("\n\nHARMONY = {'kind': 'metric', 'name': 'B!', 'class': 'B'}\nclass B: ...", 3, "is no name: small"),
        ("\nHARMONY = {'kind': 'metric', 'name': 'road', 'class': 'B'}\nclass B: ...", 2, "is ROAD .* already"),
        ("x = 1\ndef f(:\n", 2, "This is no Python"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(
    folder: Path, caplog: pytest.LogCaptureFixture, code: str, line: int, words: str
) -> None:
    (folder / "a_bad_one.py").write_text(code)
    (folder / "edge_mass.py").write_text(GOOD)
    before = METRICS["road"]
    with caplog.at_level(logging.ERROR):
        load()
    assert list(FAILED) == ["a_bad_one.py"]
    assert FAILED["a_bad_one.py"].startswith(f"a_bad_one.py, line {line}: ")
    assert re.search(words, FAILED["a_bad_one.py"])
    assert "The plug-in a_bad_one.py could not be loaded" in caplog.text
    assert "edge_mass" in LEARNABLE
    assert "b" not in METRICS
    assert METRICS["road"] is before


def test_a_file_that_would_hide_another_module_is_refused(folder: Path) -> None:
    code = "HARMONY = {'kind': 'metric', 'name': 'b', 'class': 'B'}\nclass B: ...\n"
    for name, words in (("json.py", "a module “json” already"), ("a-b.py", "cannot be imported")):
        (folder / name).write_text(code)
        with pytest.raises(Malformed, match=words):
            specs_of(folder / name)


def test_a_file_of_two_things_of_which_one_is_wrong_leaves_nothing(folder: Path) -> None:
    (folder / "half.py").write_text(
        'HARMONY = [{"kind": "learnable", "name": "first_half", "class": "A", "higher_is_better": True},\n'
        '           {"kind": "metric", "name": "road", "class": "A"}]\nclass A: ...\n'
    )
    load()
    assert list(FAILED) == ["half.py"]
    assert "first_half" not in LEARNABLE
    assert "first_half" not in METRICS
    assert "first_half" not in choices()
    (folder / "half.py").write_text(GOOD.replace("edge_mass", "first_half"))
    load()
    assert not FAILED
    assert "first_half" in choices()


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARMONY_PLUGIN_FOLDER", str(tmp_path / "none"))
    load()
    assert "There is no such folder" in FAILED[str(tmp_path / "none")]


def test_a_learnable_metric_may_name_the_plain_one_of_its_score() -> None:
    spec = register(LearnableSpec("mine", "Mine", "my.Mine", "…", higher_is_better=False, plain="entropy"))
    assert LEARNABLE["mine"] is spec
    assert "mine" not in METRICS
    assert "mine" in choices()
    with pytest.raises(ValueError, match="there is no such metric"):
        register(LearnableSpec("other", "Other", "my.Other", "…", higher_is_better=False, plain="beauty"))
    with pytest.raises(ValueError, match=r"is Entropy \(.*\) already: give my.Entropy another name"):
        register(LearnableSpec("entropy", "Entropy", "my.Entropy", "…", higher_is_better=False))
    with pytest.raises(ValueError, match=r"is Mine \(my.Mine\) already: give my.Other another name"):
        register(LearnableSpec("mine", "Mine", "my.Other", "…", higher_is_better=False))


def test_options_and_parts_are_read_or_refused() -> None:
    assert options_of("road", "noise=0.5; seed = 3;") == {"noise": 0.5, "seed": 3}
    assert options_of("road", "") == {}
    assert parts_of(" rma=0.05, focus =0.01 ") == {"rma": 0.05, "focus": 0.01}
    for text, words in (
        ("noise", "is not an option"),
        ("colour=1", "has no option “colour”. It has noise, seed"),
        ("noise=1;noise=2", "given twice"),
        ("noise=-1", "Noise: -1 is below"),
    ):
        with pytest.raises(ValueError, match=words):
            options_of("road", text)
    for text, words in (
        ("", "one metric or more"),
        ("luck=1", "no metric with its weight"),
        ("combined=1", "no metric with its weight"),
        ("rma", "no metric with its weight"),
        ("rma=1,rma=2", "given twice"),
        ("rma=0", "a number above 0"),
        ("rma=nan", "a number above 0"),
        ("rma=much", "a number above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            parts_of(text)
    assert needs_objects("combined")
    assert not needs_objects("combined", "parts=focus=1")
    assert [name for name in LEARNABLE if needs_objects(name)] == ["rma", "combined"]
    with pytest.raises(ValueError, match="no metric with its weight"):
        options_of("combined", "parts=luck=1")
    recipe = {"objective": "harmony", "metric": "combined"}
    assert tuning.needs_objects(recipe)
    assert not tuning.needs_objects(recipe | {"metric_options": "parts=focus=1,road=0.1"})
    assert tuning.needs_objects(recipe | {"metric_options": "parts=luck"})
    assert not tuning.needs_objects(recipe | {"objective": "gradia"})
