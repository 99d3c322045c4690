"""The row of an explanation set that what decides it leads to: the same of all that is the same set again."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlcore.models import Classifier, ExplanationSet, Run


def decided_set(
    run: Run, classifier: Classifier, told: Mapping[str, Any], decides: Mapping[str, Any]
) -> ExplanationSet:
    """The set of these fields; made, for the run's owner, where it is new.

    told: fields of the row. decides: what more a map or an answer depends on; it goes into the set's hash alone.
    """
    decided = {
        **told,
        "weights": classifier.sha256,
        # Two rows may share their weights; each has maps of its own, which its pages and studies show.
        "classifier": str(classifier.uuid),
        "image_set": str(run.image_set.uuid),
        "padding": classifier.padding,
        **decides,
    }
    made, _ = ExplanationSet.objects.get_or_create(
        hash=hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest(),
        defaults={"classifier": classifier, "image_set": run.image_set, "owner": run.owner, **told},
    )
    return made
