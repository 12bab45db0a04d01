"""Finds the callers that a new policy shuts out, and the typing error that may have done it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from productsearch_service.identity.policy import Policy
from productsearch_service.settings_words import Hints


def shut_out(before: Policy, now: Policy, libraries: Collection[str]) -> Iterator[str]:
    """Yield the callers that could do something under the policy before, and nothing now.

    Those that are no longer listed are told by ``Policy.changes_since``, those that are listed and
    have no rule by ``Policy.unused``.
    """
    found: list[str] = []
    hints = Hints()
    for name in sorted(before.named):
        listed = name in now.file.callers
        if listed != (name in before.file.callers) or (listed and not now.has_rule(name)):
            continue
        if before.may_something(name, libraries) and not now.may_something(name, libraries):
            found.append(name)
            yield f"caller {name}: may do nothing now, and could before"
    for name in sorted(now.named - before.named):
        if near := hints.nearest(name, found):
            yield f"caller {name}: is new in the rules{near}"
