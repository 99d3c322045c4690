"""The web process never loads the PyTorch rooms, and is small."""

import subprocess
import sys

PROBE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "harmony.settings"
import django
django.setup()
from django.contrib import admin
from django.urls import get_resolver
import harmony.wsgi

admin.autodiscover()

def walk(patterns):
    for pattern in patterns:
        if hasattr(pattern, "url_patterns"):
            walk(pattern.url_patterns)
        else:
            assert pattern.callback is not None

walk(get_resolver().url_patterns)
from mlcore.exchange import gradia, images, partitions, render, weights
import annotation.studies, annotation.feedback, annotation.simulation, annotation.exchange.export
import mlcore.runs.start, mlcore.runs.perform, mlcore.tasks
heavy = {"torch", "torchvision", "scipy", "pandas", "statsmodels", "matplotlib"} & set(sys.modules)
print(",".join(sorted(heavy)) or "none")
"""


def test_the_web_process_loads_nothing_heavy(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        env={"SECRET_KEY": "probe", "HARMONY_VAR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "none"
