"""The code blocks that readers see, and who checks them.

Blocks come from the built documentation, not from its sources, so that none can hide from the tests: whatever
a reader sees as code, also from docstrings, is one. Markdown files beside it count as pages too.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from docutils import nodes
from markdown_it import MarkdownIt

from equipment.checkout import ROOT

MARKDOWN = {
    "README": ROOT / "README.md",
    "README-client": ROOT / "packages/ipc-client/README.md",
    "README-server": ROOT / "packages/ipc-server/README.md",
}

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Block:
    """One code block. ``file`` is the name under which a reader saves it, from its caption."""

    page: str
    name: str
    language: str
    text: str
    line: int
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.name})"


def doctree(doctrees: Path, page: str) -> nodes.document:
    return pickle.loads((doctrees / f"{page}.doctree").read_bytes())


def collect(doctrees: Path) -> dict[str, Block]:
    """Every block of every page under its name."""
    found: dict[str, Block] = {}
    pages = [
        path.relative_to(doctrees).with_suffix("").as_posix() for path in sorted(doctrees.rglob("*.doctree"))
    ]
    every = [block for page in pages for block in from_doctree(page, doctree(doctrees, page))]
    every += [
        block for page, path in MARKDOWN.items() for block in from_markdown(page, path.read_text("utf-8"))
    ]
    for block in every:
        assert block.name, f"{block}: give this code block a :name:, and a test that checks it"
        assert block.name not in found, f"{block}: {found[block.name]} has this name already"
        found[block.name] = block
    return found


def from_doctree(page: str, document: nodes.document) -> list[Block]:
    result: list[Block] = []
    for node in document.findall(nodes.literal_block):
        named, file = node, None
        if isinstance(node.parent, nodes.container) and isinstance(node.parent[0], nodes.caption):
            named, file = node.parent, node.parent[0].astext()
        names = [*named["names"], *node["names"]]
        language = node.get("language", "")
        line = node.line or 0
        result.append(Block(page, names[0] if names else "", language, node.astext(), line, file))
    return result


def from_markdown(page: str, text: str) -> list[Block]:
    """Numbers the blocks, since they have no names. A paragraph that ends in ```bot.py`:`` is a caption."""
    result: list[Block] = []
    before = ""
    for token in MarkdownIt().parse(text):
        if token.type == "inline":
            before = token.content
        elif token.type in {"fence", "code_block"}:
            name = f"{page}-{len(result) + 1}"
            file = before[:-2].rpartition("`")[2] if before.endswith("`:") else None
            result.append(
                Block(page, name, token.info.strip(), token.content, (token.map or [0])[0] + 1, file)
            )
    return result


_claimed: dict[str, str] = {}


def checks(*names: str) -> Callable[[F], F]:
    """Says that a test checks these blocks. The ``reader`` that it uses makes sure that it looked at each."""

    def decorate(test: F) -> F:
        for name in names:
            _claimed[name] = test.__name__
        test.claims = frozenset(names)  # type: ignore[attr-defined]
        return test

    return decorate


def claimed() -> Mapping[str, str]:
    """The names of all blocks that a test checks, with the test."""
    return _claimed
