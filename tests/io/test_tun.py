"""Names of TUN devices and what goes wrong before there is one. Real devices: test_tun_root."""

from __future__ import annotations

import errno

import pytest
from pytun import Error

from p2ptun.errors import DeviceError, PrivilegeError
from p2ptun.io import tun
from p2ptun.io.tun import TunDevice, check_name


@pytest.mark.parametrize("name", ["a", "p2ptun0", "home", "wg-1.5_x", "x" * 15])
def test_good_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "The interface name is empty."),
        ("x" * 16, "longer than 15 bytes"),
        ("é" * 8, "longer than 15 bytes"),
        ("\udcff" * 16, "longer than 15 bytes"),
        *((name, "can't be the name of an interface") for name in ("a b", "a/b", ".", "..", "a:b", "tun%d", "all")),
        *((name, "can't be the name of an interface") for name in ("default", "a\n", "a\x00", "a;b", "\udcff")),
    ],
)
def test_bad_names_are_refused_before_the_kernel_sees_them(name: str, problem: str) -> None:
    with pytest.raises(DeviceError, match=problem) as caught:
        TunDevice.open(name, 1420)
    assert "--name" in caught.value.remedy


@pytest.mark.parametrize(
    ("number", "kind", "remedy"),
    [
        (errno.EPERM, PrivilegeError, "sudo"),
        (errno.EACCES, PrivilegeError, "sudo"),
        (errno.ENOENT, DeviceError, "modprobe tun"),
        (errno.ENODEV, DeviceError, "--device /dev/net/tun"),
        (errno.EINVAL, DeviceError, "--name"),
    ],
)
def test_each_refusal_has_its_remedy(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[DeviceError], remedy: str
) -> None:
    def refuse(name: str, flags: int) -> None:
        raise Error(number, "refused")

    monkeypatch.setattr(tun, "TunTapDevice", refuse)
    with pytest.raises(DeviceError) as caught:
        TunDevice.open(None, 1420)
    assert type(caught.value) is kind
    assert remedy in caught.value.remedy
    assert str(caught.value).endswith(".")


def test_when_every_number_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refuse(name: str, flags: int) -> None:
        tried.append(name)
        raise Error(errno.EBUSY, "taken")

    monkeypatch.setattr(tun, "TunTapDevice", refuse)
    with pytest.raises(DeviceError, match="all taken") as caught:
        TunDevice.open(None, 1420)
    assert tried == [f"p2ptun{number}" for number in range(tun.MAX_NAMES)]
    assert "--name" in caught.value.remedy
