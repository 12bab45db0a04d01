"""Reads the options of a header, such as the boundary of a Content-Type, unless they are many."""

from __future__ import annotations

from python_multipart.multipart import parse_options_header

from productsearch_engine.limits import HEADER_OPTIONS_MAX


def options_of(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the value of a header and its options by name. Raises ValueError if they are many.

    The library looks for the end of an option from the beginning of the rest, at each semicolon.
    """
    if header.count(b";") > HEADER_OPTIONS_MAX:
        raise ValueError(f"a header has more than {HEADER_OPTIONS_MAX} options")
    return parse_options_header(header)


def content_type_of(text: str) -> tuple[bytes, dict[bytes, bytes]]:
    """Return the same of a Content-Type as a request has it. Raises ValueError."""
    return options_of(text.encode("latin-1", "replace"))
