"""The two ways in which a job ends early."""

from __future__ import annotations


class JobError(ValueError):
    """The job cannot go on; the message is one plain sentence for the person who started it."""


class Cancelled(Exception):
    """The job stopped because it was asked to; `checkpoint` is where it can go on, if anywhere."""

    def __init__(self, checkpoint: str | None = None) -> None:
        super().__init__("The job was cancelled.")
        self.checkpoint = checkpoint
