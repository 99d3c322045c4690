"""Before the first step: will the run fit into its device's memory, and in how many parts of a batch would it?"""

from __future__ import annotations

import torch

from mlcore.training.data import BatchDataset, BatchLoader
from mlcore.training.errors import JobError
from mlcore.training.events import Reporter
from mlcore.training.job import Job
from mlcore.training.memory import LARGE, Estimate, estimate, held_bytes, told
from mlcore.training.room import room
from mlcore.training.setup import batch_of
from mlcore.training.stepping import Stepper

# Two images in a part: BatchNorm needs them.
LEAST = 2


def fit(job: Job, stepper: Stepper, loader: BatchLoader, reporter: Reporter) -> None:
    """Say what the run needs; with `fit_batch_size` cut its batches into parts that fit. Raises JobError where it would
    not fit, with what would.

    Every process must call it. Where the pass cannot be measured the run goes on without an estimate.
    """
    machine = stepper.machine
    found = _estimate(job, stepper, loader, reporter)
    space = room(machine.device, held_bytes(stepper.model, stepper.objective, stepper.optimizer))
    whole = -(-min(int(job.option("batch_size", 32)), len(loader.frames)) // machine.processes)
    parts = stepper.parts
    if found is not None and job.option("fit_batch_size", False):
        # The process with the least room decides for all: they step together.
        fitting = machine.least(whole if space is None else min(found.fits(space), whole))
        parts = _parts(whole, fitting, parts)
    share = -(-whole // min(parts, max(whole // LEAST, 1)))
    short = found is not None and space is not None and found.needs(share) > space
    if machine.agree(short):
        raise JobError(_refusal(machine.device, found, space, share, machine.processes))
    if parts != stepper.parts:
        stepper.parts = parts
        reporter.log(
            f"The batch is computed in {parts} parts of at most {share} images, which fit into memory; the step is "
            "that of the whole batch. BatchNorm's statistics are those of a part."
        )
    if found is not None:
        has = f"; {_name(machine.device)} has {told(space)} free" if space is not None else ""
        reporter.log(
            f"Memory: about {told(found.needs(share))} for {share} images at a time ({told(found.fixed)} for weights, "
            f"gradients and optimiser, {told(found.each)} an image){has}."
        )


def _parts(whole: int, fitting: int, parts: int) -> int:
    """Parts of the largest power of two that fits, where the batch does not; never fewer than the recipe's."""
    share = -(-whole // parts)
    if fitting >= share or fitting < 1:
        return parts
    return max(-(-whole // (1 << (fitting.bit_length() - 1))), parts)


def _estimate(job: Job, stepper: Stepper, loader: BatchLoader, reporter: Reporter) -> Estimate | None:
    machine = stepper.machine
    items = loader.frames.items
    # Maps and boxes make the pass larger, so images with them are measured, where there are any.
    places = range(len(items))
    if not job.shards:
        places = sorted(places, key=lambda place: items[place].map is None and not items[place].boxes)  # type: ignore[assignment]
    dataset = BatchDataset(loader.frames, seed=job.seed, augmentation=loader.augmentation, classes=loader.classes)
    raw = dataset[0, list(places[:LARGE])]
    try:
        batch = batch_of(job, machine, raw)
        return estimate(stepper.model, stepper.objective, stepper.optimizer, batch, machine.autocast)
    except torch.OutOfMemoryError:
        raise JobError(
            f"Not even {LARGE} images fit into the memory of {_name(machine.device)}; a smaller input size or "
            "classifier helps."
        ) from None
    except (RuntimeError, ValueError, IndexError, NotImplementedError) as error:
        reporter.log(f"How much memory a step needs could not be measured ({type(error).__name__}: {error}).")
        return None
    finally:
        if machine.device.type == "cuda":
            torch.cuda.empty_cache()


def _refusal(device: torch.device, found: Estimate | None, space: int | None, share: int, processes: int) -> str:
    if found is None or space is None:  # another process is short of memory
        return "The memory of another process's device is too small for this batch."
    fits = found.fits(space)
    if fits < 1:
        what = "not even one image would fit; a smaller input size or classifier helps."
    else:
        of = f" ({fits} for each of {processes} processes)" if processes > 1 else ""
        what = f"a batch of {fits * processes}{of} would fit, or this one in more parts (accumulate, fit_batch_size)."
    return f"This run needs about {told(found.needs(share))}, {_name(device)} has {told(space)} free; {what}"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda:{device.index if device.index is not None else torch.cuda.current_device()}"
    return "this machine" if device.type == "cpu" else device.type
