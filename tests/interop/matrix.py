"""Runs the cases in each language and gathers what came of it.

One language after another, each against servers of its own; the keepalive cases of all of
them run together beside that, because they do nothing for a minute.
"""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from demo.processes import Engine
from tests.interop.cases import Case
from tests.interop.comparing import Outcome, differences, findings
from tests.interop.languages import ROOT, Language
from tests.interop.servers import Servers

_RUNNER_S: Final = 300
_ACCESS_LINE: Final = re.compile(r"rpc=BulkAddImages library=(\S+) .* code=OK .* ms=([0-9.]+)")

Command = tuple[str, ...]


@dataclass
class Result:
    """What a run of the matrix came to."""

    outcomes: dict[str, dict[str, Outcome]] = field(default_factory=lambda: defaultdict(dict))
    """Case, then language, then outcome."""
    findings: list[str] = field(default_factory=list)
    bulk_s: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    """Library, then language, then seconds that the stream was open at the server."""

    @property
    def reasons(self) -> set[str]:
        """Every ErrorReason that an outcome of a case names."""
        return {*_reasons([*self.outcomes.values()])}

    def ran(self, language: str) -> int:
        """Return how many cases this language answered."""
        return sum(language in outcomes for outcomes in self.outcomes.values())


def run(cases: Sequence[Case], runners: dict[Language, Command], engine: Engine) -> Result:
    """Run the cases with each runner and compare."""
    result = Result()
    idle = [case for case in cases if case.kind == "keepalive"]
    busy = [case for case in cases if case.kind != "keepalive"]
    with ExitStack() as stack:
        waiting = [
            stack.enter_context(_Run(language, command, idle, engine, "keepalive"))
            for language, command in runners.items()
            if idle and "keepalive" in language.kinds
        ]
        for language, command in runners.items():
            mine = [case for case in busy if case.kind in language.kinds]
            with _Run(language, command, mine, engine, "main") as one, _bulk_seconds() as bulk_s:
                one.finish(result)
                for library, seconds in (bulk_s | one.servers.flaky.bulk_s).items():
                    result.bulk_s[library][language.name] = seconds
        for one in waiting:
            one.finish(result)
    for case in cases:
        for difference in differences(case, result.outcomes.get(case.name, {})):
            result.findings.append(f"{case.name}: {difference}")
    return result


class _Run:
    """One runner's process with its servers, its plan and its report; a context manager."""

    def __init__(
        self, language: Language, command: Command, cases: list[Case], engine: Engine, part: str
    ) -> None:
        self._language = language.name
        self._cases = cases
        folder = ROOT / "build/interop" / language.name / part
        folder.mkdir(parents=True, exist_ok=True)
        self._plan, self._report = folder / "plan.json", folder / "report.json"
        self._log = folder / "log"
        self._command = (*command, str(self._plan), str(self._report))
        codes = [case.library for case in cases if case.library.startswith("code-")]
        uses_engine = any(case.plan["target"] == "engine" for case in cases)
        self.servers = Servers(
            f"{language.name}-{part}", engine if uses_engine else None, folder, codes
        )

    def __enter__(self) -> _Run:
        self.servers.__enter__()
        plan = {
            "language": self._language,
            "control": self.servers.control,
            "targets": self.servers.targets,
            "cases": [case.plan for case in self._cases],
            "protos": [str(ROOT / "protos"), str(_google_protos())],
        }
        self._plan.write_text(json.dumps(plan), "utf-8")
        self._report.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.servers.__exit__(*_)

    def finish(self, result: Result) -> None:
        """Wait for the report and put what it says into ``result``."""
        try:
            status: int | str = self._process.wait(_RUNNER_S)
        except subprocess.TimeoutExpired:
            status = f"none after {_RUNNER_S} s"
        if status != 0:
            end = self._log.read_text("utf-8", "replace")[-2000:]
            result.findings.append(
                f"{self._language}: the runner's exit status was {status}: {end}"
            )
        reported = self._reported()
        for case in self._cases:
            outcome = reported.pop(case.name, None)
            if outcome is None:
                result.findings.append(f"{case.name}: {self._language} reported nothing")
                continue
            result.outcomes[case.name][self._language] = outcome
            for finding in (*findings(case, outcome), *self._seen_by_servers(case)):
                result.findings.append(f"{case.name}: {self._language}: {finding}")
        if reported:
            result.findings.append(f"{self._language} reported cases of its own: {[*reported]}")

    def _reported(self) -> dict[str, Any]:
        if not self._report.exists():
            return {}
        cases = json.loads(self._report.read_text("utf-8"))["cases"]
        return {case["name"]: case["outcome"] for case in cases}

    def _seen_by_servers(self, case: Case) -> Iterator[str]:
        """Yield what the servers saw otherwise than the case expects."""
        calls = self.servers.upstream.calls_of(case.library)
        if case.upstream_calls not in (None, calls):
            yield f"the upstream got {calls} calls, not {case.upstream_calls}"
        attempts = self.servers.flaky.attempts[case.library]
        if case.attempts not in (None, attempts):
            yield f"the server got {attempts} attempts, not {case.attempts}"
        if case.library == "once-each":
            briefs = self.servers.upstream.briefs
            if (expected := len(case.plan["items"])) != len(briefs):
                yield f"the upstream got {len(briefs)} of {expected} items"
            if twice := [brief for brief, count in briefs.items() if count > 1]:
                yield f"the upstream got these items more than once: {twice}"


@contextmanager
def _bulk_seconds() -> Iterator[dict[str, float]]:
    """Yield seconds by library, filled from the service's access log while the block runs."""
    seconds: dict[str, float] = {}

    class Reader(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in _ACCESS_LINE.finditer(record.getMessage()):
                seconds[line[1]] = float(line[2]) / 1000

    access, reader = logging.getLogger("productsearch.access"), Reader()
    level = access.level
    access.addHandler(reader)
    access.setLevel(logging.INFO)
    try:
        yield seconds
    finally:
        access.removeHandler(reader)
        access.setLevel(level)


def _reasons(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reason := value.get("reason"), str):
            yield reason
        value = [*value.values()]
    for member in value if isinstance(value, list) else ():
        yield from _reasons(member)


def _google_protos() -> Path:
    """Return the folder below which google/rpc/*.proto lie."""
    import google.rpc.status_pb2 as status

    return Path(status.__file__).parents[2]
