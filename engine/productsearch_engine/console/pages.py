"""Fills the templates, each value escaped, and answers with the page.

Knows Jinja2 and what every page has: texts, user, library, static files. Knows no page's own
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from productsearch_engine.console import assets, refusal
from productsearch_engine.console.language import NAMES, Language, sized
from productsearch_engine.console.visit import Visit, here

_templates = Environment(
    loader=PackageLoader("productsearch_engine.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(visit: Visit, template: str, status: int = 200, **values: Any) -> Response:
    """Answer with a page for somebody who has signed in."""
    common = {
        "library": visit.library,
        "who": visit.who,
        "role": visit.role,
        "may_edit": visit.may_edit,
        "token": visit.token,
        "notice": visit.notice,
        "can_stay": visit.can_stay,
    }
    return plain(visit.request, visit.language, template, status, common | values)


def plain(
    request: Request,
    language: Language,
    template: str,
    status: int,
    values: Mapping[str, Any],
) -> Response:
    """Answer with a page for anybody."""
    common = {
        "_": language.text,
        "n_": language.count,
        "number": language.number,
        "time": language.time,
        "sized": sized,
        "told": lambda key, facts=None: refusal.told(key, language.text, facts),
        "language": language,
        "languages": NAMES,
        "here": here(request),
        "asset": assets.address,
        "library": None,
        "may_edit": False,
        "section": "",
    }
    text = _templates.get_template(template).render({**common, **values})
    # No page fails because of a character that somebody stored.
    return HTMLResponse(text.encode(errors="replace"), status)
