"""Who may do what: the operator's policy file, read once at start.

A caller proves itself by a bearer token whose SHA-256 the file holds; tokens have enough
entropy that a plain hash tells nothing. Once there is a policy, what no rule allows is denied.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

from productsearch_service.errors import CallerForbidden, CallerUnauthenticated, quoted

if TYPE_CHECKING:
    from pathlib import Path

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Caller(BaseModel):
    """How a caller proves itself: SHA-256 digests, in hex, of its bearer tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    token_sha256: tuple[Sha256, ...]


class Rule(BaseModel):
    """Lets callers use methods on libraries; each is a list of patterns with ``*`` and ``?``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: tuple[str, ...]
    libraries: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = ("*",)

    def allows(self, caller: str, method: str, library: str) -> bool:
        """Whether this rule speaks of the call."""
        asked = ((caller, self.callers), (method, self.methods), (library, self.libraries))
        return all(
            any(fnmatchcase(value, pattern) for pattern in patterns) for value, patterns in asked
        )


class Policy(BaseModel):
    """All callers by name, and the rules."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    callers: dict[str, Caller]
    rules: tuple[Rule, ...] = ()

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Return the policy of a TOML file; raise OSError or ValueError saying what is wrong."""
        return cls.model_validate(tomllib.loads(path.read_text("utf-8")))

    def identify(self, authorization: str) -> str:
        """Return the name of the caller who sent this ``authorization`` metadata."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise CallerUnauthenticated(
                "no caller is named; send metadata `authorization: Bearer <token>`"
            )
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        for name, caller in self.callers.items():
            if any(hmac.compare_digest(digest, known) for known in caller.token_sha256):
                return name
        raise CallerUnauthenticated("the bearer token belongs to no caller of the policy")

    def check(self, caller: str, method: str, library: str) -> None:
        """Raise CallerForbidden unless a rule lets ``caller`` use ``method`` on ``library``."""
        if not any(rule.allows(caller, method, library) for rule in self.rules):
            raise CallerForbidden(f"{caller} may not call {method} on library {quoted(library)}")
