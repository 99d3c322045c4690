"""The description of something that exists, small enough for the web process."""

from dataclasses import dataclass

from mlcore.catalogue.fields import Field


@dataclass(frozen=True)
class Spec:
    """`path` is the dotted path of the class in a PyTorch room; `needs` names what must be at hand
    (mask, box, map, model, gradient); `fields` are its own options."""

    name: str
    title: str
    path: str
    summary: str
    reference: str = ""
    needs: tuple[str, ...] = ()
    fields: tuple[Field, ...] = ()
    higher_is_better: bool | None = None
