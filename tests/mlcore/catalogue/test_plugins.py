"""Plug-ins that are bad stop nothing; what they say of themselves is checked."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlcore.catalogue import METHODS, METRICS, MethodSpec, plugins
from mlcore.catalogue.plugins import FAILED, load, register, unregister

SPEC = MethodSpec("mine", "Mine", "outside.mine.Mine", "A method of another house.")

HEAD = "from mlcore.catalogue import MethodSpec, MetricSpec, register\n"
GOOD = HEAD + 'register(MethodSpec("good_one", "Good", "a.b.C", "…"))\n'
HALF = HEAD + 'register(MetricSpec("half_one", "Half", "a.b.C", "…"))\nraise RuntimeError("no licence")\n'
TAKEN = HEAD + 'register(MethodSpec("grad_cam", "Better", "a.b.C", "…"))\n'


@pytest.fixture(autouse=True)
def _catalogue_as_before() -> Iterator[None]:
    methods, metrics, failed, known = dict(METHODS), dict(METRICS), dict(FAILED), set(sys.modules)
    yield
    for now, before in ((METHODS, methods), (METRICS, metrics), (FAILED, failed)):
        now.clear()
        now.update(before)  # type: ignore[arg-type]
    for name in set(sys.modules) - known:
        if name.startswith("plugin_"):
            del sys.modules[name]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: ())
    return tmp_path


def test_registering_twice_is_the_same_and_another_ones_name_is_refused() -> None:
    assert register(SPEC) is METHODS["mine"]
    register(replace(SPEC, title="Mine, mended"))
    assert METHODS["mine"].title == "Mine, mended"
    with pytest.raises(ValueError, match=r"“mine” is Mine, mended \(outside.mine.Mine\) already"):
        register(replace(SPEC, path="other.Mine"))
    unregister("mine")
    assert "mine" not in METHODS


@pytest.mark.parametrize("name", ["", "Mine", "1st", "mine/../x", "a b", "x" * 65])
def test_a_name_that_cannot_stand_in_an_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name: small letters"):
        register(replace(SPEC, name=name))


@pytest.mark.parametrize("path", ["", "Mine", "outside..Mine", "outside.mine:Mine"])
def test_a_path_that_leads_to_no_class_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no dotted path of a class"):
        register(replace(SPEC, path=path))


def test_what_is_no_spec_is_refused() -> None:
    with pytest.raises(TypeError, match="a MethodSpec or a MetricSpec, not a dict"):
        register({"name": "mine"})  # type: ignore[arg-type]


def test_bad_plug_ins_are_named_and_stop_nothing(
    outside: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, code in (("good", GOOD), ("half", HALF), ("taken", TAKEN), ("leaves", "raise SystemExit(3)")):
        (outside / f"plugin_{name}.py").write_text(code)
    before = METHODS["grad_cam"]
    monkeypatch.setenv(
        "HARMONY_PLUGINS", " plugin_half, plugin_taken,plugin_none ,,plugin_leaves, plugin_good, plugin_good"
    )
    with caplog.at_level(logging.ERROR):
        load()
    assert METHODS["good_one"].path == "a.b.C"
    assert METHODS["grad_cam"] is before
    assert "half_one" not in METRICS
    assert FAILED["plugin_half"] == "RuntimeError: no licence"
    assert "already: give a.b.C another name" in FAILED["plugin_taken"]
    assert FAILED["plugin_none"].startswith("ModuleNotFoundError")
    assert FAILED["plugin_leaves"] == "SystemExit: 3"
    assert "plugin_good" not in FAILED
    assert "The plug-in plugin_half could not be loaded" in caplog.text


def test_a_mended_plug_in_is_taken_in_by_the_next_call(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = outside / "plugin_mended.py"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file.write_text(HALF)
    monkeypatch.setenv("HARMONY_PLUGINS", "plugin_mended")
    load()
    assert "plugin_mended" in FAILED
    file.write_text(GOOD)
    load()
    assert "plugin_mended" not in FAILED
    assert "good_one" in METHODS
