"""Every number that bounds a call.

The first group is the contract's; the others are the engine's own.
"""

ENCODED_BYTES_MAX = 4 << 20
"""Longest ``image`` value, after base64 and urlencoding."""

SIDE_PX_MIN = 300
SIDE_PX_MAX = 4096
BRIEF_BYTES_MAX = 256
CLASS_ID_MIN = 1
CLASS_ID_MAX = 65535
URL_BYTES_MAX = 1024
CONT_SIGNS_MAX = 100
WINDOW = 1000
"""A search never reads past this rank."""

RESULTS_DEFAULT = 300
TOKEN_LIFETIME_S = 2592000
CAPACITY_DEFAULT = 500_000
"""Images that a new library has room for, and the default step of ``library grow``."""

BODY_BYTES_MAX = ENCODED_BYTES_MAX + (64 << 10)
"""Longest request body: one image, the other fields, and the heads of multipart parts."""

TOKEN_BODY_BYTES_MAX = 16 << 10
FIELDS_MAX = 64
"""Fields of a urlencoded form, and parts of a multipart one, with a name or without."""
HEADER_OPTIONS_MAX = 300
"""Semicolons of a Content-Type or Content-Disposition; a file name may have some."""
BODY_READ_S = 30.0
BODY_STALL_S = 5.0
"""Longest pause in a body."""

BODY_GRACE_S = 5.0
BODY_BYTES_PER_S_MIN = 32 << 10
"""A body arrives at least so fast, its first seconds left out."""

BODIES_BYTES_MAX = 64 << 20
"""Bodies and downloads in memory at the same time; further ones wait unread. Decoded they take
three times as much."""

TURN_S = 20.0
"""Longest wait of a call for memory, or for a place among the downloads."""

CALLS_MAX = 512
"""Calls in flight; further ones are refused with code 4."""

TOKEN_CALLS_MAX = 64
"""Token requests of which the database is asked; further ones get HTTP 500, and ask again."""

CONNECTIONS_MAX = 1024
"""Open connections. For one more, one that is idle, or slow with its head or body, is closed."""

DESCRIPTORS_KEPT = 256
"""File descriptors that connections leave to the database, to workers and to downloads."""

HEAD_S = 15.0
"""Longest time for the head of a request, from the connection or the head's first byte."""

HEAD_BYTES_MAX = 32 << 10
HEADERS_MAX = 100
PIPELINED_MAX = 16
"""Requests that wait on one connection for the answer to the one before."""

OVERHEAD_MAX = 8
"""Bytes on the wire for one byte of a body, such as the sizes of its chunks."""

PIECES_MAX = 1024
PIECE_BYTES_MIN = 256
"""A body, or a download, comes in at most ``PIECES_MAX`` pieces and one for each so many bytes."""

DISCARD_S = 30.0
"""Longest time that the rest of a body is read and dropped after its answer."""

WRITE_STALL_S = 30.0
"""Longest time that a client leaves an answer unread, or its network bytes unacknowledged."""

GONE_AGAIN_S = 0.005
GONE_AGAIN_S_MAX = 0.64
"""A client that has closed its side is looked after so soon and, each time twice as long later, at
most so late: it may have left."""

EMBEDDED_SIDE_PX_MIN = 256
"""Least length of the shortest side of the pixels that an embedding is given."""

KEPT_SIDE_PX = 512
"""Longest side of the small copy of an image that a library keeps."""

GLANCE_SIDE_PX = 192
"""Longest side at which a second look compares images. At 256 it takes half as long again and finds
as much."""

LIBRARY_REMEMBERED_S = 0.9
"""How long an engine goes by what it knows of an app and its library: settings, key, quota."""

QPS_REFUSAL_REMEMBERED_S = 0.02
"""For so long after a call beyond an app's calls per second further ones are refused unasked."""

REEMBEDDING_KEPT_S = 86_400
"""How long a library's embedding before can be taken back; then its vectors are dropped."""

REEMBEDDING_LOOK_S = 600.0
"""How often a running engine looks for such vectors."""

DOCTOR_S = 10.0
"""Longest time of the doctor, with the start of its process; a busy machine takes seconds."""
DOCTOR_LIMITS_S = (0.1, 300.0)
"""What can be set in its place."""

STATES_LOOK_S = 30.0
"""How often the states of the database are read for metrics."""

STATES_LIBRARIES_MAX = 100
"""Libraries that metrics name; with more, those that come last by name have none."""

SECOND_LOOK_MAX = 50
"""Ranks that a second look may change: to compare so many glances takes about 35 ms."""

JPEG_SCANS_MAX = 100
"""Real progressive files have about ten scans; a file with thousands takes minutes to decode."""

JPEG_SCAN_COMPONENTS_MAX = 4
"""Components of a scan (ITU T.81, table B.3), and of the frame of a file that is cut; both headers
have room for 255."""

MARKS_MAX = 10_000
"""Segments of a JPEG, or chunks of a PNG, that are looked at; real files have hundreds."""

EXIF_BYTES_MAX = 64 << 10
LARGE_PX = 4 << 20
"""More pixels of a PNG, a BMP or a progressive JPEG make an image large: such files cannot be
scaled while they are decoded, and 16 million pixels, the most, take about 130 MB."""

LARGE_SCANNED_PX = 40 << 20
"""The same for the pixels of a JPEG times its scans."""

JOB_BYTES_MAX = 256 << 20
"""Memory that a worker process may take for one image, beside its own."""

JOB_CPU_S = 2.0
LARGE_JOB_CPU_S = 5.0
"""Processor time for one image; the kernel may count a quarter more or less than is used."""

JOB_S = 20.0
"""Longest time on the clock for one image in a worker process, and then the process is killed."""

JOB_WAIT_S = 25.0
"""Longest time for one image with its wait for a process; callers wait 30 s for an answer."""

JOB_ATTEMPTS_MAX = 3
LARGE_NICE = 5
"""Priority of the process for large images, as ``nice`` counts."""

ANSWER_BYTES_MAX = 1 << 20
"""What a worker process may say of one image."""

WORKER_START_S = 60.0
WORKER_PAUSE_S = 0.1
WORKER_PAUSE_MAX_S = 5.0
"""Between two tries to start a worker process, doubling up to the second number."""

DOWNLOAD_BYTES_MAX = 4 << 20
ANSWER_HEAD_BYTES_MAX = 512 << 10
"""What a host may say before its content, and again beside and behind it: interim answers, the
sizes of chunks, trailers."""

ANSWER_FIELDS_MAX = 1000
"""Lines of the head of a host's answer."""

GZIP_MEMBERS_MAX = 256
"""Members of a gzip file that a host sends; of 64 KB each, as bgzip writes them, 64 are enough."""

LOCATION_CHARS_MAX = 8192
"""Longest address that a redirect leads to: servers take no longer ones, and accents in a name cost
the square of their number."""

TRANSFER_CODING_BYTES_MAX = 1024
"""Longest list of transfer codings of a host; nobody has more than two."""

DOWNLOAD_S = 10.0
CONNECT_S_MIN = 1.0
"""Of a host's addresses each gets an equal part of the time that is left, and so much at least."""

DOWNLOAD_REDIRECTS_MAX = 3
DOWNLOADS_MAX = 16
"""Downloads at the same time. They have threads of their own, so slow hosts hold no worker."""

SIGN_ATTEMPTS_MAX = 16

KEY_OVERLAP_MAX_S = 86_400
"""For how long a secret key may serve beside the one that replaced it."""

SHARDS_DEFAULT = 32
"""Parts of each distributed table. Workers can be added up to this number."""
SHARDS_MAX = 1024
"""There are as many buckets."""

DELETE_LAG_MAX_S = 7 * 86_400
DELETED_FOUND_MAX = 10_000
"""Longest time that searches may find deleted images, and of how many: of the last ones."""

ROOM_STRIPES = 32
ROOM_LENT_MAX = 64
"""Rows that adds to a library count in, and places that one of them is lent at a time."""

DATABASE_WAIT_S = 2.0
"""Longest wait for a connection of the pool."""

DATABASE_AGAIN_S = 0.2
"""Between two tries of the pool for a connection."""

DATABASE_CONNECT_S = 2
"""Longest time for a new connection; psycopg takes no less."""

STATEMENT_S = 30
"""Longest time that the database works on a statement."""

STATEMENT_CLIENT_S = STATEMENT_S + 2
"""Longest time that the engine waits for a statement, if the database does not keep its own."""

DATABASE_PROBE_S = 0.4
DATABASE_PROBE_WAIT_S = 1.0
"""The database is asked so often, and has so long to answer: it is known to be down in 2 s."""

COMMAND_PATIENCE_S = 30.0
"""How long a command that works for minutes waits for a database that is down."""

DATABASE_GIVE_UP_S = 3.0
"""Statements under way are given up when the database is down for so long."""

DISK_FREE_MIN = 128 << 20
"""With fewer free bytes adds are refused; the rest is PostgreSQL's log's."""

DISK_RESERVE_BYTES = 64 << 20
DISK_FREE_LAST = 32 << 20
"""With fewer free bytes the reserve is given up."""

DISK_FULL_S = 60.0
"""Health tells of a full disk for so long after a statement failed of it."""

DATABASE_WEDGED_S = 10.0
"""An embedded PostgreSQL that accepts connections and answers none for so long is killed."""

KEEP_ALIVE_S = 120
"""Longer than clients keep idle connections, so that the client closes first."""

STOP_GRACE_S = 30
ACCEPT_LAST_S = 5.0
"""At SIGTERM connections that wait in the listener are accepted for so long at most."""

REQUEST_ON_ITS_WAY_S = 1.0
"""At SIGTERM a connection that was opened so short a time before, or had its last answer then, may
have a request on its way: its client cannot know."""

UNREAD_AGAIN_S = 0.02
"""A connection with a request that is unread at SIGTERM, or on its way, is looked at so often until
it was read."""

EF_CONSTRUCTION = 128
"""Candidates among which a new image's neighbours in an index of vectors are chosen. Fewer leave
some images without a link to those that are most like them."""

EF_SEARCH = 500
"""Candidates that an index scan finds at once, the same for every page: see store.statements. A
scan that goes on for more finds so many more at each step."""

FITTED_SIDE_PX_MAX = 2048
"""Longest side of a file that the console brings inside the limits: four times what is kept."""

FITTED_BYTES_MAX = 1_000_000
"""Longest such file: what a worker process may say, without the frame."""

THUMBNAIL_SIDE_PX = 256
"""Longest side of an image in the console's grid."""

THUMBNAILS_BYTES_MAX = 24 << 20
"""Thumbnails that stay in memory, most lately used."""

THUMBNAILS_AT_ONCE = 2
"""Thumbnails made at the same time: pages of the console leave room for calls."""

CONSOLE_PAGE = 60
"""Images of a page of the console."""

CONSOLE_BODY_BYTES_MAX = 16 << 20
"""Longest body of a console's form: several images, added without scripts."""

CONSOLE_FIELDS_MAX = 2100
"""Fields of a console's form: a selection and what else there is."""

SELECTION_MAX = 1000
"""Images that are changed together."""

SESSION_S = 12 * 3600
"""How long a sign-in to the console lasts after it was last used."""

SESSION_RENEWED_S = 3600
"""Age of a session's cookie from which on a page renews it."""

SESSIONS_S = 7 * 86_400
"""How long a sign-in to the console lasts at most."""

RESENT_BYTES_MAX = 64 << 10
"""Longest form that is kept in its page while somebody signs in again."""

CLOCKS_APART_S = 60
"""How far the clocks of two engines, or of one before and after it was set, may be apart."""

RESENT_AT_ONCE = 64
RESENT_OF_ADDRESS = 8
"""Forms of people who are not signed in that are read at the same time, and of one address."""

SIGN_IN_TRIES = 10
SIGN_IN_NAME_TRIES = 50
SIGN_IN_TRIES_S = 300.0
"""So many failed sign-ins of one address, and for one name, in so many seconds; then none."""

BROWSER_KNOWN_S = 180 * 86_400
"""For so long after a sign-in a browser's failed ones for the same name are counted by themselves:
what strangers try locks nobody out who has been here before."""

SIGN_IN_KEYS_MAX = 4096
"""Addresses and names whose failed sign-ins are counted."""

PASSWORDS_AT_ONCE = 2
"""Passwords checked at the same time; each check takes 64 MiB."""

PASSWORD_BYTES_MAX = 1024
UNDO_S = 86_400
"""How long a change can be undone."""

UNDO_OFFERED_S = 30
"""How long a page offers to undo the last change; the list of changes does for ``UNDO_S``."""

OWN_CHANGE_KNOWN_S = 60
"""How long a browser says which change its person made last. As long as counts may be old."""

RENEWED_MAX = 1000
"""Images of one undo that get vectors of another embedding while somebody waits for the page."""

JOURNAL_LOOK_S = 600.0
"""How often a running engine looks for changes that can be undone no more."""

CHANGES_KEPT = 1000
"""Changes of a library that are told after a day; all of the last day are."""

FILTERED_COUNTED_MAX = 1000
"""Images to which those that pass the filters of a page are counted."""

CHANGES_PAGE = 100
"""Changes on a page."""

CHANGES_TOLD = 20
"""Images of a change that are looked at to tell in short what it did."""

CHANGES_PEOPLE_MAX = 200
"""People to choose from in the list of changes."""

SUBJECTS_KNOWN_MAX = 4096
"""Stored images of which the console remembers where the product is."""

DOUBLES_LOOKED_AT = 60
"""Images that one page of doubles compares with all others."""

DOUBLES_NEIGHBOURS = 4
"""Others that an image is compared with: the nearest."""

DOUBLES_REACH = 320
"""Others at most among which one is looked for that was added before."""

DOUBLES_PAIRS = 40
"""Pairs of a page: with as many, or a few more, the next one goes on where it ends."""

MARKS_KNOWN_MAX = 8192
"""Stored images of which the console remembers the mark, 768 bytes each."""

LIBRARY_PAGE_DAYS = 90
"""Days whose adds and searches a library's page shows; counts of searches are kept so long."""

SEARCH_COUNTS_WRITTEN_S = 10.0
"""How often an engine writes its counts of searches."""

SEARCH_COUNTS_MAX = 10_000
"""Libraries and hours whose counts wait in memory to be written."""

COMPARED_RANKS = 20
"""Hits of each of two searches that the console shows side by side."""

EMPTIED_MAX = 20_000
"""Images that emptying a library in the console deletes at once, in one transaction."""

GROW_MAX = 10_000_000
"""Images by which a library grows at once in the console."""

LIBRARY_PAGE_REMEMBERED_S = 10.0
"""The sizes and counts on a library's page are so old at most."""

PINS_MAX = 200
"""Searches that a library's people keep to run again."""

PIN_RANK_MAX = 100
"""A pinned image is looked for among so many hits."""

QUERIES_KEPT = 100
"""Images of a library's searches that are kept, so that a search has an address."""

CANDIDATES = 2490
"""Images that are found by the prefixes of their vectors, and ranked by the whole vectors: a few
less than a scan of the index finds in five steps."""

FIRST_RANKS = 350
FIRST_CANDIDATES = 700
FIRST_CANDIDATES_LARGE = 1490
"""The first ranks are decided among the first candidates alone, whatever page is asked for: a page
that ends there costs no more, and all pages agree. A large library needs more of them: the more
images, the more of them lie as near as the last rank."""

LARGE_LIBRARY = 300_000
"""A library of more images is large."""

BUDGET_SHARE = 0.4
BUDGET_PROBE = 490
BUDGET_PROBE_PASSING = 150
BUDGET_FIRST = 2490
BUDGET_FIRST_PASSING = 700
BUDGET = 4490
BUDGET_PASSING = 1400
BUDGET_FIRST_ENOUGH = 1490
BUDGET_ENOUGH = 2490
"""A filter that so large a part of a large library passes is searched by the index of all vectors:
so many of the nearest images are read, those that pass are ranked, and fewer of them than this mean
that what passes lies elsewhere. The probe is read first, and tells most of these cheaply. Where as
many as are enough pass before that, no more is read. So it is where the index is that of one class
of two, or of both."""

DIMENSIONS_MAX = 4000
"""Numbers of a vector: more an index over half-precision vectors does not take."""

LOCK_WAIT_S = 1.0
"""How long a change of a library's tables, or a migration, waits for who uses them; calls that
begin meanwhile wait for it."""

LOCK_PAUSE_S = 1.0
"""How long calls go on before it tries again."""

LOCK_PATIENCE_S = 30.0
"""After so long a command gives up, and has changed nothing. A migration goes on."""

OLD_INDEX_KEPT_S = 3_600.0
"""How long the index that engines of the version before use stays after this one has its own."""

NEAREST_LOOK_S = 60.0
"""How often a running engine looks for libraries whose vectors are not in tables of their own."""

NEAREST_BATCH = 2_000
"""Images whose prefixes are made in one transaction."""

RECALL_SHARE = 0.01
"""Searches by the index of the vectors that may be repeated exactly, to see what they miss."""

RECALL_WAITING_MAX = 8
"""Of these, so many wait in memory; a newer one takes the place of the oldest."""

RECALL_LOOK_S = 5.0
"""How often an engine looks whether there is time for it."""

RECALL_TIME_SHARE = 0.05
"""The longest part of an engine's idle time that it takes."""

CROWD = 64
CROWD_WIDTH = 0.0005
CROWD_WIDTH_LARGE = 1e-5
"""So many candidates within such a part of the distances are a crowd: images that are equal or
nearly so. An index of vectors, which looks at so many neighbours of each as it is built, then has
links within the crowd alone. Of other images half as many lie so close at 100,000; in a large
library they may be more, and there only those that are equal count."""

EXACT_IMAGES = 20_000
"""A library of no more images is compared one by one: as quick as the index, and exact."""

PREFIX_IMAGES = 50_000
"""Of a library of no more images all prefixes are compared: as quick as the index for all ranks,
and whatever images lie beside each other."""

RARE_SHARE = 0.1
"""Images of classes that pass a filter are looked up one by one if they are no larger a part of the
library; else all of it is read (its prefixes, if it is not small), which costs less for each."""

RARE_SHARE_LARGE = 0.05
"""The same in a large library for filters other than AND, which look up fewer than the rarer class
has."""

CLASS_INDEX_LIBRARY = 150_000
"""Classes of a library of more images can have an index of their own; all prefixes of a smaller one
are as quick."""

LARGE_CLASS = 25_000
"""A class of so many images that is searched often gets an index of its vectors. Looking up each
image of a smaller one takes less than a tenth of a second."""

CLASS_INDEX_SEARCHES = 30
"""Searches of a class that are often, from one look of an engine at its tables to the next."""

CLASS_INDEXES_MAX = 8
CLASS_INDEXES_SHARE = 1.5
"""Indexes of classes that a library has, and the part of its images that all of them have. An image
is in two of them at the most."""

CLASS_INDEX_UNUSED_S = 7 * 86_400.0
"""An index of a class that no search used for so long is dropped."""

CLASS_INDEXES_KNOWN_S = 5.0
"""How long an engine goes by what it knows of a library's indexes of classes."""

CLASS_COUNT_REMEMBERED_S = 60.0
CLASS_COUNTS_MAX = 4096
"""Classes whose number of images an engine remembers."""

COPY_BYTES_MAX = 1 << 20
"""Longest small copy of an image that an import takes."""

EXPORT_FILE_ROWS = 100_000
"""Images of one file, if an export fills a folder."""

IMPORT_LINE_BYTES_MAX = 4 << 20
IMPORT_BATCH_ROWS = 2000
IMPORT_BATCH_BYTES = 16 << 20
"""Rows that are loaded in one transaction, and bytes of their vectors and copies."""

INDEX_REBUILT_SHARE = 1.0
"""An import of more rows than so many for each stored image drops the index and builds it anew."""

INDEX_REBUILT_ROWS_MIN = 5000
"""An import of fewer rows leaves the index as it is."""

INDEX_LINKS_BYTES = 700
"""Memory of a vector's links while an index is built, measured with pgvector 0.8."""

INDEX_MEMORY_SHARE = 4
"""An index that an import builds takes at most one part in so many of the machine's memory."""
