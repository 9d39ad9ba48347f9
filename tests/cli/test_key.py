"""Keys through pipes, as with `wg`."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from p2ptun.noise.keypair import KeyPair, decode_key, encode_key

from .material import p2ptun


def test_a_key_and_its_public_key_come_through_pipes() -> None:
    private = p2ptun("genkey")
    assert private.returncode == 0
    assert private.stderr == b""
    public = p2ptun("pubkey", stdin=private.stdout)
    assert public.returncode == 0
    expected = KeyPair.of_private(decode_key(private.stdout.decode())).public
    assert public.stdout.decode() == encode_key(expected) + "\n"


def test_the_public_key_is_that_of_the_rfc() -> None:
    """RFC 7748 6.1: Alice's keys."""
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    public = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert p2ptun("pubkey", stdin=base64.b64encode(private)).stdout.strip() == base64.b64encode(public)


def test_keys_are_new_each_time_and_of_one_form() -> None:
    keys = {p2ptun(verb).stdout for verb in ("genkey", "genkey", "genpsk", "genpsk")}
    assert len(keys) == 4
    assert all(len(base64.b64decode(key)) == 32 and len(key) == 45 for key in keys)


@pytest.mark.parametrize("stdin", [b"", b"\n", b"hello\n", b"\xff\xfe\x80\n", b"A" * 100_000, b"A" * 44, b"AAAA=\n"])
def test_no_key_is_told_in_a_sentence_that_does_not_quote_it(stdin: bytes) -> None:
    done = p2ptun("pubkey", stdin=stdin, PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"Traceback" not in done.stderr
    assert b"no " in done.stderr
    assert b"p2ptun genkey" in done.stderr
    assert not stdin.strip() or stdin.strip() not in done.stderr


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, True), (0o600, False)])
@pytest.mark.parametrize("verb", ["genkey", "genpsk"])
def test_a_file_that_others_can_read_gets_a_warning(tmp_path: Path, verb: str, mode: int, warned: bool) -> None:
    path = tmp_path / "key"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY)
    os.fchmod(descriptor, mode)
    done = p2ptun(verb, stdout=descriptor)
    os.close(descriptor)
    assert done.returncode == 0
    assert (b"umask 077" in done.stderr) is warned
    decode_key(path.read_text())


def test_a_reader_that_leaves_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = p2ptun("genkey", stdout=writer)
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
