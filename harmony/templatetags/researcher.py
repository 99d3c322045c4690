"""How numbers and times are written on the researchers' pages."""

from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone

from mlcore.catalogue import METHODS, METRICS, Field
from mlcore.catalogue.matchers import MATCHERS
from mlcore.catalogue.recipes import Difference

register = template.Library()

# Shares, mostly of images: read in percent.
SHARES = {
    "accuracy", "mean_average_precision", "highest_is_a_label", "pointing", "agreement", "harmony_agreement",
    "pck", "pck_cosine",
}  # fmt: skip
# Measured by an objective alone, so that no catalogue names them.
POINTS = {"pck": "PCK@0.1", "pck_cosine": "PCK@0.1 of the plain cosine"}
STATE_ICONS = {
    "queued": "hourglass_empty",
    "claimed": "play_circle",
    "running": "play_circle",
    "succeeded": "check_circle",
    "failed": "error",
    "cancelled": "cancel",
    "draft": "edit",
    "live": "group",
    "closed": "lock",
}


@register.filter
def percent(value: Any, digits: int = 1) -> str:
    """0.8125 → “81.3 %”; nothing known → “–”."""
    return "–" if value is None else f"{100 * float(value):.{int(digits)}f} %"


@register.filter
def points(value: Any) -> str:
    """A difference of shares in points, with its sign: 0.031 → “+3.1”."""
    return "–" if value is None else f"{100 * float(value):+.1f}".replace("-", "−")


@register.filter
def decimals(value: Any, digits: int = 3) -> str:
    return "–" if value is None else f"{float(value):.{int(digits)}f}".replace("-", "−")


@register.filter
def signed(value: Any, digits: int = 3) -> str:
    return "–" if value is None else f"{float(value):+.{int(digits)}f}".replace("-", "−")


@register.filter
def duration(seconds: Any) -> str:
    """Seconds in words, never finer than one needs: “40 seconds”, “12 minutes”, “3 hours 5 minutes”."""
    if seconds is None:
        return "–"
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    whole = max(0, round(float(seconds)))
    if whole < 90:
        return f"{whole} second{'' if whole == 1 else 's'}"
    minutes = round(whole / 60)
    if minutes < 90:
        return f"{minutes} minutes"
    hours, rest = divmod(minutes, 60)
    if hours >= 48:
        return f"{round(hours / 24)} days"
    text = f"{hours} hour{'' if hours == 1 else 's'}"
    return f"{text} {rest} minutes" if rest and hours < 12 else text


@register.filter
def ago(moment: Any) -> str:
    """How long ago, in words."""
    return "–" if moment is None else f"{duration(timezone.now() - moment)} ago"


@register.filter
def state_icon(state: str) -> str:
    return STATE_ICONS.get(str(state), "circle")


@register.filter
def share_of(part: Any, whole: Any) -> float:
    """part ÷ whole in percent, 0 where there is no whole; for bars."""
    return 100.0 * float(part or 0) / float(whole) if whole else 0.0


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """A value of a dictionary by a key that is itself a variable."""
    return mapping.get(key) if hasattr(mapping, "get") else None


@register.filter
def recipe_value(value: Any) -> str:
    """A value, or a name of the code, as a person reads it."""
    if value is True:
        return "yes"
    if value is False:
        return "no"
    if value in (None, ""):
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")


def option(field: Field, value: Any) -> str:
    """The value of a recipe's field as a person reads it: choices by their labels, a text as it is."""
    if field.kind in ("choice", "choices"):
        named = [value] if field.kind == "choice" else value or []
        labels = dict(field.choices)
        return ", ".join(labels.get(str(one), str(one)) for one in named) or "–"
    return str(value) or "–" if field.kind == "text" else recipe_value(value)


@register.filter
def recipe_line(line: Difference) -> str:
    return option(line.field, line.value)


@register.filter
def recipe_default(line: Difference) -> str:
    return option(line.field, line.field.default)


@register.filter
def gain(difference: Any, name: str) -> str:
    """A difference of two values of a metric: in points where it is a share of images."""
    if difference in (None, ""):
        return "–"
    return f"{points(difference)} points" if str(name) in SHARES else signed(difference)


@register.filter
def method_title(name: str) -> str:
    """An attribution method, or a way of comparing, by its title in the catalogue."""
    spec = METHODS.get(name) or MATCHERS.get(name)
    return spec.title if spec else recipe_value(name)


@register.filter
def set_details(explained: Any) -> str:
    """What tells two sets of one method apart: class, layer, preset and options that are not the usual ones."""
    spec = METHODS.get(explained.method)
    usual = {field.name: field.default for field in spec.fields} if spec else {}
    words = ["class " + str(explained.target_class) if explained.target == "given" else explained.get_target_display()]
    words += [explained.layer] if explained.layer else []
    words += [explained.preset] if explained.preset not in ("", "default") else []
    words += [
        # Of the attention module that made the maps, the first letters of its UUID are enough.
        f"{name.replace('_', ' ')} {str(value)[:8] if name == 'attention' else recipe_value(value)}"
        for name, value in (explained.options or {}).items()
        if value not in (None, "", usual.get(name))
    ]
    return ", ".join(words)


@register.filter
def brief(value: Any) -> str:
    """A number in three figures, large or small: 0.213, 4.1e-05."""
    return "–" if value is None else f"{float(value):.3g}".replace("-", "−")


@register.filter
def minus(value: Any) -> str:
    """The other end of a scale around zero."""
    return "–" if value is None else f"−{float(value):.3g}"


@register.filter
def unrounded(value: Any) -> str:
    """A number for an address, to be read back as it was."""
    return repr(float(value))


@register.filter
def cell(value: Any) -> str:
    """A value of a table of figures."""
    if isinstance(value, float):
        return decimals(value)
    return recipe_value(value) if isinstance(value, bool) or value is None else str(value)


@register.filter
def shade(share: Any) -> int:
    """0 to 10: how dark a cell of the matrix stands for a share."""
    return round(10 * float(share or 0))


@register.filter
def unlocalized(value: Any) -> str:
    """A number as a browser's form wants it, whatever the language: 0.5, 1e-08 → 0.00000001."""
    return "" if value is None else f"{float(value):.10f}".rstrip("0").rstrip(".")


@register.filter
def at(items: Any, index: Any) -> Any:
    """items[index], or nothing where there is no such item."""
    try:
        return items[int(index)]
    except (IndexError, KeyError, TypeError, ValueError):
        return ""


@register.filter
def metric_title(name: str) -> str:
    """A metric by its title in the catalogue, or by its own name."""
    spec = METRICS.get(str(name))
    if spec is None and str(name) in POINTS:
        return POINTS[str(name)]
    return spec.title if spec else str(name).replace("_", " ").capitalize().replace("iou", "IoU")


@register.filter
def metric_value(value: Any, name: str) -> str:
    """Shares of images in percent, everything else as a number."""
    if value in (None, ""):  # a template gives "" for what is not there
        return "–"
    return percent(value) if str(name) in SHARES else decimals(value)
