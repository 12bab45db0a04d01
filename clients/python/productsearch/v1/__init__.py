"""The typed stub, messages, errors and helpers of productsearch.v1; all that a caller imports.

``productsearch.v1.aio`` has the helpers for asyncio.
"""

from productsearch.v1.batches import batch_delete
from productsearch.v1.bulk import BulkAdd, BulkInterrupted, bulk_add
from productsearch.v1.connecting import connect
from productsearch.v1.error_reason_pb2 import ErrorReason
from productsearch.v1.errors import (
    cont_sign_of,
    field_violations_of,
    is_retryable,
    log_id_of,
    reason_of,
    retry_delay_of,
    status_of,
    text_of,
    upstream_code_of,
)
from productsearch.v1.images import (
    image_from_bytes,
    image_from_file,
    image_from_url,
    ref_by_image,
    ref_by_sign,
)
from productsearch.v1.product_search_pb2 import (
    AddImageRequest,
    AddImageResponse,
    AddOutcome,
    BatchDeleteImagesRequest,
    BatchDeleteImagesResponse,
    BulkAddImagesRequest,
    BulkAddImagesResponse,
    ClassFilter,
    DeleteImageRequest,
    DeleteImageResponse,
    DuplicatePolicy,
    ImageRef,
    ImageSource,
    NewImage,
    Region,
    SearchImagesRequest,
    SearchImagesResponse,
    SearchResult,
    UpdateImageRequest,
    UpdateImageResponse,
)
from productsearch.v1.product_search_pb2_grpc import (
    ProductSearchServicer,
    ProductSearchStub,
    add_ProductSearchServicer_to_server,
)
from productsearch.v1.searching import search_all
from productsearch.v1.tls import TlsConfig
from productsearch.v1.told_errors import ProductSearchError

__all__ = [
    "AddImageRequest",
    "AddImageResponse",
    "AddOutcome",
    "BatchDeleteImagesRequest",
    "BatchDeleteImagesResponse",
    "BulkAdd",
    "BulkAddImagesRequest",
    "BulkAddImagesResponse",
    "BulkInterrupted",
    "ClassFilter",
    "DeleteImageRequest",
    "DeleteImageResponse",
    "DuplicatePolicy",
    "ErrorReason",
    "ImageRef",
    "ImageSource",
    "NewImage",
    "ProductSearchError",
    "ProductSearchServicer",
    "ProductSearchStub",
    "Region",
    "SearchImagesRequest",
    "SearchImagesResponse",
    "SearchResult",
    "TlsConfig",
    "UpdateImageRequest",
    "UpdateImageResponse",
    "add_ProductSearchServicer_to_server",
    "batch_delete",
    "bulk_add",
    "connect",
    "cont_sign_of",
    "field_violations_of",
    "image_from_bytes",
    "image_from_file",
    "image_from_url",
    "is_retryable",
    "log_id_of",
    "reason_of",
    "ref_by_image",
    "ref_by_sign",
    "retry_delay_of",
    "search_all",
    "status_of",
    "text_of",
    "upstream_code_of",
]
