"""1,000 bots play two studies of three conditions through the real pages; prints one table.

    python -m tests.bots [--people 1002] [--seed 0]

Uses DATABASE_URL for a scratch database (`test_<name>`) that is made anew and removed afterwards, and serves the
application with gunicorn, two processes. A 20th of the requests is cut after sending and sent again; a 20th of the
answers is sent from two threads at once. Exits with 1 where something does not hold.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--people", type=int, default=1002, help="rounded up to a multiple of 6")
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="harmony-bots-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "harmony.settings", "HARMONY_VAR": folder, "DEBUG": "1",
            "STORAGE_URL": f"file://{folder}/media", "LOG_LEVEL": "WARNING",
        }  # fmt: skip
        os.environ.setdefault("SECRET_KEY", "bots-" + "x" * 50)
        import django

        django.setup()
        from django.db import connection
        from django.test.utils import setup_databases, teardown_databases

        from tests.bots.crowd import FIFTY, THOUSAND, run
        from tests.bots.server import served

        thirds = -(-given.people // 6)
        size = dataclasses.replace(THOUSAND if thirds >= 120 else FIFTY, thirds=thirds)
        databases = setup_databases(verbosity=0, interactive=False)
        try:
            print(f"{size.people} people on {connection.vendor}, {size.at_once} at once", flush=True)
            with served(Path(folder) / "server") as address:
                result, _ = run(address, size, seed=given.seed, progress=_show(size.people))
        finally:
            teardown_databases(databases, verbosity=0)
    print(result.table())
    return 0 if result.holds else 1


def _show(people: int):
    def show(done: int) -> None:
        if done % max(people // 20, 1) == 0:
            print(f"  {done} of {people}", file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())
