"""What fuzzing starts from, and what Hypothesis makes up: nothing that others send breaks what reads it."""

from __future__ import annotations

import importlib.util
import json
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

from benchmarks.fuzz.targets import TARGETS
from equipment.checkout import ROOT, run_module

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


def test_each_target_has_a_corpus() -> None:
    assert sorted(TARGETS) == NAMES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus_is_read_as_documented(path: Path) -> None:
    target, data = TARGETS[path.parent.name], path.read_bytes()
    target(data)  # what is made once, such as decoders, does not count
    tracemalloc.start()
    try:
        target(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= BESIDES + PER_BYTE * len(data)


@pytest.mark.parametrize("name", NAMES)
def test_bytes(name: str) -> None:
    deterministic(given(binary(max_size=200))(TARGETS[name]))()


@pytest.mark.parametrize("name", NAMES)
def test_documents(name: str) -> None:
    target = TARGETS[name]

    @deterministic
    @given(DOCUMENTS)
    def read(document: Any) -> None:
        target(json.dumps(document).encode())

    read()


@pytest.mark.skipif(importlib.util.find_spec("atheris") is not None, reason="Atheris is installed")
async def test_without_atheris_the_command_says_so() -> None:
    ended = await run_module("benchmarks.fuzz")
    assert ended.status == 2
    assert "Atheris is not installed" in ended.output
    assert not ended.errors
