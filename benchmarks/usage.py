"""What a process uses of the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass

from equipment.usage import resident_memory

__all__ = ("Usage", "usage")


@dataclass(frozen=True)
class Usage:
    """What a process has used so far: seconds of CPU in all its threads, and bytes of memory now."""

    cpu: float
    memory: int | None


def usage() -> Usage:
    """What this process has used so far."""
    return Usage(time.process_time(), resident_memory())
