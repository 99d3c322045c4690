"""A run's turn on a device: it stays queued, and asks again, while another run computes there."""

from collections.abc import Callable
from uuid import UUID

from mlcore.models import Run
from mlcore.runs import state, workers
from mlcore.runs.limits import limit
from mlcore.runs.state import Claim, SlotTaken

OnWait = Callable[[str], None]


def take_turn(run_uuid: UUID | str, worker: str, slot: str, on_wait: OnWait | None = None) -> Claim | None:
    """The claim, once the device `slot` is free; None where the run is not queued (any more).

    Whoever holds the device is named in the run's log and to `on_wait`, each once. A worker that is asked to end
    hands the run back; Ctrl-C cancels it and is raised again. A solo worker waits here rather than take the next
    message, whose run would wait for the same device.
    """
    told = ""
    try:
        while True:
            try:
                return state.claim(run_uuid, worker, slot=slot)
            except SlotTaken as taken:
                if str(taken) != told:
                    told = str(taken)
                    state.note_waiting(run_uuid, f"Waits: {told}")
                    if on_wait is not None:
                        on_wait(told)
            if workers.stopping.wait(limit("TURN_SECONDS")):
                workers.handed_back.extend(Run.objects.filter(uuid=run_uuid, state=Run.State.QUEUED))
                return None
    except KeyboardInterrupt:
        state.give_up_waiting(run_uuid, f"Cancelled from the keyboard while it waited for {slot}.")
        raise
