"""Sphinx's settings; `./dev docs` builds the pages.

Every reference must lead somewhere. Those to the standard library are left as text: its inventory
would have to be fetched, and a build asks nothing of the network.
"""

import re
from typing import Any

import penstock
from sphinx.application import Sphinx

project = "penstock"
version = release = penstock.__version__
copyright = "the penstock authors"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
exclude_patterns = ["programs"]

html_theme = "furo"
html_title = f"penstock {version}"
html_copy_source = False

myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
nitpicky = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autoclass_content = "class"

linkcheck_anchors = False
linkcheck_timeout = 15


def _markdown_code(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Docstrings write code as Markdown does, in single backquotes."""
    lines[:] = [re.sub(r"(?<![`:])`([^`]+)`(?!`)", r"``\1``", line) for line in lines]


def _results(app: Sphinx, name: str, source: list[str]) -> None:
    """The design notes link to the file, which here is a page."""
    source[0] = source[0].replace("(../../benchmarks/RESULTS.md)", "(../benchmarks.md)")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _markdown_code)
    app.connect("source-read", _results)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
