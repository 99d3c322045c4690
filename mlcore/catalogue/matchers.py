"""Ways of deciding by comparison (definitions §6): how the nearest candidates are ranked before they vote."""

from dataclasses import dataclass

from mlcore.catalogue.fields import Field
from mlcore.catalogue.spec import Spec

NETWORK = "network"  # the option that names a trained correspondence network, by its UUID
# Of the matchers that score a query's parts one by one.
THRESHOLD = Field("threshold", "Parts that count", "float", 0.55,
                  "From how much like the whole candidate on: 0 the least of the query's parts, 1 the most.",
                  0, 1)  # fmt: skip
BEST = Field("best", "Parts in the score", "int", 5, "The score is the mean cosine of so many of them, the best.",
             1, 1000)  # fmt: skip


@dataclass(frozen=True)
class MatcherSpec(Spec):
    """payload: what its explanations are, "neighbours" or "matches". needs "network": a trained correspondence network.

    An empty path: candidates stay in the order of the search. takes_marks: a person may mark the cells that count.
    """

    payload: str = "matches"
    takes_marks: bool = False


MATCHERS: dict[str, MatcherSpec] = {
    spec.name: spec
    for spec in (
        MatcherSpec(
            "knn",
            "Nearest neighbours",
            "",
            "The pictures whose pooled features are most alike, by cosine.",
            "definitions §6",
            payload="neighbours",
        ),
        MatcherSpec(
            "emd_corr",
            "EMD-Corr",
            "mlcore.correspondence.emd_corr.EMDCorr",
            "Candidates re-ranked by how little it takes to move the query's parts onto theirs.",
            "Taesiri, Nguyen & Nguyen, Visual correspondence-based explanations, NeurIPS 2022; definitions §6",
            fields=(
                Field("preset", "Preset", "choice", "default",
                      "As published: a query and its candidates are balanced together, all of them stopped at once.",
                      choices=(("default", "corrected"), ("correspondence", "as published"))),
                Field("marginals", "Weights of the parts", "choice", "cross", "How much of a part can be moved.",
                      choices=(("cross", "what it has in common with the other picture"), ("uniform", "all equal"))),
                Field("num_patch", "Pairs that count", "int", 5,
                      "Most of all moved; their likeness adds up to the score. 0: all pairs.", 0, 100_000),
                Field("mixed", "Mixed", "bool", False, "Add the likeness of the parts at equal places."),
                Field("unequal_weights", "Unequal weights", "bool", False,
                      "Both pictures' weights are divided by the candidate's sum."),
                Field("epsilon", "Entropy ε", "float", 0.05, "Smaller: closer to the exact distance, and slower.",
                      0.0005, 10),
                Field("iterations", "Iterations", "int", 100, "At most; results say how many pairs had not converged.",
                      1, 100_000),
                Field("tolerance", "Tolerance", "float", 1e-4, "A pair has converged when less than this is astray.",
                      0, 1),
            ),
        ),
        MatcherSpec(
            "chm_corr",
            "CHM-Corr",
            "mlcore.correspondence.chm_corr.CHMCorr",
            "Candidates re-ranked by the parts that a trained network finds to correspond.",
            "Taesiri, Nguyen & Nguyen, NeurIPS 2022; Min & Cho, Convolutional Hough matching, CVPR 2021",
            needs=("network",),
            takes_marks=True,
            fields=(
                Field(NETWORK, "Correspondence network", "text", "",
                      "UUID of a trained network of this classifier; empty: its newest."),
                Field("preset", "Preset", "choice", "default",
                      "As released: rows and columns of the cells are swapped in both pictures, and zeros enter where "
                      "fewer parts count.",
                      choices=(("default", "corrected"), ("correspondence", "as released"))),
                THRESHOLD,
                BEST,
            ),
        ),
        MatcherSpec(
            "cosine_corr",
            "Cosine matcher",
            "mlcore.correspondence.cosine_corr.CosineCorr",
            "Candidates re-ranked by the best cosine of each part: what a trained network is measured by.",
            "definitions §6",
            takes_marks=True,
            fields=(THRESHOLD, BEST),
        ),
    )
}  # fmt: skip
