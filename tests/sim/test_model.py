"""Whatever happens to nodes and networks: they find each other again, and break no rule on the way.

One seed anew: `P2PTUN_SIM_SEED=17 pytest tests/sim/test_model.py`; more of them: `P2PTUN_SIM_SEEDS=1000`.
"""

from __future__ import annotations

import os

import pytest

from .mischief import Mischief
from .model import Model

ROUNDS = 8
COUNT = int(os.environ.get("P2PTUN_SIM_SEEDS", "12"))
SEEDS = [int(os.environ["P2PTUN_SIM_SEED"])] if "P2PTUN_SIM_SEED" in os.environ else list(range(1, COUNT + 1))


@pytest.mark.parametrize("seed", SEEDS)
def test_nodes_find_each_other_again_and_break_no_rule(seed: int) -> None:
    model = Model(seed)
    mischief = Mischief(model)
    model.reconnect()
    for _ in range(ROUNDS):
        for _ in range(model.chance.randint(1, 5)):
            mischief.happen()
        mischief.undo()
        model.reconnect()
    model.end()
    assert model.steps > 100
