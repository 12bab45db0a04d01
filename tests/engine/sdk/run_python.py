"""The runner of the vendor's Python SDK: see README.md."""

from __future__ import annotations

import base64
import json
import os
import sys
import warnings

warnings.simplefilter("ignore")

from aip import AipImageSearch  # noqa: E402 - it warns when it is imported


def main() -> None:
    """Make the calls that stdin asks for, one line each."""
    client = AipImageSearch("1", os.environ["API_KEY"], os.environ["SECRET_KEY"])
    for line in sys.stdin:
        asked = json.loads(line)
        given = base64.b64decode(asked["image"]) if "image" in asked else asked["text"]
        briefs = [asked["brief"]] if "brief" in asked else []
        try:
            answer = getattr(client, asked["call"])(given, *briefs, asked["options"])
            told = {"answer": answer}
        except Exception as error:  # noqa: BLE001 - whatever the SDK lets out
            told = {"raised": repr(error)}
        print(json.dumps(told), flush=True)


main()
