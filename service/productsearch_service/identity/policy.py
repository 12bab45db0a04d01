"""Who may do what: the operator's policy file. What no rule allows is denied.

Callers are named as they prove themselves: by SPIFFE id or DNS name, or by the name under which
the file holds the SHA-256 of their bearer tokens; tokens have enough entropy that a plain hash
tells nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from productsearch_service import limits, small_file, toml_text
from productsearch_service.call_context import Caller
from productsearch_service.errors import CallerForbidden, quoted
from productsearch_service.identity.patterns import PatternIndex, has_wildcard, matches
from productsearch_service.settings_words import Hints, nearest, sentence_of

METHODS: Final = (
    "AddImage", "SearchImages", "UpdateImage", "DeleteImage", "BatchDeleteImages", "BulkAddImages",
)  # fmt: skip
"""What rules can allow: the RPCs by name."""

_RESERVED_NAMES: Final = frozenset({"*", "other"})
"""In rules and in metrics these stand for callers that are not named."""
_VERDICTS_MAX: Final = 4096
_LIBRARY_CHARS_MAX: Final = 64
"""Settings allow no longer name of a library."""
_NAMED_MAX: Final = 10
"""Callers whose names a line of the log has at most."""

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

    def allows(self, method: str, library: str | None) -> bool:
        """Return whether one of its callers may use a method on a library; None: on any."""
        on_library = library is None or matches(self.libraries, library)
        return on_library and matches(self.methods, method)

    def lack(self, method: str, library: str | None) -> str:
        """Return what a call by one of its callers lacks, or nothing."""
        parts = []
        if not matches(self.methods, method):
            parts.append(f"does not name method {method}")
        if library is not None and not matches(self.libraries, library):
            parts.append(f"does not name library {library}")
        return " and ".join(parts)


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
    """All callers by name, and the rules."""

    def __init__(self, file: PolicyFile) -> None:
        if wrong := [*_wrong(file)]:
            raise PolicyError("\n".join(wrong))
        self.file = file
        """What it was made of."""
        self._callers = {
            name: Caller(name, entry.share, label=name) for name, entry in file.callers.items()
        }
        self._bearers = {
            bytes.fromhex(digest): name
            for name, entry in file.callers.items()
            for digest in entry.token_sha256
        }
        self._rules = file.rules
        self._rules_of = PatternIndex(rule.callers for rule in file.rules)
        self._verdicts: dict[tuple[str, str, str | None], bool] = {}

    @classmethod
    def parse(cls, content: bytes) -> Policy:
        """Return the policy of a TOML file's content; raise PolicyError.

        A file of nothing is refused: whoever writes one in place empties it first.
        """
        if not content.strip():
            raise PolicyError("is empty; write a rule, or a comment if nobody may do anything")
        try:
            return cls(PolicyFile.model_validate(toml_text.parse(content)))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
            raise PolicyError("\n".join(map(_line, problems))) from None
        except toml_text.TomlError as error:
            raise PolicyError(str(error)) from None

    def changes_since(self, before: Policy) -> str:
        """Return in words what is different from the policy before; no secret."""
        new, old = self.file.callers, before.file.callers
        tokens = [
            name
            for name in new
            if name in old and {*new[name].token_sha256} != {*old[name].token_sha256}
        ]
        lists = (
            ("callers added", [name for name in new if name not in old]),
            ("callers removed", [name for name in old if name not in new]),
            ("other tokens for", tokens),
        )
        rules = self.file.rules, before.file.rules
        told = [f"callers {len(old)} to {len(new)}, rules {len(rules[1])} to {len(rules[0])}"]
        told += [f"{what} {_few(names)}" for what, names in lists if names]
        told += ["other rules"] if rules[0] != rules[1] else []
        return "; ".join(told)

    def unused(self, libraries: Collection[str]) -> Iterator[str]:
        """Yield what nothing else mentions: callers without a rule, and libraries without settings.

        A caller of a rule that the file does not list may be proven by a certificate; it is told
        where its name is nearly that of a listed one.
        """
        hints = Hints()
        for name in self._callers:
            if not self.has_rule(name):
                yield f"caller {name}: no rule names it, so that it may do nothing"
        for number, rule in enumerate(self._rules, start=1):
            for pattern in rule.callers:
                if pattern in self._callers:
                    continue
                near = hints.nearest(pattern, self._callers)
                if near and not any(matches((pattern,), name) for name in self._callers):
                    yield f"rule {number}: caller {pattern} is none of those listed{near}"
            for pattern in rule.libraries:
                if not any(matches((pattern,), library) for library in libraries):
                    hint = hints.nearest(pattern, libraries)
                    yield f"rule {number}: library {pattern} is none of the settings{hint}"

    @property
    def named(self) -> set[str]:
        """The callers that the file names: those listed, and those of rules without a wildcard."""
        in_rules = (name for rule in self._rules for name in rule.callers)
        return {*self._callers, *(name for name in in_rules if not has_wildcard(name))}

    def may_something(self, caller: str, libraries: Iterable[str]) -> bool:
        """Return whether a caller may call any method on any of these libraries.

        Each rule names a method: else the file was refused.
        """
        rules = [self._rules[number] for number in self._rules_of.of(caller)]
        return any(matches(rule.libraries, library) for rule in rules for library in libraries)

    def has_rule(self, caller: str) -> bool:
        """Return whether a rule speaks of a caller."""
        return bool(self._rules_of.of(caller))

    def caller(self, name: str) -> Caller:
        """Return the caller of that name, with what the file says of it."""
        return self._callers.get(name) or Caller(name)

    def bearer_of(self, token: str) -> str | None:
        """Return the name of the caller whose bearer token this is."""
        return self._bearers.get(hashlib.sha256(token.encode()).digest())

    def check(self, caller: str, method: str, library: str | None = None) -> None:
        """Raise CallerForbidden unless a rule lets ``caller`` use ``method`` on ``library``.

        Without a library: on any.
        """
        if library is not None and len(library) > _LIBRARY_CHARS_MAX:
            raise CallerForbidden(
                f"{quoted(caller)} may not call {method} on library {quoted(library)}: "
                f"no name is longer than {_LIBRARY_CHARS_MAX} characters"
            )
        asked = (caller, method, library)
        allowed = self._verdicts.get(asked)
        if allowed is None:
            if len(self._verdicts) >= _VERDICTS_MAX:  # of libraries that callers made up
                self._verdicts.clear()
            allowed = self._verdicts[asked] = self.may(*asked)
        if not allowed:
            where = "any library" if library is None else f"library {quoted(library)}"
            raise CallerForbidden(f"{quoted(caller)} may not call {method} on {where}")

    def may(self, caller: str, method: str, library: str | None) -> bool:
        """Return whether a rule lets ``caller`` use ``method`` on ``library``."""
        rules = (self._rules[number] for number in self._rules_of.of(caller))
        return any(rule.allows(method, library) for rule in rules)

    def explain(self, caller: str, method: str, library: str | None) -> Verdict:
        """Return what ``check`` decides, with the rule or the nearest reason."""
        lacks = []
        for index in self._rules_of.of(caller):
            lack = self._rules[index].lack(method, library)
            if not lack:
                return Verdict(True, f"rule {index + 1} allows it")
            lacks.append(f"rule {index + 1} {lack}")
        return Verdict(False, "; ".join(lacks) or f"no rule speaks of caller {caller}")


def _few(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    told = ", ".join(map(quoted, names[:_NAMED_MAX]))
    return f"{told} and {more} more" if more > 0 else told


def read_content(path: Path) -> bytes:
    """Return the content of a policy file; raise PolicyError."""
    try:
        return small_file.read(path)
    except OSError as error:
        raise PolicyError(error.strerror) from None


def _wrong(file: PolicyFile) -> Iterator[str]:
    """Yield what is wrong between entries that are right by themselves."""
    for number, rule in enumerate(file.rules, start=1):
        for pattern in rule.methods:
            if not any(matches((pattern,), method) for method in METHODS):
                yield f"rule {number}: methods: {pattern!r} is none of {', '.join(METHODS)}"
    owners: dict[str, str] = {}
    for name, entry in file.callers.items():
        if name in _RESERVED_NAMES:
            yield f"callers.{name}: means every other caller; give this one a name of its own"
        for digest in entry.token_sha256:
            if owners.setdefault(digest, name) != name:
                yield f"callers.{name}: token_sha256: is a token of {owners[digest]} too"


def _line(problem: Any) -> str:
    """Return what is wrong where; rules count from 1."""
    where = [str(part) for part in problem["loc"]]
    wrong = sentence_of(problem)
    if problem["type"] == "extra_forbidden":
        of_rule = where[0] == "rules"
        known = RuleEntry if of_rule else CallerEntry if len(where) > 1 else PolicyFile
        wrong += nearest(where[-1], known.model_fields)
    if problem["type"] == "string_pattern_mismatch":
        wrong = "must be a SHA-256 as 64 digits of 0-9 and a-f"
    if where[:1] == ["rules"] and len(where) > 1:
        where[:2] = [f"rule {int(where[1]) + 1}"]
        return f"{where[0]}: {'.'.join(where[1:])}: {wrong}"
    return f"{'.'.join(where)}: {wrong}"
