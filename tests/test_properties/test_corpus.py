"""What fuzzing starts from, and what Hypothesis makes up: nothing that others send breaks what reads it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import (
    binary,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "benchmarks" / "fuzz" / "corpus"
FILES = sorted(path for path in CORPUS.glob("*/*"))
NAMES = sorted({path.parent.name for path in FILES})

#: Memory that an input may take while it is read, besides the interpreter's own caches, in bytes.
PER_BYTE, BESIDES = 400, 1 << 20

#: Names that lead beyond the first check.
MEMBERS = sampled_from(
    ("jsonrpc", "id", "method", "params", "result", "error", "headers", "credit", "meta", "endpoint", "data")
)
VALUES = (
    none() | integers() | floats() | text() | sampled_from(("2.0", "rpc.hello", "rpc.item", "rpc.ack", "/a"))
)
DOCUMENTS = recursive(
    VALUES, lambda inner: lists(inner) | dictionaries(MEMBERS | text(), inner), max_leaves=12
)

deterministic = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def targets() -> Any:
    sys.path.insert(0, str(ROOT))  # its folder lies beside the tests
    try:
        from benchmarks.fuzz import targets
    finally:
        sys.path.remove(str(ROOT))
    return targets.TARGETS


def test_each_target_has_a_corpus(targets: Any) -> None:
    assert sorted(targets) == NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_is_read_as_documented(targets: Any, path: Path) -> None:
    target, data = targets[path.parent.name], path.read_bytes()
    target(data)  # what is made once, such as decoders, does not count
    tracemalloc.start()
    try:
        target(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= BESIDES + PER_BYTE * len(data)


@pytest.mark.parametrize("name", NAMES)
def test_bytes(targets: Any, name: str) -> None:
    deterministic(given(binary(max_size=200))(targets[name]))()


@pytest.mark.parametrize("name", NAMES)
def test_documents(targets: Any, name: str) -> None:
    target = targets[name]

    @deterministic
    @given(DOCUMENTS)
    def read(document: Any) -> None:
        target(json.dumps(document).encode())

    read()


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="Atheris is installed")
def test_without_atheris_the_command_says_so() -> None:
    run = subprocess.run([sys.executable, "-m", "benchmarks.fuzz"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert "Atheris is not installed" in run.stdout
    assert not run.stderr
