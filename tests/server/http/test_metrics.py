"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from p2ptun.server.http.metrics import Metrics
from p2ptun.server.http.problem import Slug
from p2ptun.server.rooms import Counts


def samples(metrics: Metrics, counts: Counts | None = None) -> dict[tuple[str, ...], float]:
    text, media_type = metrics.write(counts)
    assert media_type.startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(text.decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def test_what_happened_is_counted() -> None:
    metrics = Metrics()
    metrics.rooms_opened.inc()
    metrics.joins.labels("named").inc(2)
    metrics.burns.labels("left").inc()
    metrics.carry(b"four")
    metrics.carry(b"")
    found = samples(metrics)
    assert found["p2ptun_rooms_opened_total",] == 1
    assert found["p2ptun_joins_total", "named"] == 2
    assert found["p2ptun_burns_total", "left"] == 1
    assert found["p2ptun_messages_total",] == 1
    assert found["p2ptun_message_bytes_total",] == 4
    assert not any(name.endswith("_created") for name, *_ in found)


def test_what_there_is_is_told_as_far_as_it_is_known() -> None:
    metrics = Metrics()
    metrics.observe("p2ptun_answer", "An answer.", lambda: 42)
    found = samples(metrics, Counts(1, 2, 3, 4))
    assert found["p2ptun_rooms", "numbered"] == 1
    assert found["p2ptun_rooms", "named"] == 2
    assert found["p2ptun_polls_waiting",] == 3
    assert found["p2ptun_store_up",] == 1
    assert found["p2ptun_answer",] == 42
    assert samples(metrics)["p2ptun_store_up",] == 0


def test_refusals_are_counted_for_good_and_since_the_last_time() -> None:
    metrics = Metrics()
    metrics.refuse(Slug.FULL)
    metrics.refuse(Slug.FULL)
    assert metrics.take_refused() == {"full": 2}
    assert metrics.take_refused() == {}
    assert samples(metrics)["p2ptun_refusals_total", "full"] == 2


def test_two_servers_count_apart() -> None:
    one, two = Metrics(), Metrics()
    one.rooms_opened.inc()
    assert samples(two)["p2ptun_rooms_opened_total",] == 0
