from __future__ import annotations

from p2ptun.ice.event import SendError
from p2ptun.ice.pair import PairProblem


def test_every_send_error_is_a_problem_of_a_pair() -> None:
    assert {error.value for error in SendError} <= {problem.value for problem in PairProblem}
