"""Stand-ins that misbehave on purpose, over real HTTP."""
