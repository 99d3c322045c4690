"""The code of docs/extending.md as it stands, in a package outside: maps, scores, and what the web process knows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "extending.md"

# The application's catalogue and its forms, settings loaded; torch must not be.
WEB = """
import sys, django
django.setup()
from mlcore.catalogue import METHODS, METRICS, RecipeError, clean, fields_for
from mlcore.catalogue.plugins import FAILED
assert not FAILED, FAILED
assert METHODS["last_energy"].title == "Last energy" and METRICS["lower_half"].title == "Lower half"
power = next(field for field in METHODS["last_energy"].fields if field.name == "power")
assert power.clean("3") == 3.0
import mlcore.admin.run_form
assert "torch" not in sys.modules and "my_maps.last_energy" not in sys.modules
print("known")
"""


def blocks() -> dict[str, str]:
    """The page's Python files by the path in their first line."""
    found = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return dict(found)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for path, code in blocks().items():
        file = tmp_path / "outside" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
    return tmp_path / "outside"


def run(code: str, package: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("HARMONY_PLUGINS", "DJANGO_SETTINGS_MODULE")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"SECRET_KEY": "outside", "DEBUG": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{package}"} | environment,
        cwd=package,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_method_and_a_metric_take_less_than_thirty_lines_each() -> None:
    assert set(blocks()) == {
        "my_maps/__init__.py", "my_maps/last_energy.py", "my_maps/lower_half.py", "notebook.py", "border.py",
    }  # fmt: skip
    lines = {path: len([line for line in code.splitlines() if line.strip()]) for path, code in blocks().items()}
    described = lines["my_maps/__init__.py"]
    assert max(lines["my_maps/last_energy.py"], lines["my_maps/lower_half.py"]) + described / 2 < 30


def test_the_page_runs_in_a_notebook_without_django(package: Path) -> None:
    code = (package / "notebook.py").read_text() + "\nimport sys\nassert 'django' not in sys.modules\n"
    done = run(code, package, HARMONY_PLUGINS="my_maps")
    assert done.stdout == "(4, 16, 16) 4\n", done.stderr
    assert done.returncode == 0, done.stderr


def test_an_installed_package_is_found_by_its_entry_point_and_the_web_shows_it_without_torch(package: Path) -> None:
    facts = package / "my_maps-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-maps\nVersion: 1.0\n")
    toml = re.search(r"```toml\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert toml is not None
    group, entry = toml.group(1).split("\n")[:2]
    assert group == '[project.entry-points."harmony.plugins"]'
    (facts / "entry_points.txt").write_text("[harmony.plugins]\n" + entry.replace('"', "") + "\n")
    done = run(WEB, package, DJANGO_SETTINGS_MODULE="harmony.settings")
    assert done.stdout == "known\n", done.stderr
