"""The researchers' pages about studies, and the people who may sign in."""

from annotation.admin import people, studies

__all__ = ["people", "studies"]
