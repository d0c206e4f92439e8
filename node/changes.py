"""What is under way among the members: what this node wants, and whom that waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..gossip.epoch import Change, Epoch, needs_force
from ..gossip.members import Members
from .suspects import names_of

if TYPE_CHECKING:
    from .node import Node


def under_way(node: Node) -> dict[str, Any]:
    """Whether the members are agreed on, what this node wants to be decided, and who is lacking."""
    epoch, membership = node.members.epoch, node.membership
    changing = membership.epochs is not None and membership.epochs.frozen
    return {
        "state": "forming" if epoch is None else "changing" if changing else "stable",
        "wanted": [change_text(node.members, change) for change in membership.wanted],
        "waits_for": [] if epoch is None else _waits_for(node, epoch),
    }


def gone_from(node: Node, epoch: Epoch) -> list[int]:
    """The origins of members that can't be reached from a node."""
    here = {*node.replication.linked, node.me.name}
    return [one.origin for one in epoch.members if one.name not in here]


def change_text(members: Members, change: Change) -> str:
    """A change in a few words."""
    remove = [members.name(one) or f"{one:016x}" for one in change.remove]
    parts = [f"remove {', '.join(remove)}"] if remove else []
    if change.join:
        parts.append(f"join {', '.join(one.name for one in change.join)}")
    return " and ".join(parts) or "go on with what there is"


def _waits_for(node: Node, epoch: Epoch) -> list[str]:
    """Of whom some have to come back before any change can be decided."""
    gone = gone_from(node, epoch)
    return names_of(epoch, gone) if needs_force(epoch, gone) is not None else []
