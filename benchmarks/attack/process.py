"""A process of the suite, as the runner sees it."""

from __future__ import annotations

from equipment.processes.child import Child, as_arguments

__all__ = ("Process",)


class Process(Child):
    """One process; an asynchronous context manager that starts it and kills it.

    Parameters
    ----------
    name
        The module: ``bot``, ``neighbour`` or ``attacker``.
    options
        Its options. ``None`` is left out.
    """

    def __init__(self, name: str, **options: str | float | None) -> None:
        super().__init__(f"benchmarks.attack.{name}", *as_arguments(**options))

    async def __aexit__(self, *_: object) -> None:
        # Killed, since a bot would wait for the calls in progress.
        if self.is_running():
            self.kill()
        await self.ended()
