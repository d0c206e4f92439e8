"""Equal roots mean equal sets, and what a node holds is what it says (I18, I21)."""

from __future__ import annotations

from ..history import History


def trees_are_true(history: History) -> list[str]:
    """At a stamp that all have settled, the roots of all are equal; each leaf is that of a record.

    And nobody ever gave a commit on as it was not made.
    """
    problems = list(history.healing.untrue)
    for cut in history.healing.cuts:
        first = next(iter(cut.roots), None)
        problems += [
            f"at {cut.at:.4f} s the trees of {first} and {node} differ up to stamp {cut.stamp:x}"
            for node, roots in cut.roots.items()
            if first is not None and roots != cut.roots[first]
        ]
    return problems
