"""How long is too long: every time and count that decides about a run, in one place.

Each can be changed by a setting of the same name with the prefix RUN_ (tests and slow machines do).
"""

from typing import Any

from django.conf import settings

DEFAULTS: dict[str, float] = {
    # A held run whose heartbeat is older is taken away from its worker.
    "STALE_SECONDS": 60.0,
    # Heartbeat, progress, log and metrics are written this often; also while the child is silent.
    "WRITE_SECONDS": 1.0,
    "BEAT_SECONDS": 2.0,
    # From "please stop" to SIGKILL: time for the step at hand and a checkpoint.
    "GRACE_SECONDS": 30.0,
    # A queued run that an idle worker has not taken for so long has lost its message.
    "RESEND_SECONDS": 20.0,
    # A worker reports every WORKER_BEAT_SECONDS and counts as alive for WORKER_ALIVE_SECONDS.
    "WORKER_BEAT_SECONDS": 10.0,
    "WORKER_ALIVE_SECONDS": 60.0,
    # A run whose device is taken asks again so often.
    "TURN_SECONDS": 1.0,
    "MAX_ATTEMPTS": 3,
    "LOG_CHARS": 60_000,
    # A short question of a page: how long it may be computed, how long it waits where no worker lives and where one
    # does, when the idle process that answers ends, and how long answers and their pictures are kept.
    "INQUIRY_SECONDS": 90.0,
    "INQUIRY_WAIT_SECONDS": 30.0,
    "INQUIRY_QUEUE_SECONDS": 300.0,
    "INQUIRY_IDLE_SECONDS": 600.0,
    "INQUIRY_KEEP_SECONDS": 86_400.0,
    # Questions of one person that wait at the same time.
    "INQUIRY_MOST": 8,
    # The most processes that share a training run on a machine, and their number where its recipe leaves it open;
    # 0: one a device.
    "PROCESSES": 0,
}


def limit(name: str) -> Any:
    """The limit of this name, in seconds, attempts or characters."""
    return getattr(settings, f"RUN_{name}", DEFAULTS[name])
