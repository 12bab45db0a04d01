"""``productsearch-engine doctor``: checks of everything that the engine needs.

docs/operating.md lists the codes; they stay as they are from release to release.
"""
