"""What this process uses."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ("open_files", "resident_memory")


def resident_memory() -> int | None:
    """Resident memory in bytes; ``None`` where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Number of open files and sockets; 0 where the system does not say, or where no file is left to look with."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
