"""Which device this process owns, as far as can be seen without PyTorch, and under which name others know it.

`HARMONY_DEVICE` says it: "cpu", "cpu:1", "cuda" (every GPU that is seen), "cuda:1", "cuda:0,1". Without it a process
owns all that it sees: every GPU, else the CPU. GPUs are counted in the order of nvidia-smi, and those that
`CUDA_VISIBLE_DEVICES` hides are not seen.
"""

import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CPU, CUDA = "cpu", "cuda"


class NoSuchDevice(Exception):
    """`HARMONY_DEVICE` names what this machine has not; the message is the sentence for the person."""


@dataclass(frozen=True)
class Device:
    """What a process owns: GPUs by their names in nvidia-smi, or a place on the CPU (several share one)."""

    kind: str
    members: tuple[str, ...] = ()
    place: int = 0

    @property
    def name(self) -> str:
        """cpu, cpu:1, cuda:0, cuda:0,1."""
        if self.kind == CPU:
            return f"{CPU}:{self.place}" if self.place else CPU
        return f"{CUDA}:{','.join(self.members)}"

    @property
    def slot(self) -> str:
        """The name under which a run takes it: host and device."""
        return f"{socket.gethostname()}/{self.name}"[:160]

    @property
    def count(self) -> int:
        """Devices that one run could use together."""
        return max(len(self.members), 1)

    def take(self) -> None:
        """From now on this process and its children see this device and no other."""
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(self.members)
        os.environ["HARMONY_DEVICE"] = CUDA if self.kind == CUDA else self.name
        if self.kind == CUDA:
            # The numbers of nvidia-smi; CUDA's own order puts the fastest first.
            os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


def owned(environment: Mapping[str, str] = os.environ) -> Device:
    """What `HARMONY_DEVICE` and `CUDA_VISIBLE_DEVICES` say. Raises NoSuchDevice."""
    wanted = environment.get("HARMONY_DEVICE", "").strip().lower()
    kind, _, which = wanted.partition(":")
    if kind not in ("", "auto", CPU, CUDA) or (kind == "auto" and which):
        raise NoSuchDevice(f"HARMONY_DEVICE=“{wanted}” is no device: write cpu, cpu:1, cuda, cuda:1 or cuda:0,1.")
    if kind == CPU:
        if which and not which.isdigit():
            raise NoSuchDevice(f"HARMONY_DEVICE=“{wanted}”: after cpu: comes a number.")
        return Device(CPU, place=int(which or 0))
    seen = gpus_seen(environment)
    if kind == CUDA and not seen:
        raise NoSuchDevice(f"HARMONY_DEVICE=“{wanted}”: this machine shows no GPU.")
    if not seen:
        return Device(CPU)
    if not which:
        return Device(CUDA, seen)
    numbers = which.split(",")
    if any(not number.isdigit() or int(number) >= len(seen) for number in numbers):
        few = "one GPU, cuda:0" if len(seen) == 1 else f"{len(seen)} GPUs, cuda:0 to cuda:{len(seen) - 1}"
        raise NoSuchDevice(f"HARMONY_DEVICE=“{wanted}”: this machine shows {few}.")
    return Device(CUDA, tuple(seen[number] for number in dict.fromkeys(int(number) for number in numbers)))


def gpus_seen(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the GPUs that a process with this environment sees: numbers of nvidia-smi, or what is written there."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        # As CUDA reads it: whatever follows an empty or negative entry is not seen.
        ends = [place for place, name in enumerate(names) if not name or name.startswith("-")]
        names = names[: ends[0]] if ends else names
        return tuple(names) if names and Path("/dev/nvidiactl").exists() else ()
    return tuple(str(number) for number in range(_count()))


def _count() -> int:
    command = shutil.which("nvidia-smi")
    if command is None or not Path("/dev/nvidiactl").exists():
        return 0
    try:
        said = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in said.stdout.splitlines())


def overlap(slot: str, other: str) -> bool:
    """Whether two slots share a device: the same place, or a GPU that is in both."""
    if slot == other:
        return bool(slot)
    (host, _, device), (other_host, _, other_device) = slot.partition("/"), other.partition("/")
    if host != other_host or not device.startswith(f"{CUDA}:") or not other_device.startswith(f"{CUDA}:"):
        return False
    if "#" in device or "#" in other_device:  # shared on purpose (HARMONY_DEVICE_SHARED)
        return False
    return bool(set(device.split(":", 1)[1].split(",")) & set(other_device.split(":", 1)[1].split(",")))
