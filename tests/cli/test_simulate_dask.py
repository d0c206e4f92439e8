"""A campaign over a Dask cluster."""

from __future__ import annotations

import sys

import pytest

from anabranch.cli.errors import CommandError
from anabranch.cli.simulate_campaign import Wanted, hold
from anabranch.cli.simulate_pools import Dask

SEEDS = range(4)


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=2,
        processes=False,
        dashboard_address=None,
        host="127.0.0.1",
        protocol="tcp://",
    ) as cluster:
        yield cluster


def test_the_result_is_that_of_one_process(cluster):
    there = hold(Wanted(SEEDS, dask=cluster.scheduler_address, stop_after=None))
    here = hold(Wanted(SEEDS, jobs=1, stop_after=None))
    assert there.ended is None
    assert there.campaign.results == here.campaign.results
    assert there.campaign.repeated == 1
    assert there.campaign.unlike == {}
    assert there.by == "4 threads of Dask"


def test_a_cluster_that_is_lost_is_one_sentence(cluster):
    from distributed.scheduler import KilledWorker

    lost = pytest.raises(CommandError, match=r"was lost amid the campaign \(KilledWorker\)")
    with lost, Dask(cluster.scheduler_address):
        raise KilledWorker("a task", None, 3)


def test_a_cluster_without_workers_is_one_sentence(cluster):
    cluster.scale(0)
    cluster.sync(cluster._correct_state)
    with pytest.raises(CommandError, match="has no workers"):
        Dask(cluster.scheduler_address)


def test_workers_with_another_version_are_named(cluster, monkeypatch):
    import anabranch
    from anabranch.cli import simulate_pools

    versions = iter(["9.9", "1.0", "1.0"])
    monkeypatch.setattr(simulate_pools, "version", lambda: next(versions))
    with pytest.raises(CommandError, match=r"has no anabranch 9\.9 \(1\.0\)"):
        Dask(cluster.scheduler_address)
    assert anabranch.__version__


def test_nobody_there_is_one_sentence(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("anabranch.cli.simulate_pools.CONNECT_SECONDS", 0.2)
    with pytest.raises(CommandError, match="No Dask scheduler answers at tcp"):
        Dask("tcp://127.0.0.1:1")


def test_without_the_extra_it_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    ran = run("simulate", "--seeds", "1..2", "--dask", "tcp://127.0.0.1:1")
    assert ran.status == 1
    assert "pip install 'anabranch[dask]'" in ran.err
