"""How much a trial's page brings along without its pictures: at most 80 kB compressed, for every kind."""

import gzip
import posixpath
import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse

from annotation.flow import enter, next_step
from annotation.studies import KINDS
from tests.browser.world import make_world

MOST = 80_000
HEAVIEST = {"team": {"shown": "matches"}, "reasonability": {"maps": 2}}
_LINKED = re.compile(r"""(?:href|src)="(/static/[^"]+)\"""")
_IMPORTED = re.compile(
    r"""(?:^|[\s;])(?:import|export)\b[^"';]*?["'](\.{1,2}/[^"']+)["']|\bimport\(\s*["'](\.{1,2}/[^"']+)["']"""
)
_WORKER = re.compile(r"""new URL\(\s*["'](\.{1,2}/[^"']+)["']""")


def _assets(html: str) -> set[str]:
    """Everything below static/ that the page names, and what its modules and styles name in turn."""
    found: set[str] = set()
    waiting = [path.removeprefix("/static/") for path in _LINKED.findall(html)]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        if path.endswith(".js"):
            text = _read(path)
            named = [a or b for a, b in _IMPORTED.findall(text)] + _WORKER.findall(text)
            waiting += [posixpath.normpath(posixpath.join(posixpath.dirname(path), name)) for name in named]
        if path.endswith(".css"):
            assert "url(" not in _read(path), "a style that brings more would have to be counted"
    return found


def _read(path: str) -> str:
    file = finders.find(path)
    assert file, f"{path} is named and does not exist"
    return Path(file).read_text()


def _compressed(text: str) -> int:
    return len(gzip.compress(text.encode(), 6))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_trials_page_is_light(settings: Any, kind: str) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    world = make_world(images=6, classifiers=2)
    study = getattr(world, kind)(**HEAVIEST.get(kind, {}))
    step = next_step(enter(world.annotator, study))
    client = Client()
    client.force_login(world.annotator)
    answer = client.get(reverse("trial", args=[step.assignment.uuid]))
    assert answer.status_code == 200
    html = answer.content.decode()
    sizes = {path: _compressed(_read(path)) for path in _assets(html)} | {"the page": _compressed(html)}
    assert any(path.startswith("js/trial") for path in sizes)
    heaviest = sorted(sizes.items(), key=lambda item: -item[1])
    print(kind, sum(sizes.values()), heaviest[:4])
    assert sum(sizes.values()) <= MOST, heaviest
