"""Decodes and embeds images in processes of their own.

``describe`` is what becomes of one image; it runs in a worker process. ``process`` is the
main loop of such a process and its limits, ``frames`` is what it and the engine say to each
other, ``worker`` is the engine's side of one process, ``turns`` is the order of those who
wait, and ``pool`` keeps the processes and gives each image to one of them.

A process can be killed at a limit of time, its memory is bounded, and it shares no
interpreter with the calls. Knows processes, sockets, images and the embedding. Does not know
forms, error codes, libraries or the database: a worker process is given no settings and no
secrets.
"""
