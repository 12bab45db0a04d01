"""``productsearch-service doctor``: checks of everything that the service needs, all at once.

docs/operating.md lists the codes; they stay as they are from release to release.
"""
