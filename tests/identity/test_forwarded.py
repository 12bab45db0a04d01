"""The forwarded header, whatever is in it: names that a proxy wrote, or a refusal."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from productsearch_service.identity.forwarded_client_cert import ForwardedNames, last_element

NAMES = st.lists(
    st.from_regex(r"spiffe://[a-z]{1,8}(/[a-z]{1,8}){0,3}", fullmatch=True), max_size=3
)
VALUES = st.text(max_size=30)


def _element(uris: list[str], subject: str) -> str:
    escaped = subject.replace("\\", r"\\").replace('"', r"\"")
    return ";".join(["Hash=00", f'Subject="{escaped}"', *(f"URI={uri}" for uri in uris)])


@given(before=st.lists(st.tuples(NAMES, VALUES), max_size=3), uris=NAMES, subject=VALUES)
def test_nothing_in_a_value_becomes_a_name(
    before: list[tuple[list[str], str]], uris: list[str], subject: str
) -> None:
    """Whatever subjects hold, the names are those of the last element and no others."""
    header = ",".join([_element(*element) for element in [*before, (uris, subject)]])
    assert ForwardedNames(tuple(uris), ()) == last_element(header)


@given(st.text(alphabet='URIDNSb=;,"\\/: ', max_size=60))
def test_no_text_is_too_much(header: str) -> None:
    """Any text is names or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(last_element(header), ForwardedNames)
