"""An explanation as a page: one file, without scripts, light or dark as the reader's system is."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from parser.excerpt import visible

__all__ = ["html_of_explanation"]


def html_of_explanation(document: Mapping[str, Any]) -> str:
    """The page of an explanation as `cli.explaining` has it as data. Whatever it holds is text there, never markup."""
    return _template().render(document)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("cli.reports", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text of the document goes through here; what macros make is markup, which is a type of its own.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    return environment.get_template("explanation.html")
