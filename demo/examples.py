"""What ``make run`` prints: how to call the service, ready to be pasted into a shell."""

from __future__ import annotations

from demo.stock import Stock

_USUAL_TARGET = "127.0.0.1:50051"
_SHOWN = "mug"
_EXAMPLES = """\
== Python: search with a photo that is not in the library ==
.venv/bin/python - <<'EOF'
from productsearch.v1 import ProductSearchStub, SearchImagesRequest, connect, image_from_file

with connect("{target}") as channel:
    image = image_from_file("{photo}", fit=True)
    request = SearchImagesRequest(image=image, page_size=3)
    for hit in ProductSearchStub(channel).SearchImages(request).results:
        print(f"{{hit.score:.3f}}", hit.cont_sign, hit.brief)
EOF

== grpcurl: the same search ==
base64 < {photo} | tr -d '\\n' |
  sed 's/.*/{{"image": {{"content": "&"}}, "page_size": 3}}/' |
  grpcurl -plaintext -d @ {target} productsearch.v1.ProductSearch/SearchImages

== The command line: the same search ==
.venv/bin/productsearch search {photo} --top 3{flag}

== The command line: the signature of a product ==
.venv/bin/productsearch find {sku} --source {listed}
"""


def text(stock: Stock, target: str) -> str:
    """Return the examples. Below each heading stands what finds a product."""
    (photo, *_) = sorted(stock.photos.glob(f"{_SHOWN}-*-wood.jpg"))
    (stored, *_) = sorted(stock.listed.parent.glob(f"{_SHOWN}-*.jpg"))
    return _EXAMPLES.format(
        target=target,
        photo=photo,
        sku=stored.stem,
        listed=stock.listed,
        flag=target_flag(target),
    )


def target_flag(target: str) -> str:
    """Return what a command needs to reach ``target``: nothing for the usual one."""
    return "" if target == _USUAL_TARGET else f" --target {target}"
