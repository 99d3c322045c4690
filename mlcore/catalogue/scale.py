"""Training on more than one device: who shares a step, in how many parts it is computed, and what cannot be."""

import re
from collections.abc import Mapping
from typing import Any

from mlcore.catalogue.fields import Field

GROUP = "Scale"

SCALE = (
    Field("processes", "Processes", "int", 0,
          "Processes that share each batch on a machine, one a device; 0: one for each device of the worker.",
          0, 64, group=GROUP),
    Field("accumulate", "Parts of a batch", "int", 1,
          "A batch is computed in so many parts one after another, for less memory; one step of the optimiser.",
          1, 1024, group=GROUP),
    Field("compile", "Compile", "choice", "off",
          "auto: by torch.compile where the objective asks for outputs alone; where that fails, without.",
          choices=(("off", "off"), ("auto", "auto")), group=GROUP),
    Field("nodes", "Machines", "int", 1,
          "Machines that share the run; every other one joins with manage.py join_run.", 1, 64, group=GROUP),
    Field("rendezvous", "Rendezvous", "text", "",
          "Where several machines meet: host:port of one of them, such as node0:29400.", group=GROUP),
)  # fmt: skip

ENDPOINT = re.compile(r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,251}[A-Za-z0-9])?):(?P<port>[0-9]{1,5})")


def host_of(rendezvous: str) -> str:
    """The host of "host:port". Raises ValueError with one sentence."""
    found = ENDPOINT.fullmatch(rendezvous.strip())
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ValueError(f"“{rendezvous}” is not host:port, such as node0:29400.")
    return found["host"].lower()


def scale_errors(recipe: Mapping[str, Any]) -> dict[str, str]:
    """What a training recipe asks of processes and machines that cannot be, by field."""
    errors: dict[str, str] = {}
    batch, parts, nodes = int(recipe["batch_size"]), int(recipe["accumulate"]), int(recipe["nodes"])
    processes = max(int(recipe["processes"]), 1) * nodes
    if processes > batch:
        field = "processes" if int(recipe["processes"]) > 1 else "nodes"
        errors[field] = f"A batch of {batch} cannot be shared by {processes} processes."
    elif parts > 1 and batch < 2 * parts * processes:
        errors["accumulate"] = f"Each part needs two images: a batch of {batch} is too small for {parts} parts" + (
            f" in each of {processes} processes." if processes > 1 else "."
        )
    if nodes > 1 and not recipe["rendezvous"]:
        errors["rendezvous"] = "Several machines need a place to meet: host:port of one of them."
    elif recipe["rendezvous"] and nodes == 1:
        errors["rendezvous"] = "One machine needs no rendezvous: leave it empty, or choose two machines or more."
    elif recipe["rendezvous"]:
        try:
            host_of(str(recipe["rendezvous"]))
        except ValueError as error:
            errors["rendezvous"] = str(error)
    return errors
