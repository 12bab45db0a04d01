"""Somebody at the console, over HTTP and without scripts: follows links and sends forms."""

from __future__ import annotations

import html
import itertools
import re
from typing import Any

import requests

_addresses = itertools.count(1)


class Person:
    """One browser. Each has an address of its own, as behind a proxy."""

    def __init__(self, url: str, *, language: str = "en", https: bool = False):
        self.url = url
        self.session = requests.Session()
        number = next(_addresses)
        self.session.headers["X-Forwarded-For"] = f"198.51.{number // 250}.{number % 250 + 1}"
        self.session.headers["Accept-Language"] = language
        if https:
            self.session.headers["X-Forwarded-Proto"] = "https"
        self.token = ""

    def sign_in(self, name: str, password: str, back: str = "") -> requests.Response:
        """Send the form of the sign-in page."""
        page = self.get("/console/sign-in", params={"back": back})
        fields = {"name": name, "password": password, "back": back, "token": token_of(page)}
        answer = self.session.post(
            self.url + "/console/sign-in", data=fields, allow_redirects=False, timeout=60
        )
        if answer.status_code == 303:
            self.token = token_of(self.get("/console/"))
        return answer

    def get(self, address: str, **options: Any) -> requests.Response:
        """Open a page; redirects are not followed."""
        options = {"allow_redirects": False, "timeout": 60} | options
        return self.session.get(self.url + address, **options)

    def send(
        self, address: str, fields: Any = (), *, files: Any = None, **options: Any
    ) -> requests.Response:
        """Send a form with the session's token."""
        pairs = [*fields.items()] if isinstance(fields, dict) else [*fields]
        return self.session.post(
            self.url + address,
            data=[("token", self.token), *pairs],
            files=files,
            **{"allow_redirects": False, "timeout": 60} | options,
        )

    def close(self) -> None:
        """Close the connections."""
        self.session.close()


def full_width(text: str) -> str:
    """Return ASCII letters and digits as Chinese keyboards write them: wide."""
    return "".join(chr(ord(each) + 0xFEE0) for each in text)


def token_of(page: requests.Response) -> str:
    """Return the token of a page's forms."""
    found = re.search(r'name="token" value="([0-9a-f]{64})"', page.text)
    return found[1] if found else ""


def signs_of(page: requests.Response) -> list[str]:
    """Return the images of a page in their order."""
    return re.findall(r'class="open" href="/console/images/([0-9]+,[0-9]+)', page.text)


def link(page: requests.Response, rel: str) -> str | None:
    """Return where the link to the next or the previous page points."""
    found = re.search(rf'rel="{rel}" href="([^"]*)"', page.text)
    return html.unescape(found[1]) if found else None


def change_of(answer: requests.Response) -> str:
    """Return the number of the change that an answer tells of."""
    found = re.search(r"[?&]done=([0-9]+)", answer.headers["location"])
    assert found, answer.headers["location"]
    return found[1]
