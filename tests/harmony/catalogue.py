"""Reads catalogues of translations (.po and .mo) and finds the sentences of the sources, without GNU gettext."""

import ast
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation.template import templatize

ROOT = Path(settings.BASE_DIR)
FOLDER = ROOT / "locale" / "de" / "LC_MESSAGES"
CALLS = {
    "_": "gettext",
    "gettext": "gettext",
    "gettext_lazy": "gettext",
    "gettext_noop": "gettext",
    "ngettext": "ngettext",
    "ngettext_lazy": "ngettext",
    "pgettext": "pgettext",
    "pgettext_lazy": "pgettext",
    "npgettext": "npgettext",
    "npgettext_lazy": "npgettext",
}
_STRING = r"""u?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_IN_TEMPLATE = re.compile(rf"\b(_|n?p?gettext)\(\s*((?:{_STRING}\s*,?\s*)+)")


@dataclass(frozen=True)
class Message:
    """One sentence as the sources write it; `plural` and `context` are empty where there are none."""

    singular: str
    plural: str = ""
    context: str = ""


def read_po(path: Path) -> tuple[dict[Message, tuple[str, ...]], set[str]]:
    """Every message with its translations (the header under the empty message), and the flags that occur."""
    found: dict[Message, tuple[str, ...]] = {}
    flags: set[str] = set()
    parts: dict[str, str] = {}
    field = ""

    def keep() -> None:
        if "msgid" in parts:
            message = Message(parts["msgid"], parts.get("msgid_plural", ""), parts.get("msgctxt", ""))
            assert message not in found, message
            found[message] = tuple(parts[name] for name in sorted(parts) if name.startswith("msgstr"))
        parts.clear()

    for line in path.read_text(encoding="utf-8").splitlines():
        assert not line.startswith("#~"), "an obsolete entry"
        if line.startswith("#,"):
            flags |= {flag.strip() for flag in line[2:].split(",")}
        if not line or line.startswith("#"):
            continue
        if line.startswith('"'):
            parts[field] += ast.literal_eval(line)
            continue
        field, text = line.split(" ", 1)
        if field == "msgctxt" or (field == "msgid" and "msgid" in parts):
            keep()
        parts[field] = ast.literal_eval(text)
    keep()
    return found, flags


def read_mo(data: bytes) -> dict[Message, tuple[str, ...]]:
    """The binary form (GNU gettext manual, 10.3): magic number, revision, count, two tables of (length, offset)."""
    magic, revision, count, keys, values = struct.unpack_from("<5I", data)
    assert (magic, revision) == (0x950412DE, 0)

    def text(table: int, index: int) -> str:
        length, offset = struct.unpack_from("<2I", data, table + 8 * index)
        assert data[offset + length] == 0
        return data[offset : offset + length].decode()

    found = {}
    for index in range(count):
        context, _, rest = text(keys, index).rpartition("\x04")
        singular, _, plural = rest.partition("\0")
        found[Message(singular, plural, context)] = tuple(text(values, index).split("\0"))
    return found


def sources() -> set[Message]:
    """Every sentence that the templates and modules outside the researchers' pages hold."""
    found: set[Message] = set()
    for path in sorted((ROOT / "templates").rglob("*.html")):
        if "admin" not in path.relative_to(ROOT / "templates").parts:
            found |= set(_in_template(path.read_text(encoding="utf-8")))
    for folder in ("annotation", "harmony", "mlcore"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "admin" not in path.relative_to(ROOT).parts:
                found |= set(_in_module(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def _in_template(source: str) -> Iterator[Message]:
    for call, arguments in _IN_TEMPLATE.findall(templatize(source)):
        texts = [ast.literal_eval(one) for one in re.findall(_STRING, arguments)]
        yield _message(CALLS[call], texts)


def _in_module(tree: ast.Module) -> Iterator[Message]:
    """Only names that the module takes from Django's translation are calls of it: `_` is often nobody's name."""
    names = {
        alias.asname or alias.name: CALLS[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
        if alias.name in CALLS
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if texts:  # a default that is looked up by its own text has none here
                yield _message(names[node.func.id], texts)


def _message(call: str, texts: list[str]) -> Message:
    context = texts.pop(0) if "pgettext" in call else ""
    return Message(texts[0], texts[1] if call.startswith("n") else "", context)
