"""The random things that happen to the machines of a model."""

from __future__ import annotations

from collections.abc import Callable

from p2ptun.ice.event import RestartReason

from .link import Bursts
from .model import USUAL_SITES, Machine, Model
from .nat import Nat


class Mischief:
    """Draws events and lets them happen; `undo` ends those that last."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.chance = model.chance
        self.network = model.network
        self._kinds: list[Callable[[], None]] = [
            self.move,
            self.add_network,
            self.reboot_nat,
            self.send_to_sleep,
            self.wake,
            self.cut_network,
            self.cut_link,
            self.cut_direct,
            self.cut_direct,
            self.carry_direct,
            self.kill_relay,
            self.revive_relays,
            self.mend,
            self.lose_in_bursts,
            self.lose_at_random,
            self.delay,
            self.restart_both,
            self.fall_silent,
        ]

    def happen(self) -> None:
        """Let one thing happen, and some time pass."""
        self.chance.choice(self._kinds)()
        self.model.talk(self.chance.choice([0.1, 0.5, 2.0, 5.0, 15.0, 40.0]))

    def undo(self) -> None:
        """End what lasts, but for relays that are dead and direct paths that are cut: others remain, now and then."""
        self.mend()
        if self.chance.random() < 0.5:
            self.revive_relays()
        for machine in self.model.machines:
            self._wake(machine)
        self.model.note("all is well")

    # Networks

    def move(self) -> None:
        machine = self._machine()
        machine.site, machine.address, machine.gateways = self.model.settle_down(USUAL_SITES)
        machine.epoch += 1
        machine.moves += 1
        machine.silent_since = None
        machine.host.move(f"{machine.address}:{5000 + machine.number}")
        self.model.note(f"{machine.host.name} moves to {machine.site} as {machine.address}")

    def add_network(self) -> None:
        """Bring a second network up, and take the first away after a while."""
        machine = self._machine()
        old = machine.host.sockets[0]
        machine.site, machine.address, machine.gateways = self.model.settle_down(USUAL_SITES)
        machine.epoch += 1
        machine.moves += 1
        machine.silent_since = None
        machine.host.gain(f"{machine.address}:{5000 + machine.number}")
        self.model.note(f"{machine.host.name} joins {machine.site} as {machine.address}")
        self.model.talk(self.chance.choice([0.1, 1.0, 10.0]))
        machine.host.lose(str(old))
        self.model.note(f"{machine.host.name} leaves {old}")

    def reboot_nat(self) -> None:
        machine = self._machine()
        for gateway in machine.gateways:
            gateway.reboot()
            if isinstance(gateway, Nat) and gateway.behind is None and self.chance.random() < 0.3:
                self.network.renumber(gateway, f"203.0.113.{10 + machine.epoch % 200}")
                machine.epoch += 1
                machine.moves += 1
        if not machine.keeps_ports:
            machine.epoch += 1
        self.model.note(f"the gateways of {machine.host.name} reboot")

    # Disturbances

    def cut_network(self) -> None:
        self.model.is_cut = True
        self.model.note("the network is cut")

    def cut_direct(self) -> None:
        """Let nobody reach anybody without a relay, until `carry_direct`."""
        self.model.is_direct_cut = True
        self.model.note("direct paths are cut")

    def carry_direct(self) -> None:
        self.model.is_direct_cut = False
        self.model.note("direct paths are mended")

    def cut_link(self) -> None:
        machine = self._machine()
        self.network.link(machine.address).is_up = False
        machine.begin_silence(self.network.now)
        self.model.note(f"the link of {machine.host.name} goes down")

    def mend(self) -> None:
        self.model.is_cut = False
        core = self.network.core
        core.bursts, core.loss, core.jitter, core.repetition = None, 0.0, 0.0, 0.0
        for link in self.network.links.values():
            link.is_up = True
        for machine in self.model.machines:
            if not machine.is_asleep:
                machine.end_silence(self.network.now)
        self.model.note("the network is mended")

    def lose_in_bursts(self) -> None:
        seed = self.chance.randrange(2**32)
        quiet, burst = self.chance.uniform(1, 10), self.chance.uniform(0.2, 5)
        self.network.core.bursts = Bursts(quiet, burst, seed)
        self.model.note("bursts of loss begin")

    def lose_at_random(self) -> None:
        self.network.core.loss, self.network.core.repetition = self.chance.uniform(0.0, 0.5), 0.1
        self.model.note(f"{self.network.core.loss:.0%} get lost")

    def delay(self) -> None:
        self.network.core.latency = self.chance.choice([0.001, 0.025, 0.1, 0.4])
        self.network.core.jitter = self.network.core.latency * self.chance.random()
        self.model.note(f"latency is {self.network.core.latency}")

    # Relays

    def kill_relay(self) -> None:
        if self.model.relays:
            relay = self.chance.choice(self.model.relays)
            relay.kill()
            self.model.note(f"{relay} dies")

    def revive_relays(self) -> None:
        for relay in self.model.relays:
            relay.revive()
        self.network.flush()
        self.model.note("all relays live")

    # Machines

    def send_to_sleep(self) -> None:
        machine = self._machine()
        machine.is_asleep = True
        machine.begin_silence(self.network.now)
        machine.host.sleep()
        self.model.note(f"{machine.host.name} falls asleep")
        self.model.talk(self.chance.choice([1.0, 10.0, 50.0, 200.0]))

    def wake(self) -> None:
        for machine in self.model.machines:
            self._wake(machine)

    def restart_both(self) -> None:
        left, right = self.chance.choice(self.model.pairs)
        for here, there in ((left, right), (right, left)):
            if not here.is_asleep:
                here.host.peer(there.host.name).restart(RestartReason.REQUESTED, here.host.now)
        self.network.flush()
        self.model.note(f"{left.host.name} and {right.host.name} restart")

    def fall_silent(self) -> None:
        self.model.note("nobody says anything")
        self.model.rest(self.chance.choice([10.0, 60.0, 200.0]))

    def _machine(self) -> Machine:
        """Choose one that is awake; it is woken when nobody is."""
        awake = [machine for machine in self.model.machines if not machine.is_asleep]
        if not awake:
            self.wake()
        return self.chance.choice(awake or self.model.machines)

    def _wake(self, machine: Machine) -> None:
        if not machine.is_asleep:
            return
        machine.is_asleep = False
        if self.network.link(machine.address).is_up:
            machine.end_silence(self.network.now)
        machine.host.wake()
        self.model.note(f"{machine.host.name} wakes")
