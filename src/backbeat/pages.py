"""Pages for people: HTML files that need nothing beside them, all of one look."""

from __future__ import annotations

from importlib import resources
from typing import Any


def render(package: str, template: str, **values: Any) -> str:
    """Return a page.

    Parameters
    ----------
    package, template
        Where the template lies (Jinja), and its name. `style` is in it what every page has.
    values
        What else is in it; text is escaped.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(package).joinpath(template).read_text(encoding="utf-8")
    style = resources.files("backbeat").joinpath("page.css").read_text(encoding="utf-8")
    # Its own files; nothing of anybody else's is in it.
    return environment.from_string(source).render(style=Markup(style), **values)  # noqa: S704
