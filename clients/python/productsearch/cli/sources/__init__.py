"""Where images to import come from: folders and lists, here or in object storage.

A source gives entries one by one and reads the image of one; it knows neither the service nor the
journal.
"""

from productsearch.cli.sources.entry import Entry, Source
from productsearch.cli.sources.opening import open_source
from productsearch.cli.sources.template import Mapping

__all__ = ["Entry", "Mapping", "Source", "open_source"]
