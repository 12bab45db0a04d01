"""Page tokens that nobody here has made, of any length."""

from __future__ import annotations

import time

import pytest

from productsearch_service.rpc import page_token

MADE_FOR = b"a fingerprin"
CPU_S_MAX = 0.1
"""To decode one of 20 MB would take three times as long on a quick machine."""


@pytest.mark.parametrize("character", ["A", "\n", "é"])
def test_a_long_token_costs_nothing(character: str) -> None:
    """As large as a message may be: refused by its length, ten times."""
    token = character * 20_000_000
    began_s = time.thread_time()
    for _ in range(10):
        with pytest.raises(page_token.ForeignToken):
            page_token.decode(token, MADE_FOR)
    assert time.thread_time() - began_s < CPU_S_MAX


@pytest.mark.parametrize("start", [0, 300, 999])
def test_a_token_tells_where_its_page_begins(start: int) -> None:
    """It is 20 characters long, and good for its own search alone."""
    token = page_token.encode(start, MADE_FOR)
    assert 20 == len(token)
    assert start == page_token.decode(token, MADE_FOR)
    for wrong in (token[:-1], f"{token}=", f"{token}A", token.lower(), ""):
        with pytest.raises(page_token.ForeignToken):
            page_token.decode(wrong, MADE_FOR)
