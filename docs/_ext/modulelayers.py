"""The modules of a package in their layers, as the contracts in ``.importlinter`` have them, with what each is for.

``.. modulelayers:: package`` lists them from high to low. The text of a module is the first sentence of its docstring.

``:module:`ipc.wire.peer``` links to a module in such a list. A name that no list has is a warning.
"""

from __future__ import annotations

import importlib
import re
from configparser import ConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, cast

from docutils import nodes
from sphinx.roles import XRefRole
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.domains.python import PythonDomain
    from sphinx.environment import BuildEnvironment

CONTRACTS = Path(__file__).parents[2] / ".importlinter"
NAMESPACE = "discord_tools."

#: A role or a literal in a docstring. Roles are shown without a link: most of their targets have no page.
MARKUP = re.compile(r"(?::[\w:]+:`[~.]*(?:[\w.]+\.)?(\w+)`|``([^`]+)``)")


def layers_of(package: str) -> list[list[str]]:
    """The layers of a package from high to low, each with the names of its modules."""
    parser = ConfigParser()
    parser.read(CONTRACTS, "utf-8")
    for name in parser.sections():
        contract = parser[name]
        if contract.get("type") == "layers" and contract["containers"].split() == [package]:
            return [
                [module.strip() for module in line.split("|")]
                for line in contract["layers"].strip().splitlines()
            ]
    raise ValueError(f"{CONTRACTS.name} has no layers of {package}")


def purpose_of(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = " ".join((importlib.import_module(module).__doc__ or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0]


def inline(text: str) -> Iterator[nodes.Node]:
    end = 0
    for match in MARKUP.finditer(text):
        yield nodes.Text(text[end : match.start()])
        name = cast("str", match[1] or match[2])
        yield nodes.literal(name, name)
        end = match.end()
    yield nodes.Text(text[end:])


class ModuleLayers(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        self.env.note_dependency(str(CONTRACTS))
        body = nodes.tbody()
        for layer in layers_of(package):
            for name in layer:
                row = self.row(f"{package}.{name}", name)
                if name != layer[-1]:
                    row["classes"].append("same-layer")
                body += row
        group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in (25, 75)), body, cols=2)
        return [nodes.table("", group, classes=["modulelayers"])]

    def row(self, module: str, name: str) -> nodes.row:
        purpose = purpose_of(module)
        domain = cast("PythonDomain", self.env.get_domain("py"))
        target = nodes.target("", "", ids=[make_id(self.env, self.state.document, "module", module)])
        self.state.document.note_explicit_target(target)
        domain.note_module(module, target["ids"][0], purpose, "", False)
        domain.note_object(module, "module", target["ids"][0], location=target)
        label = nodes.paragraph("", "", target, nodes.literal(name, name))
        return nodes.row(
            "", nodes.entry("", label), nodes.entry("", nodes.paragraph("", "", *inline(purpose)))
        )


class ModuleRole(XRefRole):
    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        refnode["refdomain"], refnode["reftype"] = "py", "mod"
        return title, NAMESPACE + target


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("modulelayers", ModuleLayers)
    app.add_role("module", ModuleRole(warn_dangling=True))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
