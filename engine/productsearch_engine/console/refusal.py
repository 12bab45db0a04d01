"""What a person is told when something is refused: the rule, and what would be right.

``Refusal`` carries a key of ``told``; the sentences are the templates' to translate.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from productsearch_engine.api import codes
from productsearch_engine.api.codes import ApiError
from productsearch_engine.api.error_mapping import api_error
from productsearch_engine.limits import (
    BRIEF_BYTES_MAX,
    GROW_MAX,
    PINS_MAX,
    RENEWED_MAX,
    SELECTION_MAX,
    SIDE_PX_MAX,
    SIDE_PX_MIN,
)

Translate = Callable[..., str]

_KEYS: Mapping[int, str] = {
    codes.REQUEST_LIMIT: "busy",
    codes.UNAVAILABLE: "unavailable",
    codes.NOT_INITIALIZED: "library",
    codes.APP_UNKNOWN: "library",
    codes.PARAM_TOO_LONG: "brief",
    codes.IMAGE_EMPTY: "empty",
    codes.IMAGE_FORMAT: "format",
    codes.IMAGE_SIZE: "size",
    codes.ITEM_UNKNOWN: "gone",
    codes.ITEM_EXISTS: "exists",
    codes.URL_ILLEGAL: "url",
    codes.URL_TIMEOUT: "url_timeout",
    codes.URL_REFUSED: "url_refused",
    codes.URL_LENGTH: "url_length",
    codes.LIBRARY_FULL: "full",
    codes.EMBEDDING_MISMATCH: "embedding",
}
_STATUS = {"busy": 429, "unavailable": 503, "library": 404, "gone": 404, "fault": 500}


class Refusal(Exception):
    """A request is refused with an HTTP status and a key of ``told``; ``field``: because of it."""

    def __init__(self, status: int, key: str, *, field: str = "", **facts: object):
        self.status = status
        self.key = key
        self.field = field
        self.facts = facts
        super().__init__(key)

    @property
    def beside(self) -> dict[str, object]:
        """Return what a page tells beside the field, by its name; empty if it is of the form."""
        return {self.field: self.key, "facts": self.facts} if self.field else {}


def of(error: Exception) -> Refusal:
    """Return the refusal for an exception; a fault of the engine is logged."""
    if isinstance(error, Refusal):
        return error
    return of_api_error(api_error(error, 10**17 + secrets.randbelow(2**63 - 10**17)))


def of_api_error(error: ApiError) -> Refusal:
    """Return the refusal for an error of the contract."""
    key = _KEYS.get(error.code, "fault")
    return Refusal(_STATUS.get(key, 400), key)


def told(key: str, _: Translate, facts: Mapping[str, object] | None = None) -> str:
    """Return the sentences of a refusal in a language; ``facts`` are the values that were wrong."""
    match key:
        case "file_format":
            return _(
                "This is no JPEG, PNG, BMP, WebP, AVIF, HEIC, GIF or TIFF, or the file is damaged."
                " Save other formats, such as a camera's raw files, as JPEG."
            )
        case "small":
            return _(
                "This image has %(width)s by %(height)s px. Each side has to have %(least)s at"
                " least.",
                least=SIDE_PX_MIN,
                **facts or {},
            )
        case "narrow":
            return _(
                "This image has %(width)s by %(height)s px. Its longer side has to be less than"
                " %(most)s times the shorter one: cut a part out of it.",
                most=SIDE_PX_MAX // SIDE_PX_MIN,
                **facts or {},
            )
        case "pixels":
            return _("This image has too many pixels to be read here. Make it smaller.")
        case "busy":
            return _("The server has too much to do at the moment. Try again in a few seconds.")
        case "unavailable":
            return _(
                "The database does not answer at the moment. Before you do it again, look whether"
                " it was done."
            )
        case "library":
            return _("This library is not there any more.")
        case "brief":
            return _(
                "The brief is longer than %(most)s bytes. A Chinese character takes 3.",
                most=BRIEF_BYTES_MAX,
            )
        case "class_id":
            return _("A class id is a whole number from 1 to 65535, or nothing.")
        case "no_file":
            return _("No file was chosen.")
        case "empty":
            return _("The file is empty.")
        case "format":
            return _("This is no JPEG, PNG or BMP, or the file is damaged.")
        case "size":
            return _(
                "Each side has to be %(least)s to %(most)s px, and the file 2.9 MB at most.",
                least=SIDE_PX_MIN,
                most=SIDE_PX_MAX,
            )
        case "gone":
            return _("This image is not in the library. Perhaps somebody deleted it.")
        case "exists":
            return _("The library has this image already. It stays as it was.")
        case "url":
            return _("This is no address of an image: it has to begin with http:// or https://.")
        case "url_timeout":
            return _("The image's host did not answer in time.")
        case "url_refused":
            return _("The image's host refused, or its address is not public.")
        case "url_length":
            return _("The address is empty, or longer than 1024 bytes.")
        case "full":
            return _("The library is full. Delete images, or give it more room on its page.")
        case "embedding":
            return _("This server does not have the library's embedding.")
        case "briefs":
            return _(
                "%(n)s of the briefs would be longer than %(most)s bytes. Nothing was changed.",
                most=BRIEF_BYTES_MAX,
                **facts or {},
            )
        case _:
            return _other(key, _)


def _other(key: str, _: Translate) -> str:
    match key:
        case "page":
            return _("There is no such page.")
        case "form":
            return _("The form could not be read. Go back and send it again.")
        case "origin":
            return _("This form did not come from a page of the console. Nothing was changed.")
        case "person":
            return _(
                "This page is of another sign-in, perhaps of another tab. Nothing was changed."
                " Open it again."
            )
        case "role":
            return _("You may look at this library, and not change it.")
        case "keys":
            return _("Only who signed in with the key pair may make a new secret key.")
        case "nothing_selected":
            return _("No image is selected.")
        case "choice":
            return _("Choose what to set or remove. A value beside “Leave” changes nothing.")
        case "unchanged":
            return _("No image changes by this: they are so already, or none is meant.")
        case "key":
            return _("Write the key, or choose a value of it under “In which images”.")
        case "bulk_conflict":
            return _(
                "Somebody else has changed or deleted some of these images meanwhile. Below is how"
                " they are now: save again to change those that are there."
            )
        case "selection":
            return _("At most %(most)s images are changed together.", most=SELECTION_MAX)
        case "undo":
            return _("This change cannot be undone: it was undone before, or is older than a day.")
        case "erased":
            return _("Nothing was undone: the images were erased for good since.")
        case "changed_since":
            return _("Nothing was undone: the images were changed again since.")
        case "embedding_since":
            return _(
                "Nothing was undone: the library has another embedding since then, and no copy of"
                " the deleted images was kept to make their vectors from."
            )
        case "embedding_many":
            return _(
                "Nothing was undone: the library has another embedding since then, and vectors of"
                " more than %(most)s images have to be made. productsearch-engine undo does that.",
                most=RENEWED_MAX,
            )
        case "room_used":
            return _("Nothing was undone: the library has more images than it would have room for.")
        case "shown":
            return _("This pair is shown already.")
        case "query":
            return _("The image of this search is not kept any more. Choose it again.")
        case "no_copy":
            return _("The library keeps no copy of this image to search with by another embedding.")
        case "second":
            return _("The library has no second embedding any more.")
        case "part":
            return _(
                "A part has a left and a top edge, a width and a height, in percent of the image."
            )
        case "grow":
            return _("The number of images is from 1 to %(most)s.", most=GROW_MAX)
        case "sure":
            return _("Nothing was changed: confirm that services may fail meanwhile.")
        case "name":
            return _("Nothing was deleted: write the library's name as it is.")
        case "pins":
            return _("At most %(most)s searches are pinned. Unpin one first.", most=PINS_MAX)
        case "sign_in":
            return _("Name and password do not match.")
        case "tries":
            return _("Too many tries. Wait five minutes.")
        case "slow":
            return _(
                "The form took too long to arrive here. Send smaller files, or use a faster line."
            )
        case "large":
            return _("Send at most 16 MB at once, or turn scripts on: then each file goes alone.")
        case _:
            return _("Something went wrong here. It was logged.")
