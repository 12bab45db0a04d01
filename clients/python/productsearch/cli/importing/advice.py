"""What a run notices that another option would change, told at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from productsearch.cli.image_steps import begins_as_image, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from productsearch.cli.importing.settings import Settings
    from productsearch.cli.journal import Row
    from productsearch.cli.sources import Entry


@dataclass
class Noticed:
    """Counts of one run."""

    entries: int = 0
    without_class: Counter[str] = field(default_factory=Counter)
    """Entries without a class id, by its field."""
    fit_helps: int = 0
    """Rejected for size or format, without ``fit``."""
    kept: int = 0
    """In the library before, from elsewhere, and left as they were there."""

    def entry(self, entry: Entry) -> None:
        """Count the class ids that an entry lacks."""
        self.entries += 1
        for name in ("class_id1", "class_id2"):
            self.without_class[name] += not getattr(entry, name)

    def rejected(self, row: Row, content: bytes) -> None:
        """Count what was rejected in this run, with the image that was sent."""
        size = row.reason == "IMAGE_SIZE_INVALID"
        other_kind = begins_as_image(content) and not is_plain(content)
        kind = row.reason == "IMAGE_UNREADABLE" and other_kind
        self.fit_helps += bool(content) and not row.fit and (size or kind)

    def rejected_before(self, row: Row) -> None:
        """Count what was rejected in an earlier run; its image is not read again."""
        sent = bool(row.digest)
        self.fit_helps += sent and not row.fit and row.reason == "IMAGE_SIZE_INVALID"

    def lines(self, settings: Settings) -> Iterator[str]:
        """Yield what to tell."""
        if self.fit_helps:
            yield (
                f"{self.fit_helps} rejected for size or format\n"
                "  next: add --fit and the service scales and transcodes them"
            )
        if self.kept:
            yield (
                f"{self.kept} kept as the library had them: brief and classes were not changed\n"
                "  next: --on-duplicate update changes them"
            )
        for name, template in settings.class_templates:
            if lack := self.without_class[name]:
                option = f"--{name.replace('_', '-')} {template}"
                yield (
                    f"{lack} of {self.entries} images get no class id from {option}: it is empty "
                    "for them" + _why(template)
                )


def _why(template: str) -> str:
    named = [name for name in ("{folder}", "{top}") if name in template]
    return f"; {named[0]} is that of images in folders below the source" if named else ""
