"""Which trained correspondence network a comparison reads: chosen when it starts, and where its file lies."""

import uuid
from pathlib import Path
from typing import Any

from mlcore.catalogue.matchers import MATCHERS, NETWORK
from mlcore.models import Classifier, CorrespondenceNetwork
from mlcore.runs.wish import RunRefused


def needing(matchers: list[str]) -> list[str]:
    """Those of the matchers that need a trained network."""
    return [name for name in matchers if name in MATCHERS and NETWORK in MATCHERS[name].needs]


def network_for(classifier: Classifier, matcher: str, given: str = "") -> CorrespondenceNetwork:
    """The network of this classifier that is given by its UUID or the beginning of one, else its newest.

    Raises ValueError with a sentence where there is none, or where it is another classifier's.
    """
    title, text = MATCHERS[matcher].title, given.strip().lower()
    rows = CorrespondenceNetwork.objects.select_related("classifier").order_by("-created", "-pk")
    if not text:
        newest = rows.filter(classifier=classifier).first()
        if newest is None:
            raise ValueError(
                f"“{classifier}” has no trained correspondence network, which {title} needs: train one on it first, or "
                f"leave {title} out."
            )
        return newest
    try:
        found = list(rows.filter(uuid=uuid.UUID(text)))
    except ValueError:
        found = [row for row in rows if str(row.uuid).startswith(text)] if len(text) >= 6 else []
    if len(found) > 1:
        raise ValueError(f"Several correspondence networks begin with “{given}”; give the whole UUID.")
    if not found:
        raise ValueError(f"There is no correspondence network “{given}”; give its UUID, or nothing for the newest.")
    if found[0].classifier_id != classifier.pk:
        other = found[0]
        raise ValueError(
            f"The correspondence network “{other}” belongs to “{other.classifier}”, not to “{classifier}”."
        )
    return found[0]


def settled(recipe: dict[str, Any], classifier: Classifier) -> dict[str, Any]:
    """The recipe with the network that each matcher reads written into it: one made later changes nothing.

    Raises RunRefused.
    """
    found, errors = dict(recipe), {}
    for name in needing(recipe["matchers"]):
        key = f"{name}.{NETWORK}"
        given = str(recipe.get(key) or "")
        try:
            found[key] = str(network_for(classifier, name, given).uuid)
        except ValueError as error:
            errors[key if given else "matchers"] = str(error)
    if errors:
        raise RunRefused(errors)
    return found


def file_of(network: CorrespondenceNetwork) -> Path:
    """Where its weights lie. Raises ValueError where they are gone."""
    path = Path(network.weights.path)
    if not path.is_file():
        raise ValueError(f"The file of the correspondence network “{network}” is not in the storage any more.")
    return path
