"""Checks of what the documentation tells a reader to type, without doing it."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Collection
from pathlib import Path

from equipment.checkout import ROOT


def environment_of(program: str) -> tuple[set[str], set[str]]:
    """The names that a Python program reads from the environment: needed ones, and those with a default."""
    needed: set[str] = set()
    optional: set[str] = set()
    for node in ast.walk(ast.parse(program)):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="environ"), slice=ast.Constant(value=str(name))):
                needed.add(name)
            case ast.Call(func=ast.Attribute(attr="from_env")):
                needed.add("IPC_SECRET_KEY")  # the others have defaults
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"), args=[first, *_]
            ):
                assert isinstance(first, ast.Constant)
                assert isinstance(first.value, str)
                optional.add(first.value)
            case _:
                pass
    return needed, optional


def commands(block: str) -> list[list[str]]:
    """The commands of a block, each as its words."""
    lines = [re.split(r"\s#\s", line)[0] for line in block.splitlines()]
    return [shlex.split(part) for line in lines for part in line.split("&&") if part.strip()]


def installed(words: list[str]) -> list[str] | None:
    """What a pip command installs, or ``None`` when it is another command."""
    if words[:2] == ["python", "-m"]:
        words = words[2:]
    return words[2:] if words[:2] == ["pip", "install"] else None


def check_command(words: list[str], files: Collection[str] = ()) -> None:
    """Fails unless the command would work in a checkout where the reader has saved ``files``."""
    packages = installed(words)
    if packages is not None:
        for package in packages:
            # Readers get only Hatch by its name: what the index has under our names is not ours.
            assert package == "hatch" or (ROOT / package / "pyproject.toml").is_file(), (
                f"{package} cannot be installed"
            )
        return
    match words:
        case ["export", assignment]:
            assert re.fullmatch(r"[A-Z_]+=.+", assignment, re.DOTALL), assignment
        case ["python", file]:
            assert file in files, f"the page does not show {file}"
        case ["bash", script]:
            assert (ROOT / script).is_file(), script
        case ["hatch", "test", *_]:
            assert (ROOT / "tests").is_dir()
        case ["hatch", "run", script, *_]:
            assert script in hatch_scripts(), f"hatch.toml has no script {script}"
        case _:
            raise AssertionError(f"nothing here knows how to check the command {shlex.join(words)}")


def hatch_scripts() -> set[str]:
    environments = tomllib.loads((ROOT / "hatch.toml").read_text("utf-8"))["envs"]
    return {
        script if name == "default" else f"{name}:{script}"
        for name, settings in environments.items()
        for script in settings.get("scripts", {})
    }


def check_dockerfile(text: str, files: Collection[str]) -> set[str]:
    """Fails unless an image can be built from it. Returns our own distributions that it installs."""
    ours: set[str] = set()
    copied: set[str] = set()
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        match instruction:
            case "FROM":
                assert re.fullmatch(r"python:3\.1[123]-slim", rest), rest
            case "COPY":
                source, target = rest.split()
                assert source in files or (ROOT / source).is_dir(), f"{source} is not there to be copied"
                assert target in {".", source}, "what follows looks for it under the same name"
                copied.add(source)
            case "RUN":
                for words in commands(rest):
                    check_command(words)
                    paths = [Path(path) for path in installed(words) or []]
                    assert all(any(path.is_relative_to(Path(source)) for source in copied) for path in paths)
                    ours |= {path.name for path in paths}
            case "CMD":
                program, file = ast.literal_eval(rest)
                assert program == "python"
                assert file in copied, f"{file} is not in the image"
            case _:
                assert line == "WORKDIR /app", f"nothing here knows how to check {line!r}"
    return ours
