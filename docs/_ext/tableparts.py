"""What the extensions that make tables have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx.environment import BuildEnvironment


def cell(*contents: nodes.Node | str) -> nodes.entry:
    """A cell with one paragraph."""
    children = (nodes.Text(one) if isinstance(one, str) else one for one in contents)
    return nodes.entry("", nodes.paragraph("", "", *children))


def depend_on(env: BuildEnvironment, package: ModuleType) -> None:
    """Has the present page built again when a module of a package changes."""
    for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
        env.note_dependency(str(path))
