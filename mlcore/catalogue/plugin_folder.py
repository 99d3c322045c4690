"""Plug-in files: one Python file holds a metric or method and says of itself what it is.

    HARMONY = {"kind": "learnable", "name": "border", "title": "Border", "class": "Border", "higher_is_better": False}

stands in the file, outside of functions. The file is read without being run: it may import torch and be taken in by a
process that never does. Files without such a line are none of ours and left alone.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mlcore.catalogue.fields import Field
from mlcore.catalogue.spec import LearnableSpec, MethodSpec, MetricSpec

KINDS: dict[str, type[MethodSpec] | type[MetricSpec] | type[LearnableSpec]] = {
    "learnable": LearnableSpec,
    "metric": MetricSpec,
    "method": MethodSpec,
}
LITERAL = "HARMONY"
# What the literal itself says instead of the spec's `path`.
OWN = ("kind", "class")
NEEDED = ("kind", "name", "class")


class Malformed(ValueError):
    """What is wrong with a plug-in file, and where."""

    def __init__(self, file: Path, line: int, sentence: str) -> None:
        self.line = line
        super().__init__(f"{file.name}, line {line}: {sentence}")


def files(folder: Path) -> list[Path]:
    """The folder's Python files by name, but for those whose names begin with an underscore or a dot."""
    return sorted(file for file in folder.glob("*.py") if file.is_file() and file.name[0] not in "_.")


def specs_of(file: Path) -> list[tuple[int, MethodSpec | MetricSpec]]:
    """The specs that a file carries, each with the line it stands in. Nothing of the file is run.

    Raises Malformed, with the line, for what is no Python, for a literal that is no literal or not as it should be,
    and for a file whose name another module has.
    """
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        raise Malformed(file, error.lineno or 1, f"This is no Python: {error.msg}.") from error
    except ValueError as error:  # a zero byte
        raise Malformed(file, 1, f"This is no Python: {error}.") from error
    found: list[tuple[int, MethodSpec | MetricSpec]] = []
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for value in _literals(tree):
        try:
            said = ast.literal_eval(value)
        except ValueError:
            raise Malformed(
                file, value.lineno, f"{LITERAL} must be written out: text, numbers, True, False, lists, no names."
            ) from None
        for one in said if isinstance(said, list | tuple) else [said]:
            try:
                found.append((value.lineno, _spec(one, file.stem, classes)))
            except (TypeError, ValueError) as error:
                raise Malformed(file, value.lineno, str(error)) from error
    if found and not file.stem.isidentifier():
        raise Malformed(file, 1, f"“{file.name}” cannot be imported: letters, digits and underscores, please.")
    if found and _belongs_to_another(file):
        raise Malformed(file, 1, f"There is a module “{file.stem}” already: call the file something else.")
    return found


def make_importable(file: Path) -> None:
    """Put the file's folder at the end of Python's search path, so that it hides nothing."""
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.append(folder)


def _literals(tree: ast.Module) -> Iterator[ast.expr]:
    """What the file assigns to the name that we look for, outside of functions and classes."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if node.value is not None and any(isinstance(one, ast.Name) and one.id == LITERAL for one in targets):
            yield node.value


def _spec(said: Any, module: str, classes: set[str]) -> MethodSpec | MetricSpec:
    """A spec from what a file says. Raises ValueError with a sentence."""
    if not isinstance(said, dict) or not all(isinstance(key, str) for key in said):
        raise ValueError(f"{LITERAL} must be a dictionary, such as {{'kind': 'learnable', 'name': …}}.")
    missing = [key for key in NEEDED if key not in said]
    if missing:
        raise ValueError(f"{LITERAL} does not say {' and '.join(missing)}.")
    if said["kind"] not in KINDS:
        raise ValueError(f"kind is {', '.join(KINDS)}, not “{said['kind']}”.")
    if said["class"] not in classes:
        raise ValueError(f"There is no class “{said['class']}” in this file.")
    kind = KINDS[said["kind"]]
    known = {field.name: field for field in fields(kind) if field.name != "path"}
    options: dict[str, Any] = {}
    for key, value in said.items():
        if key in OWN:
            continue
        if key not in known:
            raise ValueError(f"There is no “{key}” here. Known: {', '.join((*OWN, *known))}.")
        options[key] = _value(key, value, known[key].default)
    options.setdefault("title", str(said["name"]).replace("_", " ").capitalize())
    options.setdefault("summary", options["title"])
    if kind is not MethodSpec:
        options.setdefault("needs", ("map", "model", "method") if kind is LearnableSpec else ("map",))
    return kind(path=f"{module}.{said['class']}", **options)


def _value(key: str, value: Any, default: Any) -> Any:
    """A value as the spec holds it. Raises ValueError where it is of another kind."""
    if key == "fields":
        return tuple(_field(one) for one in _several(key, value, dict))
    if isinstance(default, tuple):
        return tuple(_several(key, value, str))
    if key == "higher_is_better":
        wanted: Any = bool
    elif default is MISSING:
        wanted = str
    else:
        wanted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, wanted) or (wanted == (int, float) and isinstance(value, bool)):
        names = {bool: "True or False", str: "text"}
        raise ValueError(f"{key} is {names.get(wanted, 'a number')}, not {value!r}.")
    return value


def _several(key: str, value: Any, kind: type) -> list[Any]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, kind) for one in value):
        raise ValueError(f"{key} is a list{' of texts' if kind is str else ' of dictionaries'}, not {value!r}.")
    return list(value)


def _field(said: dict[str, Any]) -> Field:
    """An option of the metric or method. Raises ValueError where it is not as `Field` wants it."""
    options: dict[str, Any] = {"label": said.get("name"), "group": "Metric"} | said
    options["choices"] = tuple(tuple(pair) for pair in options.get("choices", ()))
    try:
        field = Field(**options)
        if field.kind not in ("int", "float", "bool", "choice", "choices", "text"):
            raise ValueError(f"kind is int, float, bool, choice, choices or text, not “{field.kind}”.")
        field.clean(field.default)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The field {said.get('name', '')!r}: {error}") from error
    return field


def _belongs_to_another(file: Path) -> bool:
    """Whether Python would import another module by the file's name."""
    there = sys.modules.get(file.stem)
    if there is not None:
        origin = getattr(there, "__file__", None)
    else:
        try:
            spec = find_spec(file.stem)
        except (ImportError, ValueError):
            return True
        if spec is None:
            return False
        origin = spec.origin
    return origin is None or Path(origin).resolve() != file.resolve()
