"""The token source under every order of events that hypothesis can think of, in virtual time."""

from __future__ import annotations

from hypothesis import settings

from tests.tokens.states import TokenStates

TestTokenStates = TokenStates.TestCase
TestTokenStates.settings = settings(
    max_examples=100, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
