"""Run seeds of the random schedules from the command line.

    python -m anabranch.tests.simulations.replay SEED [LAST_SEED]

Prints what each seed was like and all that was wrong; exit status 1 if anything was.
"""

from __future__ import annotations

import logging
import sys

from .workload import Outcome, run_seed


def lines_of(outcome: Outcome) -> list[str]:
    """What to say of one seed."""
    history = outcome.history
    answered = sum(append.receipt is not None for append in history.appends)
    refused = sum(append.error is not None for append in history.appends)
    summary = (
        f"seed {outcome.seed}: {len(history.members)} nodes, {len(history.appends)} appends "
        f"({answered} answered, {refused} refused), {len(history.rows())} commits settled, "
        f"trace {outcome.trace}"
    )
    return [summary, *(f"  {problem}" for problem in outcome.violations)]


def main(first: int, last: int) -> int:
    """Run seeds from the first to the last; the exit status."""
    bad = 0
    for seed in range(first, last + 1):
        outcome = run_seed(seed)
        sys.stdout.write("\n".join(lines_of(outcome)) + "\n")
        if outcome.violations:
            sys.stdout.write(f"  {outcome.profile}\n")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    seeds = [int(argument) for argument in sys.argv[1:]]
    raise SystemExit(main(seeds[0], seeds[-1]))
