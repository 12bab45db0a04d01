"""A plain caller of the engine's REST contract: bytes out, JSON in, nothing checked."""

from __future__ import annotations

import base64
from typing import Any

import requests

CALLS = "/rest/2.0/image-classify/v1/realtime_search/product/"


class Caller:
    """One app's calls, with its token."""

    def __init__(self, url: str, api_key: str, secret_key: str):
        self.url = url
        self.api_key = api_key
        self.secret_key = secret_key
        self._session = requests.Session()
        self.token: str = self.ask_token().json()["access_token"]

    def ask_token(self, **changes: str) -> requests.Response:
        """Ask for a token by POST form."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.api_key,
            "client_secret": self.secret_key,
        }
        return requests.post(self.url + "/oauth/2.0/token", data=form | changes, timeout=30)

    def call(self, method: str, *, image: bytes | None = None, **fields: str) -> dict[str, Any]:
        """Send a call as a urlencoded form; ``image`` is the image's file."""
        form: dict[str, str | bytes] = dict(fields)
        if image is not None:
            form["image"] = base64.b64encode(image)
        return self.answer(method, data=form)

    def answer(self, method: str, *, token: str | None = None, **options: Any) -> dict[str, Any]:
        """Send a call as ``requests.post`` options say and return the JSON object."""
        response = self._session.post(
            self.url + CALLS + method,
            params={"access_token": self.token if token is None else token},
            timeout=60,
            **options,
        )
        assert 200 == response.status_code
        assert "application/json" == response.headers["content-type"]
        body: dict[str, Any] = response.json()
        return body

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def code_of(body: dict[str, Any]) -> int:
    """Return an answer's error code, 0 for success."""
    code: int = body.get("error_code", 0)
    return code


def image_field(image: bytes) -> str:
    """Return the ``image`` value of an image's file."""
    return base64.b64encode(image).decode()


def signs_of(body: dict[str, Any]) -> list[str]:
    """Return a search's signs in order."""
    return [hit["cont_sign"] for hit in body["result"]]
