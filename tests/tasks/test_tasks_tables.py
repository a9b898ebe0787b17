"""Benchmark tables among the tasks: what there is, where it lies, how to get it."""

from __future__ import annotations

import pytest

from mimar.core.errors import UsageError
from mimar.evaluators import benchmarks
from mimar.tasks import fetch, locate, naming


def test_every_table_is_named_in_both_rooms() -> None:
    assert set(naming.tables()) == set(benchmarks.names()) and not set(naming.tables()) & set(naming.names())
    for name in naming.tables():
        assert "table" in naming.about(name)
        assert naming.info(name).startswith(name) and "\n" not in naming.info(name)


def test_a_table_is_found_or_told_where_to_get(nowhere, written) -> None:
    assert "set MIMAR_DATA to the folder that holds nas/nasbench201.npz; its figures come from" in naming.info(
        "nasbench201"
    )
    path = written("data/nas/nasbench201.npz", b"x")
    assert naming.info("nasbench201") == f"nasbench201: found in {path}" and locate.find("nasbench201") == path
    path = written("cache/mimar/ecnas_nb101_small.npz", b"x")
    assert naming.info("ec_nas") == f"ec-nas: found in {path}"
    assert "nats-bench:folder=PATH" in naming.info("nats-bench")


def test_a_table_is_no_task_with_data() -> None:
    with pytest.raises(UsageError, match="spikenas is a benchmark table, which has no data to train on"):
        naming.named("spikenas")
    with pytest.raises(UsageError, match="unknown task 'spikena'; did you mean 'spikenas'"):
        naming.named("spikena")
    with pytest.raises(UsageError, match="nasbench201 cannot be fetched; set MIMAR_DATA to the folder"):
        fetch.fetch("nasbench201")
