"""Doctests in docstrings as code blocks of the site, which would take their prompts for quotations."""

# ruff: noqa: INP001 - mkdocstrings loads it as a file
import re
from typing import Any

from griffe import Extension, Object


DOCTEST = re.compile(r"^(>>> .*(?:\n.+)*)", re.MULTILINE)


class Doctests(Extension):
    """Puts a fence around each doctest, from its first prompt to the next empty line."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of what was just read."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\1\n```", obj.docstring.value)
