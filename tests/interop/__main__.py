"""Runs the matrix in all languages and prints what it came to: ``python -m tests.interop``.

Exit status 0 if every language whose toolchain is here ran every case and all agree. Names of
languages, and of cases, as arguments run these alone (some cases build on earlier ones).
"""

from __future__ import annotations

import logging
import sys

from demo.processes import Engine
from productsearch.v1 import ErrorReason
from tests.interop.cases import read_cases
from tests.interop.languages import LANGUAGES, ROOT, Language, RunnerMissing
from tests.interop.matrix import Command, Result, run

_NEVER_SENT = {"ERROR_REASON_UNSPECIFIED"}


def main(names: list[str]) -> int:
    """Run the named languages and cases, or all, and return the exit status."""
    every = read_cases()
    cases = [case for case in every if case.name in names] or every
    chosen = [one for one in LANGUAGES if one.name in names] or LANGUAGES
    known = {one.name for one in LANGUAGES} | {case.name for case in every}
    failures = [f"neither a language nor a case: {name}" for name in {*names} - known]
    runners: dict[Language, Command] = {}
    for language in chosen:
        if language.absent_tools:
            print(f"{language.name}: not run, there is no {', '.join(language.absent_tools)} here")
            continue
        try:
            runners[language] = language.build()
        except RunnerMissing as missing:
            failures.append(f"{language.name}: MISSING: {missing}")
    log = ROOT / "build/interop/servers.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=log, filemode="w")
    with Engine() as engine:
        result = run(cases, runners, engine)
    failures += result.findings
    for language in runners:
        print(f"{language.name}: {result.ran(language.name)} cases")
    if cases == every:
        unseen = {*ErrorReason.keys()} - _NEVER_SENT - result.reasons
        failures += [f"no case met {reason}" for reason in sorted(unseen)]
    _print_throughput(result)
    for failure in failures:
        print("FAILED", failure)
    total = sum(result.ran(language.name) for language in runners)
    verdict = "ok" if runners and not failures else "short"
    print(f"{len(cases)} cases x {len(runners)} languages: {total} outcomes, ", end="")
    print(f"{len(failures)} findings {verdict}")
    return 0 if verdict == "ok" else 1


def _print_throughput(result: Result) -> None:
    """Print how fast a bulk stream was, each language beside Python."""
    named = {"bulk": "through the service", "fast": "against a server that does nothing"}
    for library, where in named.items():
        seconds = result.bulk_s.get(library, {})
        if "python" in seconds:
            ratios = (f"{name} {seconds['python'] / s:.2f}" for name, s in seconds.items())
            print(f"bulk throughput / python's, {where}: {', '.join(ratios)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
