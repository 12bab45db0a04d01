"""The messages of one bulk stream as the items that they have."""

from __future__ import annotations

from collections.abc import AsyncIterator

from productsearch import v1
from productsearch_service.errors import FieldInvalid, Violation
from productsearch_service.rpc import validation

Request = v1.BulkAddImagesRequest
Item = v1.BulkAddImagesRequest.Item


class BulkStream:
    """The messages of a bulk stream: settings first, if there are any, then items.

    ``requests`` are messages, their images if these were cut out of them, and their bytes.
    """

    def __init__(self, requests: AsyncIterator[tuple[Request, memoryview | None, int]]) -> None:
        self._requests = requests
        self.settings = Request.Settings()

    async def items(self) -> AsyncIterator[tuple[tuple[Item, memoryview | None], int]]:
        """Yield the items with such images, and their bytes.

        Raises FieldInvalid for a message that is none.
        """
        is_first = True
        async for request, image, size_bytes in self._requests:
            if is_first and request.HasField("settings"):
                validation.bulk_settings(request.settings)
                self.settings = request.settings
            else:
                yield (_item(request), image), size_bytes
            is_first = False
            del request, image  # else it is held until the next one comes


def _item(request: Request) -> Item:
    if request.HasField("item"):
        return request.item
    if request.HasField("settings"):
        wrong = Violation("settings", "not the first message; send settings first or never")
    else:
        wrong = Violation("item", "a message without a part; set item")
    raise FieldInvalid(f"{wrong.field}: {wrong.description}", violations=(wrong,))
