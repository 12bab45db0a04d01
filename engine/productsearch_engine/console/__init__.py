"""The console: a library's images on pages for people, at ``/console``.

``app`` has the routes, the error boundary and what is checked before a page: session, role,
origin. ``sign_in`` and ``session`` say who somebody is. ``gallery``, ``image``, ``bulk``,
``search``, ``add`` and ``changes`` are the pages, ``templates`` and ``static`` what they look
like, ``locale`` their other languages.

Knows the REST contract's calls (``api``) and the store. A request counts among the calls of its
library's app, its body in the same memory, and no image is decoded here.
"""
