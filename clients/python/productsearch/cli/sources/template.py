"""Makes key, brief and class ids of an entry from the columns of a row or the parts of a path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from productsearch.cli.sources.entry import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as Values

_PLACEHOLDER: Final = re.compile(r"\{([^{}\"]+)\}")
"""Any name of a column; what begins with a quote is JSON."""

_BRACES: Final = 'write {column} for a value, or JSON such as {"id":"{column}"}'

USUAL_COLUMNS: Final = {
    "image": ("image", "path", "file", "url", "image_url", "filename"),
    "sku": ("sku", "id", "product_id"),
    "brief": ("brief", "title", "name"),
    "class_id1": ("class_id1",),
    "class_id2": ("class_id2",),
}
"""Field -> the columns that are looked for where ``--map`` names none."""


def left_unfilled(brief: str | None, names: Iterable[str]) -> list[str]:
    """Return those of the names of templates that a brief has in braces, in its order."""
    return [name for name in dict.fromkeys(_PLACEHOLDER.findall(brief or "")) if name in names]


class Template:
    """A text with ``{column}``. In a template of JSON, values are escaped as JSON asks."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.names = [*dict.fromkeys(_PLACEHOLDER.findall(text))]
        self._is_json = re.match(r'\s*(\{\s*"|\[)', text) is not None
        if self._is_json:
            self._require_json()
        elif re.search("[{}]", _PLACEHOLDER.sub("", text)):
            raise SourceError(f"the template {text} has a brace without its other one", _BRACES)

    def _require_json(self) -> None:
        try:
            json.loads(_PLACEHOLDER.sub("0", self.text))
        except ValueError as wrong:
            raise SourceError(f"the template {self.text} is no JSON: {wrong}") from None

    def fill(self, values: Values[str, str]) -> str:
        """Return the text with the values in it."""

        def value(match: re.Match[str]) -> str:
            plain = values.get(match[1], "")
            return json.dumps(plain, ensure_ascii=False)[1:-1] if self._is_json else plain

        return _PLACEHOLDER.sub(value, self.text)

    def check(self, known: Iterable[str]) -> None:
        """Raise SourceError for a name that is not known."""
        for name in self.names:
            if name not in known:
                raise SourceError(f"{{{name}}} is not known; use one of {', '.join(known)}")


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """What the user says of columns. ``columns`` maps fields (``sku``, ...) to column names."""

    columns: Values[str, str] = field(default_factory=dict)
    brief: Template | None = None
    class_id1: Template | None = None
    class_id2: Template | None = None
    class_names: Values[str, str] = field(default_factory=dict)
    """Name -> class id, for templates that give names."""

    def class_id(self, number: int, values: Values[str, str], plain: str) -> str:
        """Return a class id as text, "" for none; ``plain`` is that of the column."""
        template = self.class_id1 if number == 1 else self.class_id2
        text = (template.fill(values) if template else plain).strip()
        return self.class_names.get(text, text)

    def resolve(self, columns: list[str]) -> dict[str, str]:
        """Return field -> column of a list with these columns. Raises SourceError."""
        resolved: dict[str, str] = {}
        for name, usual in USUAL_COLUMNS.items():
            if (given := self.columns.get(name)) is not None:
                if given not in columns:
                    raise SourceError(
                        f"--map {name}={given}: there is no such column; "
                        f"there are {', '.join(columns)}"
                    )
                resolved[name] = given
            elif (
                found := next((column for column in usual if column in columns), None)
            ) is not None:
                resolved[name] = found
        if "image" not in resolved:
            raise SourceError(
                f"no column has the images; add --map image=COLUMN with one of {', '.join(columns)}"
            )
        for template in (self.brief, self.class_id1, self.class_id2):
            if template is not None:
                template.check([*dict.fromkeys((*columns, *resolved))])
        return resolved
