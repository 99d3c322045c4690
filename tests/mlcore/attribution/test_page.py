"""docs/attribution.md says what the catalogue says, and its lines run."""

import re
from pathlib import Path

import pytest
import torch

from mlcore.catalogue import METHODS, MethodSpec
from tests.mlcore.attribution.nets import PoolLinear, images

PAGE = Path(__file__).resolve().parents[3] / "docs" / "attribution.md"


def row(spec: MethodSpec) -> str:
    """The method's line in the page's table."""
    how = "backward" if spec.needs_backward else "trained module" if "attention" in spec.needs else "forward only"
    return " | ".join(
        [
            f"| `{spec.name}`",
            spec.title,
            spec.reference or "–",
            "none" if spec.baseline else how,
            "yes" if spec.class_specific else "no",
            spec.resolution + (", signed" if spec.signed else ""),
            "yes" if spec.differentiable else "no",
            (", ".join(f"`{field.name}`" for field in spec.fields) or "–") + " |",
        ]
    )


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_stands_in_the_table_as_in_the_catalogue(name: str) -> None:
    assert row(METHODS[name]) in PAGE.read_text().splitlines()


def test_the_three_lines_run() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    assert code is not None
    known = {"model": PoolLinear(), "images": images(dtype=torch.float32), "classes": torch.tensor([0, 1, 2])}
    exec(code.group(1), known)
    assert known["maps"].shape == (3, 8, 8)
    assert known["several"].shape == (3, 2, 8, 8)
