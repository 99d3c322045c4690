"""The figures of an analysis as a LaTeX table (package booktabs), from its dictionary alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from mlcore.exchange import latex
from mlcore.exchange.latex import escaped

_HEAD = (
    "Cell", "People", "Images", "Original", "Neither", "Tuned", "Alignment", r"95\,\% interval", "$p$", "$p$ (Holm)",
    "Gain",
)  # fmt: skip
_NOTHING = "--"


def table(report: Mapping[str, Any], *, label: str = "tab:alignment") -> str:
    """One line a cell and one for all of them; needs \\usepackage{booktabs}."""
    cells: Sequence[Mapping[str, Any]] = report["cells"]
    lines = [_line(cell) for cell in cells]
    if len(cells) != 1:
        lines += [r"\midrule", _line(report["overall"])]
    columns = f"l{'r' * (len(_HEAD) - 1)}"
    return latex.table(lines, caption=_caption(report), label=label, columns=columns, head=_HEAD)


def _caption(report: Mapping[str, Any]) -> str:
    who = ", ".join(f"{number} {kind}" for kind, number in report["people"].items()) or "nobody"
    few = " These raters only." if report["overall"]["alignment"]["these_raters_only"] else ""
    return (
        "Alignment (tuned $-$ original)/(tuned + original + neither): mean over raters of their own scores, Student's "
        rf"$t$ 95\,\% interval over raters ({escaped(who)}).{few} Shares in per cent of answers. Gain: change of the "
        "metric from the original to the tuned classifier, mean over images."
    )


def _line(one: Mapping[str, Any]) -> str:
    score, shares = one["alignment"], one["shares"]
    gain = one.get("gain") or {}
    return (
        " & ".join(
            [
                escaped(str(one["cell"] or "all pairs")),
                str(one["people"]),
                str(one["images"]),
                *(_share(shares[name]) for name in ("original", "neither", "tuned")),
                _signed(score["mean"]),
                _NOTHING if score["low"] is None else f"[{_signed(score['low'])}, {_signed(score['high'])}]",
                _p(one["p"]),
                _p(one["p_holm"]),
                _signed(gain.get("difference"), 3),
            ]
        )
        + r" \\"
    )


def _share(value: float | None) -> str:
    return _NOTHING if value is None else f"{100 * value:.1f}"


def _signed(value: float | None, digits: int = 2) -> str:
    return _NOTHING if value is None else f"${value:+.{digits}f}$"


def _p(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return "$<0.001$" if value < 0.001 else f"{value:.3f}"
