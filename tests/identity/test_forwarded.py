"""The forwarded header, whatever is in it: names that a proxy wrote, or a refusal."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from productsearch_service.identity.forwarded_client_cert import last_uri

URI = st.from_regex(r"spiffe://[a-z]{1,8}(/[a-z]{1,8}){0,3}", fullmatch=True)
URIS = st.lists(URI, max_size=3)
VALUES = st.text(max_size=30)


def _element(uris: list[str], subject: str) -> str:
    escaped = subject.replace("\\", r"\\").replace('"', r"\"")
    return ";".join(["Hash=00", f'Subject="{escaped}"', *(f"URI={uri}" for uri in uris)])


def _told(header: str) -> str | None:
    try:
        return last_uri(header)
    except ValueError:
        return None


@given(before=st.lists(st.tuples(URIS, VALUES), max_size=3), uris=URIS, subject=VALUES)
def test_nothing_in_a_value_becomes_a_name(
    before: list[tuple[list[str], str]], uris: list[str], subject: str
) -> None:
    """Whatever subjects hold, the name is the last element's; each element has exactly one."""
    elements = [*before, (uris, subject)]
    one_each = all(len(each) == 1 for each, _ in elements)
    expected = uris[0] if one_each else None
    assert expected == _told(",".join([_element(*element) for element in elements]))


@given(
    uris=st.lists(URI, max_size=2),
    name=st.lists(
        st.sampled_from(
            ["a", ",", ";", '"', "=", "URI=spiffe://x/victim", "DNS=", "Hash=00", "By=spiffe://x/f"]
        ),
        min_size=1,
        max_size=8,
    ).map("".join),
)
def test_no_dns_name_becomes_another_caller(uris: list[str], name: str) -> None:
    """Envoy writes a DNS name as it is: one with separators in it makes nobody the victim."""
    header = ";".join(
        ["By=spiffe://x/f", "Hash=00", *(f"URI={uri}" for uri in uris), f"DNS={name}"]
    )
    assert _told(header) in (None, *uris)


@given(st.text(alphabet='URIDNSb=;,"\\/: ', max_size=60))
def test_no_text_is_too_much(header: str) -> None:
    """Any text is a name or a ValueError."""
    with contextlib.suppress(ValueError):
        assert isinstance(last_uri(header), str)


def test_a_uri_is_no_longer_than_one_can_be() -> None:
    """2,048 characters are the longest SPIFFE id."""
    for length, fits in ((2048, True), (2049, False)):
        uri = "spiffe://x/".ljust(length, "a")
        assert (uri if fits else None) == _told(f"URI={uri}")
        assert ("spiffe://x" if fits else None) == _told(f"URI={uri},URI=spiffe://x")
