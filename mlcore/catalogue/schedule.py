"""The epochs after which a learning rate falls, as a person writes them."""

from itertools import pairwise


def epochs_of(text: str) -> tuple[int, ...]:
    """ "24, 30" → (24, 30); nothing → (). Raises ValueError unless they are whole numbers from 1 on that rise."""
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if any(not word.isascii() or not word.isdigit() or len(word) > 6 for word in words):
        raise ValueError(f"“{text}” is no list of epochs; write them as 24,30.")
    epochs = tuple(int(word) for word in words)
    if any(epoch < 1 for epoch in epochs) or any(later <= earlier for earlier, later in pairwise(epochs)):
        raise ValueError(f"“{text}”: epochs count from 1, and each stands after the one before it.")
    return epochs
