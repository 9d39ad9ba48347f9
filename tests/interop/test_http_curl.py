"""Another client of the rendezvous' API: curl walks it from the opening of a room to its end."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.server.serving import ADDRESS, HttpServing, make_certificate

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl (apt install curl)")

OCTETS = ("-H", "Content-Type: application/octet-stream", "--data-binary", "@-")


def curl(url: str, *options: str, body: bytes = b"") -> tuple[int, Any]:
    command = ["curl", "-s", "--max-time", "20", "-w", "\n%{http_code}", *options, url]
    text = subprocess.run(command, input=body, capture_output=True, check=True, timeout=30).stdout.decode()
    content, _, status = text.rpartition("\n")
    return int(status), json.loads(content) if content else None


def bearer(token: str) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {token}"


def test_curl_meets_curl(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with HttpServing(certificate=certificate) as server:
        for base, trust in ((server.url, ()), (server.secure_url, ("--cacert", str(certificate[0])))):
            status, room = curl(f"{base}/v1/rooms", "-X", "POST", *trust)
            assert (status, room["ttl"]) == (201, 3600)
            path = f"{base}/v1/rooms/{room['room']}"
            status, joined = curl(f"{path}/sides", *OCTETS, *trust, body=b"\x00opening\xff")
            assert status == 201
            status, read = curl(f"{path}/messages?wait=5", *bearer(room["side_token"]), *trust)
            assert status == 200
            assert [each.get("notice") for each in read["messages"]] == ["joined", None]
            assert base64.b64decode(read["messages"][1]["body"]) == b"\x00opening\xff"
            assert curl(f"{path}/messages", *OCTETS, *bearer(room["side_token"]), *trust, body=b"x")[1] == {
                "sequence": 1
            }
            assert curl(f"{path}/messages", *bearer(joined["side_token"]), *trust)[1]["messages"][0]["sequence"] == 1
            assert curl(f"{base}/v1/ice", *bearer(room["side_token"]), *trust)[0] == 200
            assert curl(f"{path}/sides", "-X", "POST", *trust)[1]["type"].endswith(":room-crowded")
            assert curl(f"{path}?reason=done", "-X", "DELETE", *bearer(room["side_token"]), *trust) == (204, None)
            status, problem = curl(f"{path}/messages", *bearer(joined["side_token"]), *trust)
            assert (status, problem["reason"]) == (410, "done")


def test_curl_enters_a_named_room_and_is_refused_what_is_too_large(tmp_path: Path) -> None:
    name = "0f" * 32
    with HttpServing() as server:
        path = f"{server.url}/v1/rooms/{name}/sides"
        for letter, status in (("a", 200), ("b", 200), ("c", 409)):
            token = bearer(f"{name}.{letter * 43}")
            assert curl(path, "-X", "PUT", *OCTETS, *token, body=b"hello")[0] == status
        large = tmp_path / "large"
        large.write_bytes(bytes(5_000_000))
        status, problem = curl(path, "-X", "PUT", *bearer(f"{name}.{'a' * 43}"), *OCTETS[:2], "-T", str(large))
        assert (status, problem["status"]) == (413, 413)
        assert curl(server.url + "/v1/rooms", "-d", "x=y", "-X", "PATCH")[0] == 405
        assert server.stop()["event"] == "closed"
        assert ADDRESS in server.url
