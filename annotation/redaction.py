"""What must not stand in a log: the tokens of personal links, and the ids that a recruiting site sends along."""

import logging
import re
from typing import Any

# Django writes the address of every request that it refuses.
LOGGERS = ("django.request", "django.security.csrf", "django.server")
_TOKEN = re.compile(r"/(join|back)/[^/\s?\"']+")
_RECRUITED = re.compile(r"\b(PROLIFIC_PID|SESSION_ID)=[^&\s\"']+")


class WithoutTokens(logging.Filter):
    """Lets every record pass, with `…` where a token or an id stood."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(_without(item) for item in record.args)
        record.msg = _without(record.msg)
        return True


def _without(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _RECRUITED.sub(r"\1=…", _TOKEN.sub(r"/\1/…", value))


def keep_tokens_out() -> None:
    """Called once, when the application is ready."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(known, WithoutTokens) for known in logger.filters):
            logger.addFilter(WithoutTokens())
