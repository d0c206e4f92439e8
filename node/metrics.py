"""What a node measures, for programs that watch it: /metrics, in OpenMetrics.

Names follow Prometheus: `anabranch_`, a unit at the end, `_total` for what only grows. Everything
is also in /v1/status, where it is said in words. Nothing is kept here: a scrape reads the node.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from .status import status

if TYPE_CHECKING:
    from .node import Node

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_STATES: Final = (
    *("ready", "forming", "joining", "unsure", "leaving", "left"),
    *("healing", "disk_full", "clock_ahead", "stranger", "failed"),
)
_Rows = Iterable[tuple[list[str], float | None]]


class _Collected(Collector):
    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said

    def collect(self) -> Iterable[Metric]:
        """All families."""
        said = self._said
        about = {key: str(said[key]) for key in ("node", "site", "cluster", "version", "boot")}
        yield InfoMetricFamily("anabranch_node", "Who this node is.", value=about)
        yield from _of_the_node(said)
        yield from _of_the_membership(said)
        yield from _of_the_log(said["log"], said["repair"])
        yield from _of_the_peers(said["peers"], said["repair"]["compared"])


def metrics(node: Node) -> bytes:
    """All metrics of a node as of now."""
    registry = CollectorRegistry()
    registry.register(_Collected(status(node)))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text


def _of_the_node(said: dict[str, Any]) -> Iterator[Metric]:
    mark = said["watermark"]
    yield _gauge(
        "state",
        "1 for the state that the node is in.",
        [([state], float(said["state"] == state)) for state in _STATES],
        "state",
    )
    yield _gauge("uptime_seconds", "Since the process started.", _one(said["uptime_seconds"]))
    yield _gauge("needs", "Things that an operator should do.", _one(len(said["needs"])))
    yield _gauge("tentative_commits", "Held, and not final.", _one(mark["tentative_commits"]))
    yield _counter("settled_commits", "Final commits.", _one(mark["settled_commits"]))
    yield _counter("settled_events", "Final events.", _one(mark["settled_events"]))
    age = _one(mark["age_seconds"])
    yield _gauge("watermark_age_seconds", "How old what is final is at least.", age)
    yield _gauge(
        "watermark_held_back",
        "1 for each member that is waited for.",
        [([one["name"]], 1.0) for one in mark["held_back_by"]],
        "member",
    )
    disputed = _one(len(said["disputed_shards"]))
    yield _gauge("disputed_shards", "Shards that have stopped settling.", disputed)


def _of_the_membership(said: dict[str, Any]) -> Iterator[Metric]:
    yield _gauge("epoch", "Number of the epoch; 0 while forming.", _one(said["epoch"]))
    yield _gauge("members", "Members of the epoch.", _one(len(said["members"])))
    silent = [([one["name"]], one["silent_seconds"]) for one in said["suspected"]]
    what = "How long nothing was heard of each suspected member."
    yield _gauge("suspected_seconds", what, silent, "member")
    yield _gauge("strays", "Commits that wait for a place in the order.", _one(said["strays"]))
    joining = said["joining"] or {"copied": None, "of": None}
    yield _gauge("joining_copied_commits", "Copied by a node that joins.", _one(joining["copied"]))
    yield _gauge("joining_commits", "What it has to copy in all.", _one(joining["of"]))


def _of_the_log(log: dict[str, Any], repair: dict[str, Any]) -> Iterator[Metric]:
    scrub = repair["scrub"]
    yield _gauge("log_bytes", "Length of the log.", _one(log["bytes"]))
    yield _gauge("log_segments", "Files of the log.", _one(log["segments"]))
    yield _gauge("log_sealed_segments", "Of them, compressed.", _one(log["sealed_segments"]))
    yield _gauge("log_backlog_bytes", "Not on disk yet.", _one(log["backlog_bytes"]))
    yield _gauge("disk_free_bytes", "Free on the disk.", _one(log["free_bytes"]))
    yield _gauge("damaged_ranges", "Of the log, known.", _one(len(repair["damaged_ranges"])))
    missing = _one(repair["missing_commits"])
    yield _gauge("missing_commits", "Lost by the disk, and not healed yet.", missing)
    yield _counter("healed_commits", "Healed from peers.", _one(repair["healed_commits"]))
    yield _counter("scrub_bytes", "Read by the scrub.", _one(scrub["bytes"]))
    yield _counter("scrub_passes", "Times that all was read.", _one(scrub["passes"]))
    yield _counter("scrub_found", "Damaged ranges that the scrub found.", _one(scrub["found"]))


def _of_the_peers(peers: list[dict[str, Any]], compared: dict[str, Any]) -> Iterator[Metric]:
    connected = [([one["name"]], float(one["link"] == "connected")) for one in peers]
    yield _gauge("peer_connected", "1 if this node's link to it is up.", connected, "peer")
    lag = [([one["name"]], one["lag_commits"]) for one in peers]
    yield _gauge("peer_lag_commits", "What it lacks of what this node holds.", lag, "peer")
    age = [([one["name"]], one["lag_seconds"]) for one in peers]
    yield _gauge("peer_lag_seconds", "Since its last promise.", age, "peer")
    offset = [([one["name"]], _seconds(one["clock_offset_ms"])) for one in peers]
    yield _gauge("peer_clock_offset_seconds", "Its clock, less this node's.", offset, "peer")
    held_back = [([one["name"]], one["held_back"]) for one in peers]
    yield _gauge("peer_held_back_logs", "Logs stamped ahead of time.", held_back, "peer")
    for way in ("sent", "received"):
        rows = [
            ([one["name"], kind], count)
            for one in peers
            for kind, count in one[f"bytes_{way}"].items()
        ]
        what = f"Bytes {way} over both links, since the start."
        yield _counter(f"peer_{way}_bytes", what, rows, "peer", "kind")
    times = [([name], one["times"]) for name, one in compared.items()]
    yield _counter("comparisons", "Comparisons that ended.", times, "peer")
    differences = [([name], one["differences"]) for name, one in compared.items()]
    yield _counter("differences", "Differences that they found.", differences, "peer")


def _one(number: float | None) -> _Rows:
    """A metric without labels."""
    return [([], number)]


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _gauge(name: str, what: str, rows: _Rows, *labels: str) -> Metric:
    family = GaugeMetricFamily(f"anabranch_{name}", what, labels=labels)
    for values, number in rows:
        if number is not None:
            family.add_metric(values, number)
    return family


def _counter(name: str, what: str, rows: _Rows, *labels: str) -> Metric:
    family = CounterMetricFamily(f"anabranch_{name}", what, labels=labels)
    for values, number in rows:
        if number is not None:
            family.add_metric(values, number)
    return family
