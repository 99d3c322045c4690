"""Text as LaTeX prints it."""

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
