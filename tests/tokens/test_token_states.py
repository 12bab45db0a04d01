"""The token source under every order of events that hypothesis can think of, in virtual time.

The source runs unchanged. Its threads, lock and events are a stage's: one actor runs at a time,
is halted before each lock, and only moves on when a rule says so; time passes when a rule says
so and nobody has anything left to do. So each run is the same each time, and a wait that is one
millisecond too long is one.
"""

from __future__ import annotations

from hypothesis import settings

from tests.tokens.states import TokenStates

TestTokenStates = TokenStates.TestCase
TestTokenStates.settings = settings(
    max_examples=300, stateful_step_count=40, derandomize=True, deadline=None, database=None
)
