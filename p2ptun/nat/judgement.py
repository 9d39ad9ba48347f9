"""What all surveys together say: one `NatBehavior`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2ptun.nat.behavior import Filtering, Mapping, NatBehavior
from p2ptun.nat.classify import classify_mapping, classify_ports, openest
from p2ptun.nat.probe import Probe
from p2ptun.nat.survey import Survey
from p2ptun.stun.trust import Scope, scope_of
from p2ptun.types import Endpoint


def judge(base: Endpoint, surveys: Sequence[Survey], order: Sequence[Probe], hairpins: bool | None) -> NatBehavior:
    """Join what servers found. Those that are nearer than others stand before some of the NATs, and count for nothing.

    `order` has all probes by their first copy; `hairpins` is what became of that test.
    """
    scope = max((scope_of(survey.server.address) for survey in surveys if survey.seen), default=Scope.NOWHERE)
    relevant = [survey for survey in surveys if scope_of(survey.server.address) is scope]
    seen = {server: mapped for survey in relevant for server, mapped in survey.seen.items()}
    if not seen:
        return NatBehavior(base.address)
    has_nat = any(mapped != base for mapped in seen.values())
    mapping = _mapping(relevant, seen)
    filtering = openest([survey.filtering for survey in relevant])
    asked = [probe for probe in order if scope_of(probe.question.server.address) is scope]
    preserves = _preserves_port(asked) if has_nat else None
    keeps_all = preserves if mapping is Mapping.ENDPOINT_INDEPENDENT else False
    return NatBehavior(
        local=base.address,
        public=tuple(dict.fromkeys(mapped.address for mapped in seen.values())),
        has_nat=has_nat,
        mapping=mapping,
        filtering=filtering,
        allocation=classify_ports(_bindings(asked, mapping), keeps_all) if has_nat else None,
        preserves_port=preserves,
        hairpins=_hairpins(hairpins, mapping, filtering) if has_nat else None,
        sends_fragments=_any(survey.sends_fragments for survey in relevant),
        receives_fragments=_any(survey.receives_fragments for survey in relevant),
    )


def _mapping(surveys: Sequence[Survey], seen: dict[Endpoint, Endpoint]) -> Mapping | None:
    """Judge by all servers; None when one of them alone tells another story: it lies, or there are two ways out."""
    joint = classify_mapping(seen)
    alone = {survey.mapping for survey in surveys} - {None, Mapping.DEPENDENT}
    return joint if alone <= {joint} else None


def _hairpins(verdict: bool | None, mapping: Mapping | None, filtering: Filtering | None) -> bool | None:
    """Believe a failure only where nothing else explains it: behind a dependent mapping we don't know where to send."""
    can_fail = mapping is Mapping.ENDPOINT_INDEPENDENT or filtering is Filtering.ENDPOINT_INDEPENDENT
    return verdict if verdict or can_fail else None


def _preserves_port(order: Iterable[Probe]) -> bool | None:
    """Tell whether sockets mostly keep their port: a NAT that preserves ports gives another one where it is taken."""
    first: dict[Endpoint, bool] = {}
    for probe in order:
        if probe.mapped is not None and probe.question.is_plain:
            first.setdefault(probe.question.base, probe.mapped.port == probe.question.base.port)
    return 2 * sum(first.values()) > len(first) if len(first) > 1 else None


def _bindings(order: Iterable[Probe], mapping: Mapping | None) -> list[int | None]:
    """List the ports of bindings in the order in which they were made; None where it isn't known, or not made then."""
    ports: dict[tuple[object, ...], int | None] = {}
    if mapping is None:
        return []
    for probe in order:
        question = probe.question
        key = {
            Mapping.ENDPOINT_INDEPENDENT: (question.base,),
            Mapping.ADDRESS_DEPENDENT: (question.base, question.server.address),
        }.get(mapping, (question.base, question.server))
        is_known = probe.answered_first and probe.mapped is not None and question.is_plain
        ports.setdefault(key, probe.mapped.port if is_known and probe.mapped else None)
    return list(ports.values())


def _any(verdicts: Iterable[bool | None]) -> bool | None:
    """Join what several servers found: what got through once can get through."""
    found = set(verdicts)
    if True in found:
        return True
    return False if False in found else None
