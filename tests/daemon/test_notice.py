from __future__ import annotations

from p2ptun.daemon.event import ErrorEvent, Event, WaitingEvent
from p2ptun.daemon.notice import Notices
from p2ptun.daemon.status import Health


def test_a_warning_is_told_once_and_kept_until_it_is_withdrawn() -> None:
    told: list[Event] = []
    notices = Notices(told.append)
    notices.warn("no-server", "No server answers.", "Wait.")
    notices.tell("Something was wrong.", "Do it again.")
    notices.emit(WaitingEvent("offer"))
    assert told == [
        ErrorEvent("No server answers.", "Wait."),
        ErrorEvent("Something was wrong.", "Do it again."),
        WaitingEvent("offer"),
    ]
    assert list(notices) == [Health("no-server", "No server answers.", "Wait.")]
    notices.warn("no-server", "No server answers yet.", "Wait.")
    assert [health.message for health in notices] == ["No server answers yet."]
    notices.withdraw("no-server")
    notices.withdraw("no-server")
    assert not list(notices)
