"""Feeds every reader of foreign bytes with bad ones: answers, requests, forms and images.

A reader keeps its promise when whatever comes in gives a value or one of its own errors: no
other exception, no endless work, no unbounded memory. Images are read in a process of their
own, because a decoder that crashes takes its process along, and to see its memory alone.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from tests.soak.fuzz_answers import feed_answers
from tests.soak.fuzz_forms import compare_encoders, feed_forms
from tests.soak.fuzz_images import feed_images
from tests.soak.fuzz_requests import feed_requests
from tests.soak.measures import Measure, report

FULL: Final = 1_000_000
SEED: Final = 20261124


def run(size: int, *, seed: int = SEED) -> list[Measure]:
    """Feed ``size`` answers, a tenth as many requests, a third as many forms, some images."""
    print(f"seed {seed}")
    return [
        *feed_answers(size, seed),
        *feed_requests(size // 10, seed),
        *compare_encoders(size, seed),
        *feed_forms(size // 3, seed),
        *feed_images(size // 50, seed),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=FULL)
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    sys.exit(report(run(arguments.size, seed=arguments.seed)))
