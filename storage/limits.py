"""Every bound, with its unit in its name and its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# What a caller may send.
STREAM_NAME_BYTES_MAX: Final = 512  # an index key holds the whole name
EVENT_BYTES_MAX: Final = 1 * MIB  # data and attributes of one event
COMMIT_BYTES_MAX: Final = 8 * MIB  # one record; a peer must hold a few of them in memory
COMMIT_EVENTS_MAX: Final = 10_000  # the fold is per commit, but a page is per event
TYPE_BYTES_MAX: Final = 256
KEY_BYTES_MAX: Final = 256  # an idempotency key
ATTRIBUTES_BYTES_MAX: Final = 64 * KIB  # metadata, tags, time and content type of one event
NESTING_MAX: Final = 64  # deeper JSON is an attack on somebody's recursive parser
BODY_BYTES_MAX: Final = 3 * COMMIT_BYTES_MAX // 2 + MIB  # base64 and JSON around 8 MiB of data
PAGE_EVENTS_MAX: Final = 1000
PAGE_BYTES_MAX: Final = 16 * MIB  # a page ends early when its events are large
ACK_TIMEOUT_SECONDS_MAX: Final = 300.0

# The log.
SEGMENT_BYTES: Final = 64 * MIB  # one file: small enough to rewrite, large enough to be few
GROUP_BYTES_MAX: Final = 32 * MIB  # waiting for the disk; beyond it appends answer 429
RECORD_BYTES_MAX: Final = COMMIT_BYTES_MAX + 4 * MIB  # a commit and the longest header, or a state
SCAN_WINDOW_BYTES: Final = 4 * MIB  # read at a time when a segment is scanned
DISK_RESERVE_BYTES: Final = 32 * MIB  # kept free, so that promises can be stored when appends can't
RESERVE_BYTES: Final = 4 * MIB  # of the file that is given up when others have filled the disk
READ_AGAIN_BYTES: Final = 4 * KIB  # how closely a bad sector is encircled: what disks remap at once

# Sealed segments.
BLOCK_BYTES: Final = 192 * KIB  # decompressed; one that is damaged is healed with under 64 KiB
STORED_BYTES_MAX: Final = RECORD_BYTES_MAX + MIB  # a block of one record that can't be compressed
BLOCKS_CACHED_BYTES: Final = 4 * MIB  # unpacked; a page of events lies in a few blocks
DIRECTORIES_CACHED_MAX: Final = 64  # of 256 blocks each: as many as files are kept open
SEAL_BYTES_PER_SECOND: Final = 32 * MIB  # well above what comes in for long
SEAL_STEP_SECONDS: Final = 0.05  # no block takes longer; what does, has waited for the disk
SEAL_RESTS: Final = 4  # times as long as a block took: a fifth of the loop, whatever the machine
SEAL_SYNC_BYTES: Final = 4 * MIB  # synced at a time, so that the log's own syncs need not queue
SEAL_AGAIN_SECONDS: Final = 60.0  # after the disk had no room

# Clocks.
MAX_CLOCK_OFFSET_MS: Final = 500  # a commit further ahead than this is held back
CEILING_AHEAD_MS: Final = 400  # how far ahead of the clock a promise may be prepared for
CEILING_RENEW_MS: Final = 200  # a new ceiling is stored when less than this is left

# Links.
SHARDS_DEFAULT: Final = 64
SHARDS_MAX: Final = 4096
MEMBERS_MAX: Final = 64
BOOTS_KEPT_MAX: Final = 64  # of each member: who starts more often is not copied, but broken
STRANGERS_KEPT_MAX: Final = 1024  # origins, and addresses, that hellos tell of: more is no cluster
HEARTBEAT_SECONDS: Final = 0.1
IDLE_BEATS: Final = 9  # so many times as seldom while nothing is tentative: nobody waits for it
IDLE_AFTER_SECONDS: Final = 10.0  # without a commit; who is cut off from here may still wait
SILENCE_SECONDS: Final = 2.0  # a link that carries no answer for so long is dead
CONNECT_SECONDS: Final = 3.0
BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 2.0  # a healed site should be found within seconds
RELAY_GRACE_SECONDS: Final = 1.0  # wait so long for a commit's own node before asking another
FAIR_CHANCE_SECONDS: Final = 0.5  # for a peer's own link to come up, before its log is pulled
PASS_ON_SECONDS: Final = 3.0  # wait so long for each mate whose turn it is to fetch and pass it on
SOON_SECONDS: Final = 6.0  # what comes by itself within this time at its pace is not pulled too
BUSY_MATE_SECONDS: Final = 15.0  # and so much longer while it passes on other things
FRAME_BYTES_MAX: Final = 32 * MIB  # a push of the largest commits, unpacked
HELLO_BYTES_MAX: Final = 64 * KIB  # the table of members; all that a stranger can make us unpack
COMPRESS_ABOVE_BYTES: Final = 4 * KIB  # smaller frames cost more to pack than to send
PUSH_BYTES_MAX: Final = 2 * MIB  # one push; two in memory for each peer
BATCH_BYTES_FIRST: Final = 64 * KIB  # half a second of a link of a megabit; then they double
BATCH_BYTES_SMALL: Final = 2 * KIB  # what rides along is as much
BATCH_SECONDS: Final = 0.5  # for one push or give: well below the silence that ends a link
PUSH_WINDOW_BYTES: Final = 16 * MIB  # own recent commits kept for peers that are close behind
PULL_BYTES_MAX: Final = 1 * MIB  # one answer to a pull; half of it packs a tenth worse
PULL_BYTES_PER_SECOND: Final = 64 * MIB  # catching up leaves half a gigabit link to new appends
PULL_BURST_SECONDS: Final = 0.25  # of pulls saved up: more than passes between two looks
PULL_LOGS_MAX: Final = 256  # (shard, origin) logs asked for in one pull

# Membership.
CONFIRM_SECONDS: Final = 2.0  # a node that starts waits so long for members beyond a majority
EVICT_AFTER_SECONDS: Final = 60.0  # of silence; a machine that restarts is back by then
MISSED_AFTER_SECONDS: Final = 3.0  # of silence a member is told of to the others
STALLED_SECONDS: Final = 1.5  # a change that is not decided by then is taken over
STALLED_SECONDS_MAX: Final = 6.0  # where ballots take long: who proposed in vain waits longer
ASK_AGAIN_SECONDS: Final = 1.0  # who is no member says so again
TWIN_SECONDS: Final = 3.0  # a node that was heard within this time is not replaced by another
WAITING_SECONDS: Final = 30.0  # who is no member and says so no more has gone
APPEND_AGAIN_COMMITS: Final = 256  # on their way to the disk at once, so that new ones get a turn

# Anti-entropy.
COMPARE_SECONDS: Final = 10.0  # a healthy comparison is 200 bytes
SCRUB_SECONDS: Final = 7 * 24 * 3600.0  # as long as damage may stay unnoticed
SCRUB_BYTES_PER_SECOND_MIN: Final = 64 * KIB  # so a small log is read many times in that time
HEAL_WAIT_SECONDS: Final = 2.0  # a reader of a damaged record waits so long for a peer's copy
TREE_LEVELS_MAX: Final = 16  # 16 children a node: more than 64 bits of sequences
COMPARE_SHARDS_MAX: Final = 64  # whose logs one answer names: 9 origins of 64 shards are 32 KiB
DIFFERENCES_MAX: Final = 1000  # found by one comparison; the next one finds the rest
COMPARE_NODES_MAX: Final = 128  # whose children one answer names: 64 KiB of hashes

# Settlement.
PROMISES_KEPT_MAX: Final = 64  # for each shard and origin; thinning them is safe, only coarser
SETTLED_ROOTS_KEPT: Final = 256  # for each shard: how far apart two nodes can be and still compare
SETTLE_PAUSE_SECONDS: Final = (
    0.02  # unless somebody waits: a shard's turn costs as much as a commit
)
SETTLE_ROOM_BYTES: Final = 12 * MIB  # free space without which the index is not written any more
SETTLE_BATCH_COMMITS: Final = 512  # settled in one go before the loop gets its turn

# Memory.
STREAMS_CACHED_MAX: Final = 20_000  # heads of streams without a tentative part
