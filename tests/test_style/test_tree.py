"""Keeps the code readable: sizes, words, and an explanation for each field. The messages say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import pytest

from equipment.checkout import ROOT
from test_style.fields import unexplained_fields
from test_style.source import (
    Finding,
    defined_names,
    long_file,
    long_functions,
    missing_docstring,
    protocols_without_implementer,
    unknown_exports,
)
from test_style.words import ALLOWED, CODE_WORDS, WORDS, Allowed, unwanted_words

SOURCES = sorted(ROOT.glob("packages/*/src/**/*.py"))

#: Where words are checked. What programs write, and the list of words itself, is left out.
PLACES = ("packages", "docs", "README.md", "CHANGELOG.md", "benchmarks", "examples", "tests")
SUFFIXES = {".css", ".html", ".js", ".md", ".py", ".rst", ".toml"}
LEFT_OUT = {"__pycache__", "_build", "_static", "inventories", "test_style"}


@cache
def read(path: Path) -> str:
    return path.read_text("utf-8")


def fail_with(findings: Iterable[tuple[Path, Finding]]) -> None:
    """Fails the test if there are findings, with a line for each."""
    lines = [f"{path.relative_to(ROOT)}:{line}: {text}" for path, (line, text) in findings]
    if lines:
        pytest.fail("\n".join((f"{len(lines)} to correct:", *lines)), pytrace=False)


def check_packages(check: Callable[[str], Iterable[Finding]]) -> None:
    assert SOURCES
    fail_with((path, finding) for path in SOURCES for finding in check(read(path)))


def test_functions_are_short() -> None:
    check_packages(long_functions)


def test_files_are_short() -> None:
    check_packages(long_file)


def test_modules_have_docstrings() -> None:
    check_packages(missing_docstring)


def test_modules_have_the_names_that_they_export() -> None:
    check_packages(unknown_exports)


def test_protocols_name_their_implementers() -> None:
    known = {name for path in SOURCES for name in defined_names(read(path))}
    check_packages(lambda text: protocols_without_implementer(text, known))


def test_fields_are_explained() -> None:
    check_packages(unexplained_fields)


# -- words


def texts() -> list[Path]:
    paths = [path for place in PLACES for path in (ROOT / place, *(ROOT / place).rglob("*"))]
    return [
        path
        for path in sorted(paths)
        if path.suffix in SUFFIXES and not LEFT_OUT.intersection(path.relative_to(ROOT).parts)
    ]


def words_for(path: Path) -> dict[str, str]:
    """The words that are not to be used in a file, without those that are allowed there."""
    name = path.relative_to(ROOT).as_posix()
    words = {**WORDS, **CODE_WORDS} if name.startswith("packages/") else WORDS
    allowed = {place.pattern for place in ALLOWED if place.path == name}
    return {pattern: instead for pattern, instead in words.items() if pattern not in allowed}


def test_words_are_plain() -> None:
    fail_with((path, finding) for path in texts() for finding in unwanted_words(read(path), words_for(path)))


@pytest.mark.parametrize("allowed", ALLOWED, ids=lambda one: f"{one.path}: {one.pattern}")
def test_words_are_allowed_only_where_they_stand(allowed: Allowed) -> None:
    path = ROOT / allowed.path
    assert path in texts(), "remove this entry of ALLOWED, or correct its path"
    words = {allowed.pattern: {**WORDS, **CODE_WORDS}[allowed.pattern]}
    assert unwanted_words(read(path), words), "remove this entry of ALLOWED: the word is not there any more"
