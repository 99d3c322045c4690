"""What the commands `layers` and `mask` share: one question to a process of their own, no worker needed."""

from collections.abc import Callable, Mapping
from typing import Any

from django.core.management.base import CommandError

from mlcore.runs.inquiry_server import NoAnswer, Server
from mlcore.runs.questions import QuestionRefused


def ask(question: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The answer to the question that the function makes. Raises CommandError with its sentences."""
    try:
        with Server() as server:
            return server.ask(question())
    except QuestionRefused as refused:
        raise refusal(refused) from refused
    except NoAnswer as error:
        raise CommandError(str(error)) from error
    except KeyboardInterrupt:
        raise CommandError("Stopped.", returncode=130) from None


def refusal(refused: QuestionRefused) -> CommandError:
    """A refusal as the command line says it, a line for each field."""
    return CommandError("\n".join(f"{name}: {text}" if name else text for name, text in refused.errors.items()))
