"""Epochs and settlement in a world where everything goes wrong, and each rule's mutant in it.

A run is one seed: cuts, loss, reordering, doubled messages, skewed clocks, crashes at every step of
keep, apply and send, evictions by both sides of a cut, returns, joins, restored snapshots. Run one
again: World(seed, nodes).run().
"""

import pytest

from .epochs.mutants import FOUND_BY_LUCK, MUTANTS, RULES
from .epochs.world import Rules, World

SEEDS = 120
MANY_SEEDS = {3: 8000, 5: 7000, 7: 5000}
MUTANT_SEEDS = 250


@pytest.mark.parametrize("nodes", [3, 5, 7])
def test_nothing_settled_changes_and_everything_settles(nodes):
    met = dict.fromkeys(("settled", "crashes", "restores", "forced", "joins"), 0)
    epochs = hopeless = 0
    for seed in range(SEEDS):
        world = World(seed, nodes)
        assert world.run() is None, f"World({seed}, {nodes}).run()"
        epochs += max(world.epochs) - 1
        hopeless += world.hopeless
        for what, count in world.counts.items():
            met[what] += count
    assert hopeless <= SEEDS // 50
    assert epochs >= SEEDS  # so it was worth looking
    assert (
        min(met["settled"] // 10, met["crashes"], met["joins"] * 2, met["restores"] * 30) >= SEEDS
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("nodes", MANY_SEEDS)
def test_and_in_twenty_thousand_seeds(nodes):
    hopeless = 0
    for seed in range(MANY_SEEDS[nodes]):
        world = World(seed, nodes)
        assert world.run() is None, f"World({seed}, {nodes}).run()"
        hopeless += world.hopeless
    assert hopeless * 100 <= MANY_SEEDS[nodes]


@pytest.mark.parametrize("name", FOUND_BY_LUCK)
def test_a_rule_left_out_is_noticed(name):
    for seed in range(MUTANT_SEEDS):
        with MUTANTS[name]():
            rules = RULES.get(name, Rules)()
            if any(World(seed, nodes, rules).run() for nodes in (3, 5)):
                return
    pytest.fail(f"{MUTANT_SEEDS} seeds did not notice: {name}")


def test_the_same_seed_is_the_same_run():
    first, again = World(5, 5), World(5, 5)
    first.run(), again.run()
    assert first.epochs == again.epochs
    assert first.order == again.order
