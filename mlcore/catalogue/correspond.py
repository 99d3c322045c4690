"""The recipe of a classification by comparison (definitions §6)."""

from mlcore.catalogue.fields import Field
from mlcore.catalogue.matchers import MATCHERS
from mlcore.catalogue.recipe_fields import INPUT, MACHINE, PARTS, choices_of

LABEL_SOURCE = "import"  # as mlcore.models.images names it, which this room does not know


def correspond_fields() -> tuple[Field, ...]:
    """What a run of the kind “correspond” is asked, without the matchers' own options."""
    return (
        Field("matchers", "Ways of comparing", "choices", ("knn", "emd_corr"),
              "Each decides by its own vote and leaves its own explanations.",
              choices=tuple((spec.name, spec.title) for spec in MATCHERS.values()), group="What"),
        Field("head", "The classifier's own answer", "bool", True,
              "Beside them, wherever it knows the classes by name.", group="What"),
        Field("part", "Part", "choice", "all", "Whose images are the queries. A look at the test part is logged.",
              choices=choices_of("all", *PARTS), group="What"),
        Field("gallery_part", "Part of the gallery", "choice", "all",
              "Of the same partition, where the gallery is the queries' own set. No image is its own neighbour.",
              choices=choices_of("all", *PARTS), group="What"),
        Field("layer", "Layer", "text", "", "Whose features are compared; empty: the last with cells.", group="How"),
        Field("candidates", "Candidates", "int", 50, "Nearest neighbours that are looked at.", 1, 1000, group="How"),
        Field("votes", "Votes", "int", 20, "First of them that vote; confidence is the share of votes.", 1, 1000,
              group="How"),
        Field("ties", "Equal votes", "choice", "nearest", "Who wins.",
              choices=(("nearest", "the class of the nearest"), ("lowest", "the lowest class, as released")),
              group="How"),
        Field("index", "Search", "choice", "exact", "Large galleries may be searched by approximation.",
              choices=(("exact", "exact"), ("flat", "faiss, flat"), ("ivf", "faiss, inverted lists"),
                       ("hnsw", "faiss, graph")), group="How"),
        Field("neighbours", "Neighbours kept", "int", 10, "For pictures and studies.", 1, 20, group="How"),
        Field("label_source", "Right answers", "text", LABEL_SOURCE,
              "Who said what the queries show; where it says several labels of an image, each of them is right.",
              group="Which images"),
        Field("classes", "Only classes", "text", "",
              "Names, separated by commas: queries of these alone; empty: all.", group="Which images"),
        Field("drop_duplicates", "Without duplicates", "bool", False,
              "Leave out queries whose picture, or one that looks the same, lies in another set's gallery.",
              group="Which images"),
        Field("drop_grey", "Without grey pictures", "bool", False, "Leave out queries without colour.",
              group="Which images"),
        Field("drop_small", "Without small pictures", "int", 0,
              "Leave out queries whose shorter side has fewer pixels; published: 224; 0: none.", 0, 4096,
              group="Which images"),
        Field("batch_size", "Batch size", "int", 32, "", 1, 4096, group="How"),
        *INPUT,
        *MACHINE,
    )  # fmt: skip
