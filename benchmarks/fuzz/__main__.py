"""Runs the targets, each in a process of its own, and prints what they came to."""

from __future__ import annotations

import argparse
import importlib.util
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzz import __doc__ as what_it_is

ROOT: Final = Path(__file__).parents[2]
CORPUS: Final = Path(__file__).parent / "corpus"
FAILURES: Final = ROOT / ".cache" / "fuzz"
NAMES: Final = ("codec", "hello", "welcome", "dialects", "answers", "jsonrpc", "peer")

#: The largest input, in bytes, and by how much one may raise the highest memory of the process.
INPUT_BYTES: Final = 16 * 1024
JUMP_BYTES: Final = 64 << 20

#: How long one input may take, in seconds.
SLOW: Final = 5

MISSING: Final = f"""\
Atheris is not installed: it has no wheel for {platform.system()} on {platform.machine()} with Python \
{platform.python_version()}.
Use Linux on x86-64, or build it from source with clang: https://github.com/google/atheris#building-from-source
The ordinary tests replay the corpus everywhere: hatch test tests/test_properties
"""


def fuzz(name: str, seconds: int, seed: int | None) -> None:
    """One target, in this process. It does not return."""
    import atheris  # pyright: ignore[reportMissingImports]

    guided: Any = atheris
    with guided.instrument_imports(include=["discord_tools.ipc.wire"]):
        from benchmarks.fuzz.targets import TARGETS

    FAILURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as found:
        guided.Setup(
            [
                *(sys.argv[0], found, str(CORPUS / name), f"-max_total_time={seconds}"),
                *(
                    f"-max_len={INPUT_BYTES}",
                    f"-timeout={SLOW}",
                    "-rss_limit_mb=1024",
                    "-print_final_stats=1",
                ),
                *(f"-artifact_prefix={FAILURES}/{name}-", f"-seed={seed or 0}"),
            ],
            bounded(TARGETS[name]),
        )
        guided.Fuzz()


def bounded(target: Any) -> Any:
    """A target that also fails where an input takes much memory."""
    import resource

    def highest() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    before = 0

    def run(data: bytes) -> None:
        nonlocal before
        target(data)
        now = highest()
        if before and now - before > JUMP_BYTES:
            raise MemoryError(f"{len(data)} bytes of input took {(now - before) >> 20} MiB")
        before = now

    return run


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hatch run fuzz", description=what_it_is)
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument("--target", action="append", choices=NAMES, help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="of the fuzzer (default: another one each time)")
    parser.add_argument("--inside", choices=NAMES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Runs it."""
    options = arguments()
    if importlib.util.find_spec("atheris") is None:
        print(MISSING, end="")
        sys.exit(2)
    if options.inside is not None:
        fuzz(options.inside, options.seconds, options.seed)
    print("| target | inputs | coverage | verdict |\n|---|---|---|---|", flush=True)
    failed: list[str] = []
    for name in options.target or NAMES:
        inputs, coverage, complaint = _run(name, options)
        print(f"| {name} | {inputs} | {coverage} | {'**NO**' if complaint else 'yes'} |", flush=True)
        if complaint:
            failed.append(f"{name}:\n{complaint}")
    if failed:
        print("\n" + "\n".join(failed))
        sys.exit(1)


def _run(name: str, options: argparse.Namespace) -> tuple[str, str, str]:
    """Runs one target. Returns the number of inputs, the coverage, and what went wrong."""
    command = [*(sys.executable, "-m", "benchmarks.fuzz", "--inside", name), f"--seconds={options.seconds}"]
    if options.seed is not None:
        command.append(f"--seed={options.seed}")
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    output = run.stdout + run.stderr
    inputs = coverage = "?"
    for line in output.splitlines():
        if line.startswith("stat::number_of_executed_units:"):
            inputs = line.split()[-1]
        elif " cov: " in line:
            coverage = line.partition(" cov: ")[2].split()[0]
    return inputs, coverage, output[-4000:] if run.returncode else ""


if __name__ == "__main__":
    main()
