"""The checkout that the tests belong to, and its commands."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = ("ROOT", "Ended", "run_module")

#: The folder of the checkout. Pytest has it on its path, so ``benchmarks`` can be imported.
ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """What came of a process: its exit status, and what it wrote to stdout and stderr."""

    status: int | None
    output: str
    errors: str


async def run_module(module: str, *arguments: str) -> Ended:
    """Runs ``python -m module`` in the checkout, as Hatch's commands do, until it ends."""
    process = await asyncio.create_subprocess_exec(
        # discord.py on Python 3.11 and 3.12 warns of audioop.
        *(sys.executable, "-W", "ignore", "-m", module, *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ended(process.returncode, output.decode(), errors.decode())
