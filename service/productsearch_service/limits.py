"""The numbers that bound something and are used in more than one place. Units stand last."""

from __future__ import annotations

from typing import Final

# --- the upstream's own limits (its document, "request parameters") ---
IMAGE_ENCODED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Length of an image after base64 and urlencoding."""
IMAGE_SIDE_MIN_PX: Final = 300
IMAGE_SIDE_MAX_PX: Final = 4096
URL_BYTES_MAX: Final = 1024
BRIEF_BYTES_MAX: Final = 256
CLASS_ID_MIN: Final = 1
CLASS_ID_MAX: Final = 65535
RESULT_WINDOW: Final = 1000
"""No result past this rank can be reached."""
PAGE_SIZE_DEFAULT: Final = 300
BATCH_DELETE_MAX: Final = 100
"""Signatures in one delete call."""

# --- this service ---
FIT_BYTES_MAX: Final = 20 * 1024 * 1024
"""Largest image that ``fit`` takes."""
RECEIVE_BYTES_MAX: Final = FIT_BYTES_MAX + 1024 * 1024
"""Largest gRPC message: above any image, so that one that is a little too large gets our own error.
gRPC has one such limit for all methods and callers, and refuses what is above it by itself."""
FRAME_BYTES_MAX: Final = 1024 * 1024
"""Of a message, as clients are told; HTTP/2's own default is 16 KB."""
LARGE_BYTES: Final = 6 * 1024 * 1024
"""Above it an image is large, and its call needs one of the places for such."""
LARGE_CALLS_MAX: Final = 8
LARGE_BYTES_MAX: Final = 4 * FIT_BYTES_MAX
"""Of large images together, a part of BYTES_IN_FLIGHT_MAX: the rest is left to ordinary calls."""
BATCH_SIGNS_MAX: Final = 10_000
"""Signatures in one BatchDeleteImages."""
BATCH_BYTES_MAX: Final = 64 * BATCH_SIGNS_MAX
"""Its request; a signature has at most 21 characters."""
KEY_BYTES_MAX: Final = 256
FIT_PIXELS_MAX: Final = 25_000_000
"""The most pixels that ``fit`` decodes."""
FIT_JPEG_PIXELS_MAX: Final = 200_000_000
"""The same for JPEGs, which are scaled down while they are decoded."""
FIT_JPEG_SCANS_MAX: Final = 100
"""Each scan costs time for the whole image; cameras and optimisers write a dozen."""
FIT_AT_ONCE: Final = 2
"""Processes of ``fit``, and so images that it decodes at the same time."""
FIT_LARGE_MEMORY_BYTES: Final = 320 * 1024 * 1024
"""What one image may take in its process, beside the 25 to 50 MB that this takes idle. An image
that takes more than the next limit is decoded while no other is."""
FIT_MEMORY_BYTES: Final = FIT_LARGE_MEMORY_BYTES // FIT_AT_ONCE
FIT_CPU_S_MAX: Final = 10.0
"""CPU seconds of one image; the slowest ordinary ones take three."""
FIT_S_MAX: Final = 30.0
"""Longest time that one image has a process, whatever this does meanwhile."""
FIT_LOOK_S: Final = 1.0
"""Between two looks whether a process that has an image does anything."""
FIT_STILL_LOOKS: Final = 3
"""In a row at which it has not run; then another one gets the image."""
FIT_START_S_MAX: Final = 20.0
"""Until a new process of ``fit`` must be ready."""
FIT_NICE: Final = 10
"""By how much its processes are nicer than the event loop, which serves everyone."""

QUOTED_CHARS_MAX: Final = 64
VIOLATIONS_MAX: Final = 20
"""Violations told of one request: gRPC clients take no more than 8 KiB of trailers."""

CALL_CAP_S: Final = 30.0
"""Longest time given to one call of the upstream with its retries. An RPC of several calls has its
caller's deadline over all of them."""
DEADLINE_SHAVE_S: Final = 0.020
"""Taken off each deadline, so that our answer is there before the caller's patience ends."""
CALL_MIN_S: Final = 0.100
"""With less time than this left, no call to the upstream is begun."""
DEADLINE_MIN_S: Final = CALL_MIN_S + DEADLINE_SHAVE_S
"""The same as the caller counts: until its own deadline."""

RECEIVING_MAX: Final = 6
"""Messages of unary calls that are received at the same time, each as large as one may be: how
large it is shows only when it is there."""
RECEIVE_TIMEOUT_S: Final = 12.0
"""From its turn to the end of a call's message: the places of silent calls are back within 15 s."""
RECEIVE_SURE_S: Final = 2.0
"""Of that, what it has even if a caller that receives nothing waits for a turn."""
RECEIVE_PATIENCE_S: Final = 0.5
"""After this a caller that waits for its first turn asks for one, again and again."""
PACED_BYTES: Final = IMAGE_ENCODED_BYTES_MAX * 3 // 4 + 16 * 1024
"""A message above it is large: it has no image that the upstream takes as it is. The event loop
serves others between two steps of work on such messages."""
PACE_REST: Final = 9.0
"""For so many times as long as a turn of the event loop with such a step took."""
PACE_REST_S_MAX: Final = 0.25
FIELDS_MAX: Final = 1000
"""Of one message and those inside it; none has more than twenty that mean something."""
HEADERS_MAX: Final = 128
"""Of a call; a mesh adds a dozen. gRPC hands over any number, for 3 us of the event loop each."""
FIELDS_UNCOUNTED_BYTES: Final = 16 * 1024
"""Of a message that is decoded without counting: its fields cannot be that many."""
WAITING_MAX: Final = 1024
"""Calls that wait to be received; gRPC holds up to 64 KB of each. The same for bulk items."""
BYSTANDERS_MAX: Final = 256
"""Calls of health and reflection; one more ends the oldest."""
BYSTANDERS_RECEIVING_MAX: Final = 8
"""Of these, calls whose message is being received; one more ends the oldest of them."""
BYSTANDER_BYTES_MAX: Final = 1024
BYSTANDER_TIMEOUT_S: Final = 5.0
"""For their requests to come."""
CONNECTIONS_MAX: Final = 4096
CONNECTION_STREAMS_MAX: Final = 1024
"""Calls of one connection; its client keeps further ones waiting.

gRPC counts a call until its memory is free, which is a little after its client has the answer. A
client that always has as many calls as it may is then refused some (REFUSED_STREAM: UNAVAILABLE,
"Stream removed"). So this is well above RPCS_IN_FLIGHT_MAX: SERVER_OVERLOADED comes first.
"""
PENDING_MAX: Final = 4096
"""Calls whose headers have come and that the event loop has not looked at. gRPC resets one more."""
CONNECTION_IDLE_MS: Final = 600_000
"""A connection without calls ends after this time."""
HANDSHAKE_TIMEOUT_MS: Final = 10_000
RPCS_IN_FLIGHT_MAX: Final = 64
BYTES_IN_FLIGHT_MAX: Final = 128 * 1024 * 1024
"""Of requests; an image takes about four times its size while it is under way."""
UNREAD_MAX: Final = 256
"""Answers of unary calls that were not taken yet; one more ends the oldest of who has the most."""
UNREAD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Their bytes."""
OWN_BLOCK_BYTES_MIN: Final = 32 * 1024 * 1024
"""Blocks of memory from this size on go back to the system when they are freed: none that a
message needs."""
FREE_BYTES_KEPT: Final = 48 * 1024 * 1024
"""As much of smaller blocks is kept for the next images, the two copies that gRPC makes of the
largest message: to give them back and fetch fresh ones for each was most of what the event loop
did for it."""
FREE_BYTES_KEPT_LONG: Final = 4 * 1024 * 1024
"""As much of that stays when TRIM_PERIOD_S is over."""
TRIM_PERIOD_S: Final = 20.0
"""Between two times that holes in the heap are given back."""
OTHERS_SHARE: Final = 0.25
"""Part of the calls in flight that a caller of share 1 leaves to others while they call too."""
FIT_CALLS_MAX: Final = 52
"""Of the calls in flight, those with an image for ``fit`` that is not large. With the large ones
they leave 4 places to calls that wait for no process, however many callers send images."""
FIT_OTHERS_SHARE: Final = 0.076
"""Of these; a caller of share 1 may have as many of them as it may have calls."""
SHARE_MAX: Final = 100
"""Largest weight of a caller: that many turns in a row where callers share."""
OVERLOAD_RETRY_S: Final = 0.5
DRAIN_RETRY_S: Final = 1.0
DRAIN_REFUSAL_S: Final = 1.0
"""After the drain delay: how long calls that still come are told SERVER_DRAINING."""
DRAIN_READ_S: Final = 0.25
"""Between a bulk stream's last result and SERVER_DRAINING: its caller reads and sends no more. And
between the words that an add is cut off with and the end of its connection."""
BULK_STREAMS_MAX: Final = 16
BULK_AT_ONCE: Final = 8
"""Items of one stream that are under way together."""
BULK_ITEMS_MAX: Final = 64
"""Items of all streams that are under way together. Each stream may hold one more item that was
read but not started."""
BULK_BYTES_MAX: Final = 64 * 1024 * 1024
"""Their bytes."""
BULK_UNREAD_S: Final = 5.0
"""A stream that has to end and whose caller takes nothing for so long is cut."""
BULK_SILENCE_S: Final = 60.0
"""A stream that was silent for longer gives way to a new one."""

FILE_BYTES_MAX: Final = 1024 * 1024
"""Of a settings, policy, certificate or key file; 10,000 callers and as many rules have as much."""
ADMIN_THREADS: Final = 16
"""For health, reflection and channelz by gRPC on the admin port."""
ADMIN_REQUEST_S: Final = 0.1
"""What each call there has for its request where too many wait, each on a connection of its own."""
ADMIN_QUEUE_S: Final = 1.0
"""Within which all that wait there have a thread; where they are many, each has less time."""
ADMIN_STREAMS_MAX: Final = 32
"""Calls of one connection there."""
ADMIN_IDLE_MS: Final = 60_000
"""A connection there without calls ends after this time."""
ADMIN_WATCHERS_MAX: Final = 16
"""Threads for those who watch health there, of which one is kept for who comes next."""
ADMIN_CONNECTIONS_MAX: Final = 32
"""HTTP connections for metrics and probes; one more closes the oldest."""
ADMIN_HEAD_BYTES_MAX: Final = 16 * 1024
"""Of one HTTP request there: its first line with all headers."""
ADMIN_TIMEOUT_S: Final = 5.0
"""Longest silence of an HTTP client there."""
SILENT_S: Final = 30.0
"""An upstream that answers nothing for so long, with so many requests sent, gets a line."""
SILENT_CALLS: Final = 5
THROTTLE_OVER_S: Final = 60.0
"""Without an error 18 for so long, its end gets a line."""
LOG_CHARS_WAITING_MAX: Final = 4_000_000
"""Of lines that wait to be written to the log; further ones are lost, and counted."""
STRANGERS_LINE_S: Final = 1.0
"""Between two access lines of refused callers without a name that are alike."""
LOG_FLUSH_S: Final = 1.0
"""How long the end of the process waits for them."""
TOLD_WITHIN_S: Final = 0.05
"""How long a call that has ended waits to be counted and logged with others."""
TOLD_TOGETHER_MAX: Final = 128
"""So many are enough: counting and logging them holds up the event loop for about a millisecond."""
AUDIT_WAITING_MAX: Final = 100_000
"""Writes that wait for their line of the audit stream; further ones are lost, and counted."""
AUDIT_TOLD_EVERY: Final = 1000
"""Lines after which the log names the digest."""
AUDIT_CLOSE_S: Final = 5.0
AUDIT_CALM_S: Final = 5.0
AUDIT_LOOK_S: Final = 0.5
"""Between two looks for a file that was renamed, while nobody writes."""
"""Without a lost line, until the log says that no more are: a full disk takes one now and then."""
CALLER_LABELS_MAX: Final = 100
"""Callers that metrics name, however many a policy lists; the others are one."""
HEADROOM_TOLD_S: Final = 300.0
"""For how long after its last call a caller's headroom is told."""
TRACE_PARTS_MAX: Final = 128
"""Parts of a recorded RPC that become spans; a batch or stream may have more, which are counted."""
TRACES_WAITING_MAX: Final = 2048
"""Recorded RPCs that wait to be sent to the collector; further ones are dropped, and counted."""
TRACES_SENT_TOGETHER: Final = 128
"""Recorded RPCs whose spans leave in one request to the collector."""
CERTIFICATE_DAYS_FEW: Final = 14
"""A certificate or a key pair that ends sooner is warned of."""
LOOP_STALLED_S: Final = 30.0
"""An event loop that has not ticked for this long is not alive."""
LOOP_LATE_S: Final = 6.0
"""One that has not ticked for this long is not ready; it ticks each second."""
READINESS_POLL_S: Final = 0.5
REACHABILITY_POLL_S: Final = 3.0
REACHABILITY_TIMEOUT_S: Final = 3.0
REACHABILITY_FAILURES: Final = 3
"""In a row, until the replica is not ready."""
LIVENESS_POLL_S: Final = 1.0
CONNECTION_AGE_GRACE_MS: Final = 600_000
"""For streams that are under way when their connection has reached its age."""
PING_INTERVAL_MIN_MS: Final = 10_000
KEEPALIVE_TIME_MS: Final = 60_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000

# --- calls to the upstream ---
CONNECT_TIMEOUT_S: Final = 5.0
"""For the TCP and TLS handshakes of a new connection."""
NAME_PATIENCE_S: Final = 1.0
"""For the name server's answer, where the addresses of the upstream's name were known before."""
NAME_SILENT_S: Final = 3600.0
"""How long these are used while no name server answers."""
NAME_GONE_S: Final = 60.0
"""The same where one answers that the name has none any more."""
SEND_STALL_TIMEOUT_S: Final = 10.0
"""Longest time without progress while a request is sent."""
READ_TIMEOUT_S: Final = 30.0
"""From the end of the request to the end of the answer."""
HEADER_BYTES_MAX: Final = 64 * 1024
"""Of one line of an answer's head: a gateway's cookies can have 40 KB."""
HEADS_BYTES_MAX: Final = 80 * 1024
"""Of all heads of an answer, informational ones too."""
FRAMING_BYTES_MAX: Final = 16 * 1024
"""Of what frames an answer's body beyond the body's own length, and of what is read in one turn."""
UNSENT_KEPT_S: Final = 30.0
"""How long the system tries to send what an upstream does not take."""
SENT_WHOLE_BYTES: Final = 64 * 1024
"""A request up to this size leaves in one piece, a larger one part by part."""
ANSWER_BYTES_MAX: Final = 2 * 1024 * 1024
"""1000 results with briefs of 256 escaped bytes are under 2 MB."""
CONNECTION_IDLE_MAX_S: Final = 30.0
"""A connection that was idle for longer is not used again: servers drop theirs after 60 or 75 s."""
ATTEMPTS_MAX: Final = 3
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MAX_S: Final = 4.0
QPS_BACKOFF_MIN_S: Final = 1.0
"""After error 18 the upstream's one-second window must pass."""
RETRY_BUDGET_SHARE: Final = 0.1
"""Retries for each call, over time; with a failing upstream more would only add load."""
RETRY_BUDGET_MAX: Final = 10.0
"""Retries that may come in a row after a quiet time."""
BREAKER_FAILURES: Final = 5
"""Failures of the upstream in a row that open the breaker."""
BREAKER_FIRST_S: Final = 1.0
BREAKER_MAX_S: Final = 5.0
EXHAUSTED_FIRST_S: Final = 60.0
"""Until the first probe after the daily or total quota was used up."""
EXHAUSTED_MAX_S: Final = 900.0
UPSTREAM_RETRY_S: Final = 1.0
"""RetryInfo of UPSTREAM_UNAVAILABLE."""
SEARCH_CACHE_BYTES: Final = 64 * 1024 * 1024
QUOTA_SHARE: Final = 0.97
"""Part of the quota that the pacer uses: what leaves evenly spaced does not arrive so."""

# --- tokens ---
CREDENTIALS_POLL_S: Final = 15.0
TOKEN_STALE_TO: Final = 0.90
TOKEN_SPREAD: Final = 0.10
"""A refresh begins at a random time in this part of the lifetime, which ends at the one above."""
TOKEN_EXPIRY_MARGIN_S: Final = 15 * 60.0
"""A refresh begins at the latest this long before expiry (half the lifetime if shorter)."""
TOKEN_LIFETIME_MIN_S: Final = 60
TOKEN_LIFETIME_MAX_S: Final = 366 * 24 * 3600
TOKEN_WAIT_MAX_S: Final = 5.0
TOKEN_FETCH_TIMEOUT_S: Final = 10.0
TOKEN_RETRY_S: Final = 60.0
"""Until a new key pair is tried again whose token request failed for another reason."""
TOKEN_GATE_FIRST_S: Final = 1.0
TOKEN_GATE_MAX_S: Final = 300.0
TOKEN_BYTES_MAX: Final = 4096

# --- what a setting may be ---
SETTING_S_MAX: Final = 7 * 86_400.0
"""The longest time that a setting may give; gRPC takes milliseconds of 31 bits."""
SETTING_NUMBER_MAX: Final = 10**9
"""The same for counts: gRPC takes 31 bits."""
SETTING_BYTES_MAX: Final = 2**40
POLL_MIN_S: Final = 0.001
"""Between two looks for a changed file."""
QUOTA_QPS_MIN: Final = 0.001
