"""Sphinx configuration. The documentation builds offline and with warnings as errors: ``hatch run docs``."""

import re
import sys
from pathlib import Path

from discord_tools import ipc

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "discord_tools.ipc"
author = "discord_tools.ipc contributors"
copyright = f"2026, {author}"  # Sphinx reads this name
release = ipc.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "myst_parser",
    "attributetable",
    "bounds",
    "eventtable",
    "modulelayers",
    "valuetables",
]
exclude_patterns = ["_build", "inventories"]
nitpicky = True
# Interfaces that are not public; the glossary explains them.
nitpick_ignore = [("py:class", "Connector"), ("py:class", "Transport")]
default_role = None

# The reference shows bare signatures; types stand in the parameter lists, where they link.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False

# The inventories are committed so that a build needs no network (see inventories/README.md).
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", "inventories/python.inv"),
    "discord": ("https://discordpy.readthedocs.io/en/stable", "inventories/discord.inv"),
    "aiohttp": ("https://docs.aiohttp.org/en/stable", "inventories/aiohttp.inv"),
    "msgspec": ("https://jcristharif.com/msgspec", "inventories/msgspec.inv"),
}

html_theme = "furo"
pygments_dark_style = "a11y-high-contrast-dark"  # the default underlines imports, as if they were links
toc_object_entries_show_parents = "hide"
html_title = f"{project} {version}"
html_static_path = ["_static"]
html_css_files = ["ipc.css"]
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"

# What discord.py's docstrings begin with.
rst_prolog = """
.. |coro| replace:: This function is a |coroutine_link|_.
.. |coroutine_link| replace:: *coroutine*
.. _coroutine_link: https://docs.python.org/3/library/asyncio-task.html#coroutine
"""


def shorten_defaults(app, what, name, obj, options, signature, return_annotation):
    """Writes ``limits=ClientLimits()``: the values stand where that class is described."""
    if what == "class" and signature and not name.endswith("Limits"):
        signature = re.sub(r"(\w+Limits)\([^()]*\)", r"\1()", signature)
    return signature, return_annotation


def setup(app):
    app.connect("autodoc-process-signature", shorten_defaults)
