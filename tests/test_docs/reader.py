"""A reader who goes through a page from top to bottom and tries each block."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from test_docs.blocks import Block


class Reader:
    """Runs blocks one after the other in one namespace, as at a prompt, where ``await`` works too."""

    def __init__(self, blocks: Mapping[str, Block], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._blocks = blocks
        self._folder = folder
        self._capsys = capsys
        self.read: set[str] = set()
        self.names: dict[str, Any] = {}

    def block(self, name: str) -> Block:
        """A block that the test has a use for."""
        self.read.add(name)
        return self._blocks[name]

    def text(self, name: str) -> str:
        return self.block(name).text

    def save(self, name: str) -> Path:
        """Saves a block in a file that is named after its caption."""
        file = self.block(name).file
        assert file is not None, f"{self._blocks[name]}: a caption says how to name the file"
        return self.save_as(name, file)

    def save_as(self, name: str, file: str) -> Path:
        """Saves a block that has no caption."""
        path = self._folder / file
        path.write_text(self.text(name), "utf-8")
        return path

    async def run(self, name: str) -> None:
        """Runs a block, which sees what earlier ones and the test defined."""
        block = self.block(name)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(block.text, str(block), "exec", flags=flags, dont_inherit=True)
        self.names.setdefault("__name__", "reader")
        if code.co_flags & inspect.CO_COROUTINE:
            await types.FunctionType(code, self.names)()
        else:
            exec(code, self.names)

    def output(self) -> str:
        """What was printed since the last time."""
        return self._capsys.readouterr().out

    def sees(self, name: str) -> None:
        """Fails unless exactly what the block shows was printed since the last time."""
        assert self._capsys.readouterr().out.rstrip() == self.text(name).rstrip()
