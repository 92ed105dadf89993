"""What a network behind a router bears, as the inventory says it now."""

from types import SimpleNamespace
from typing import Any

import pytest

from broker.adapters.field_network import FieldNetwork
from broker.model.place import Budget


@pytest.fixture
def network() -> FieldNetwork:
    clock: Any = SimpleNamespace(monotonic=lambda: 100.0)
    lane: Any = SimpleNamespace(budget=Budget(), endpoint=SimpleNamespace(queued=False))
    network = FieldNetwork(clock)
    network.add(lane)
    return network


def test_a_budget_that_is_raised_holds_from_the_next_request_on(network: FieldNetwork) -> None:
    network.bear(Budget(operations_per_second=0.1))
    network.begun(100.0)
    network.over(100.0)
    assert network.ready_at() == 110.0
    network.bear(Budget(operations_per_second=10.0))
    assert network.ready_at() == pytest.approx(100.1)


def test_a_budget_that_is_lowered_lets_nothing_out_before_the_older_one_did(network: FieldNetwork) -> None:
    network.bear(Budget(operations_per_second=10.0))
    network.begun(100.0)
    network.over(100.0)
    network.bear(Budget(operations_per_second=0.1))
    assert network.ready_at() == pytest.approx(100.1)
