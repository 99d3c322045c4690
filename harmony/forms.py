"""A form that does one thing by one function of the domain, and shows what that function refused."""

from collections.abc import Callable
from typing import Any

from django import forms


class ActionForm(forms.Form):
    """`action(form)` runs in `perform`; the errors named in `refusals` become sentences at their fields."""

    refusals: tuple[type[Exception], ...] = (ValueError,)
    required_css_class = "required"

    def __init__(self, *args: Any, action: Callable[["ActionForm"], Any], **kwargs: Any) -> None:
        self.action = action
        super().__init__(*args, **kwargs)
        self.label_suffix = ""

    def perform(self) -> Any:
        """What the action returns, or None where it was refused; then the form holds the sentences."""
        try:
            return self.action(self)
        except self.refusals as error:
            errors = getattr(error, "errors", None)
            if isinstance(errors, dict):
                for name, sentence in errors.items():
                    self.add_error(name if name in self.fields else None, sentence)
            else:
                self.add_error(None, str(error))
            return None
