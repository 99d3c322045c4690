"""Text and tables as LaTeX prints them."""

from collections.abc import Sequence

_ESCAPED = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "−": "$-$", "\n": " ", "\r": " ", "·": r"\textperiodcentered{}", "–": "--", "“": "``", "”": "''",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "ε": r"$\varepsilon$", "λ": r"$\lambda$", "σ": r"$\sigma$",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$",
}  # fmt: skip


def escaped(text: str) -> str:
    """Text letter by letter, so that nothing in a name is a command."""
    return "".join(_ESCAPED.get(letter, letter) for letter in text)


def table(
    lines: Sequence[str], *, caption: str, label: str, columns: str, head: Sequence[str], small: bool = False
) -> str:
    """A floating table of the package booktabs.

    lines: its rows, each with its end, and rules between them. caption, head: LaTeX, escaped by whoever wrote them.
    columns: the letters of tabular. small: many columns in small type.
    """
    size = (r"  \scriptsize", r"  \setlength{\tabcolsep}{3pt}") if small else ()
    return "\n".join([
        r"\begin{table}",
        r"  \centering",
        *size,
        rf"  \caption{{{caption}}}",
        rf"  \label{{{label}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {' & '.join(head)} \\",
        *(f"    {line}" for line in (r"\midrule", *lines, r"\bottomrule")),
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ])  # fmt: skip
