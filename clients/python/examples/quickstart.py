"""Adds an image, finds it again, and reads what an error says.

Run: python quickstart.py 127.0.0.1:50051 image.jpg
"""

import sys

import grpc

from productsearch.v1 import (
    AddImageRequest,
    ErrorReason,
    NewImage,
    ProductSearchStub,
    SearchImagesRequest,
    connect,
    cont_sign_of,
    image_from_file,
    reason_of,
)

target, file = sys.argv[1:]
image = image_from_file(file, fit=True)

with connect(target) as channel:
    stub = ProductSearchStub(channel)
    try:
        added = stub.AddImage(AddImageRequest(new_image=NewImage(image=image, brief="a red apple")))
        print("added", added.cont_sign)
    except grpc.RpcError as error:
        if reason_of(error) != ErrorReason.IMAGE_ALREADY_EXISTS:
            raise
        print("already there as", cont_sign_of(error))
    for hit in stub.SearchImages(SearchImagesRequest(image=image, page_size=5)).results:
        print(f"{hit.score:.3f}", hit.cont_sign, hit.brief)
