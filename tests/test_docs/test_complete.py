"""No code block without a check."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from equipment.checkout import ROOT
from test_docs.blocks import Block, claimed

HERE = Path(__file__).parent
LANGUAGES = {"js", "python", "sh", "text", "yaml", "dockerfile", "ini"}


def test_every_code_block_is_checked_by_a_test(every_block: dict[str, Block]) -> None:
    for module in HERE.glob("test_*.py"):
        importlib.import_module(f"test_docs.{module.stem}")  # claims the blocks that it checks
    unchecked = [str(block) for name, block in every_block.items() if name not in claimed()]
    assert not unchecked, "write a test with @checks(...) for these blocks"
    stale = {name: test for name, test in claimed().items() if name not in every_block}
    assert not stale, "these blocks are gone, their tests are not"


def test_every_code_block_states_a_language_that_the_tests_know(every_block: dict[str, Block]) -> None:
    odd = [
        f"{block}: {block.language or 'no language'}"
        for block in every_block.values()
        if block.language not in LANGUAGES
    ]
    assert not odd


def test_no_page_names_a_place_that_readers_cannot_reach() -> None:
    pages = [
        *ROOT.glob("docs/**/*.rst"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("*.md"),
        *ROOT.glob("packages/*/README.md"),
    ]
    for page in pages:
        assert not re.search(r"(^|[\s`\"'(])/(work|tmp|root)/", page.read_text("utf-8")), page
