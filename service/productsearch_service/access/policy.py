"""Who may do what: the operator's policy file. What no rule allows is denied.

Callers are named as they prove themselves: by SPIFFE id or DNS name, or by the name under which
the file holds the SHA-256 of their bearer tokens; tokens have enough entropy that a plain hash
tells nothing.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from productsearch import v1
from productsearch_service import limits
from productsearch_service.access.callers import Caller
from productsearch_service.errors import CallerForbidden, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

METHODS: Final = tuple(
    v1.AddImageRequest.DESCRIPTOR.file.services_by_name["ProductSearch"].methods_by_name
)
"""What rules can allow: the RPCs by name."""

_VERDICTS_MAX: Final = 4096

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Pattern = Annotated[str, StringConstraints(min_length=1)]
Patterns = Annotated[tuple[Pattern, ...], Field(min_length=1)]


class PolicyError(ValueError):
    """The file cannot be used; one line for each thing that is wrong."""


class CallerEntry(BaseModel):
    """A caller by name: digests, in hex, of its bearer tokens; its weight where callers share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_sha256: tuple[Sha256, ...] = ()
    share: Annotated[int, Field(ge=1, le=limits.SHARE_MAX)] = 1


class RuleEntry(BaseModel):
    """Lets callers use methods on libraries; each is a list of patterns with ``*`` and ``?``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: Patterns
    libraries: Patterns = ("*",)
    methods: Patterns = ("*",)


class PolicyFile(BaseModel):
    """The file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    callers: dict[Pattern, CallerEntry] = {}
    rules: tuple[RuleEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a call is allowed, and by which rule or why not."""

    allowed: bool
    why: str


class Policy:
    """All callers by name, and the rules. Thread-safe."""

    def __init__(self, file: PolicyFile) -> None:
        wrong = [*_unknown_methods(file), *_shared_tokens(file)]
        if wrong:
            raise PolicyError("\n".join(wrong))
        self._callers = {
            name: Caller(name, entry.share, label=name) for name, entry in file.callers.items()
        }
        self._bearers = {
            digest: name for name, entry in file.callers.items() for digest in entry.token_sha256
        }
        self._rules = [_Rule(number, entry) for number, entry in enumerate(file.rules, start=1)]
        self._verdicts: dict[tuple[str, str, str], bool] = {}

    @classmethod
    def parse(cls, content: bytes) -> Policy:
        """Return the policy of a TOML file's content; raise PolicyError.

        A file of nothing is refused: whoever writes one in place empties it first.
        """
        if not content.strip():
            raise PolicyError("is empty; write a rule, or a comment if nobody may do anything")
        try:
            return cls(PolicyFile.model_validate(tomllib.loads(content.decode("utf-8"))))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
            raise PolicyError("\n".join(map(_line, problems))) from None
        except UnicodeDecodeError:
            raise PolicyError("is not UTF-8") from None
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"is not TOML: {error}") from None

    def caller(self, name: str) -> Caller:
        """Return the caller of that name, with what the file says of it."""
        return self._callers.get(name) or Caller(name)

    def bearer_of(self, token: str) -> str | None:
        """Return the name of the caller whose bearer token this is."""
        return self._bearers.get(hashlib.sha256(token.encode()).hexdigest())

    def check(self, caller: str, method: str, library: str) -> None:
        """Raise CallerForbidden unless a rule lets ``caller`` use ``method`` on ``library``."""
        asked = (caller, method, library)
        allowed = self._verdicts.get(asked)
        if allowed is None:
            if len(self._verdicts) >= _VERDICTS_MAX:  # of libraries that callers made up
                self._verdicts.clear()
            allowed = any(rule.allows(*asked) for rule in self._rules)
            self._verdicts[asked] = allowed
        if not allowed:
            raise CallerForbidden(
                f"{quoted(caller)} may not call {method} on library {quoted(library)}"
            )

    def explain(self, caller: str, method: str, library: str) -> Verdict:
        """Return what ``check`` decides, with the rule or the nearest reason."""
        for rule in self._rules:
            if rule.allows(caller, method, library):
                return Verdict(True, f"rule {rule.number} allows it")
        near = [rule for rule in self._rules if rule.callers(caller)]
        if not near:
            return Verdict(False, f"no rule speaks of caller {caller}")
        lacks = [f"rule {rule.number} {rule.lack(method, library)}" for rule in near]
        return Verdict(False, "; ".join(lacks))


def read_content(path: Path) -> bytes:
    """Return the content of a policy file; raise PolicyError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise PolicyError(error.strerror) from None


class _Rule:
    """A rule with its patterns compiled."""

    def __init__(self, number: int, entry: RuleEntry) -> None:
        self.number = number
        self.callers = _matcher(entry.callers)
        self._methods = _matcher(entry.methods)
        self._libraries = _matcher(entry.libraries)

    def allows(self, caller: str, method: str, library: str) -> bool:
        """Whether this rule speaks of the call."""
        return self.callers(caller) and self._methods(method) and self._libraries(library)

    def lack(self, method: str, library: str) -> str:
        """Return what a call by one of its callers lacks."""
        parts = []
        if not self._methods(method):
            parts.append(f"does not name method {method}")
        if not self._libraries(library):
            parts.append(f"does not name library {library}")
        return " and ".join(parts)


def _matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a text matches one of ``patterns``, in which ``*`` also spans slashes."""
    written = (re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns)
    matches = re.compile("|".join(written), re.DOTALL).fullmatch
    return lambda text: matches(text) is not None


def _unknown_methods(file: PolicyFile) -> Iterator[str]:
    for number, rule in enumerate(file.rules, start=1):
        for pattern in rule.methods:
            if not any(map(_matcher((pattern,)), METHODS)):
                yield f"rule {number}: methods: {pattern!r} is none of {', '.join(METHODS)}"


def _shared_tokens(file: PolicyFile) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, entry in file.callers.items():
        for digest in entry.token_sha256:
            if owners.setdefault(digest, name) != name:
                yield f"callers.{name}: token_sha256: is a token of {owners[digest]} too"


def _line(problem: Any) -> str:
    """Return what is wrong where; rules count from 1."""
    where = [str(part) for part in problem["loc"]]
    if where[:1] == ["rules"] and len(where) > 1:
        where[:2] = [f"rule {int(where[1]) + 1}"]
        return f"{where[0]}: {'.'.join(where[1:])}: {problem['msg']}"
    return f"{'.'.join(where)}: {problem['msg']}"
