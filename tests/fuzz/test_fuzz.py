"""Every decoder meets bytes that nobody meant: plain random ones everywhere, coverage-guided ones where atheris is."""

from __future__ import annotations

import ast
import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.run import load, name_of, seeds, targets
from tests.layering import modules

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 20260
RUNS = 20_000
SECONDS = 4
PLAIN_RUNS = 1_000
MAX_LENGTH = 2_048

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="needs atheris, which is installed with [dev] on x86-64 with Python 3.11 to 3.13",
)


def fuzz(target: Path, directory: Path, runs: int = RUNS) -> str:
    """Run `target` in a process of its own and return what libFuzzer said. Raises AssertionError on a finding."""
    corpus = directory / "corpus"
    corpus.mkdir()
    command = [sys.executable, "-m", "tests.fuzz.run", str(target)]
    limits = [f"-runs={runs}", f"-seed={SEED}", f"-max_total_time={SECONDS}", f"-max_len={MAX_LENGTH}"]
    limits += ["-timeout=5", "-rss_limit_mb=1024", f"-artifact_prefix={directory}/", str(corpus)]
    done = subprocess.run(
        command + limits,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )
    said = done.stdout + done.stderr
    story = f"seed {SEED}: {target.name}:\n{said[-4000:]}"
    assert done.returncode == 0, story
    assert re.search(r"Done \d+ (runs )?in \d+ second", said), story
    return said


@needs_atheris
@pytest.mark.fuzz
@pytest.mark.parametrize("target", targets(), ids=name_of)
def test_guided(target: Path, tmp_path: Path) -> None:
    said = fuzz(target, tmp_path)
    assert "Instrumenting p2ptun." in said
    print(f"seed {SEED}:", re.findall(r"Done .*", said)[-1])


@pytest.mark.parametrize("target", targets(), ids=name_of)
def test_random_bytes_and_the_seed_corpus(target: Path) -> None:
    test_one_input = load(target)
    draw = random.Random(SEED)
    good = [path.read_bytes() for path in seeds(target)]
    noise = [draw.randbytes(draw.randrange(draw.choice([64, MAX_LENGTH]))) for _ in range(PLAIN_RUNS)]
    near = [mutated(sample, draw) for sample in good for _ in range(20)]
    for sample in good + noise + near:
        try:
            test_one_input(sample)
        except Exception as error:
            raise AssertionError(f"seed {SEED}: {target.name} failed with {sample.hex()}") from error


def mutated(sample: bytes, draw: random.Random) -> bytes:
    """Change a few bytes of a good sample, and sometimes its length."""
    changed = bytearray(sample)
    for _ in range(draw.randrange(1, 4)):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed[: draw.randrange(len(changed) + 1)]) if draw.random() < 0.3 else bytes(changed)


def test_every_decoder_has_a_target() -> None:
    aimed_at = "\n".join(target.read_text(encoding="utf-8") for target in targets())
    decoders = {
        f"{module}.{node.name}"
        for module, path in modules(REPOSITORY / "p2ptun")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("decode_")
    }
    assert decoders
    missed = {decoder for decoder in decoders if not re.search(rf"\b{decoder.rpartition('.')[2]}\b", aimed_at)}
    assert not missed


@needs_atheris
@pytest.mark.fuzz
def test_a_bug_is_found(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_broken.py"
    target.write_text(
        "from p2ptun.errors import MalformedPacket\n"
        "def test_one_input(data):\n"
        "    if len(data) > 3 and data[0] > 0x80:\n"
        "        raise ValueError('this one is hidden')\n"
    )
    with pytest.raises(AssertionError, match="this one is hidden"):
        fuzz(target, tmp_path)


@needs_atheris
@pytest.mark.fuzz
def test_an_endless_loop_is_found(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_slow.py"
    target.write_text("def test_one_input(data):\n    while data[:1] > b'\\x40':\n        pass\n")
    with pytest.raises(AssertionError, match="timeout"):
        fuzz(target, tmp_path)


@needs_atheris
@pytest.mark.fuzz
def test_a_file_that_is_no_target_fails(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_nothing.py"
    target.write_text("")
    with pytest.raises(AssertionError, match="test_one_input"):
        fuzz(target, tmp_path)


@needs_atheris
@pytest.mark.fuzz
def test_only_our_modules_are_instrumented(tmp_path: Path) -> None:
    target = tmp_path / "fuzz_types.py"
    target.write_text(
        "import json, p2ptun.types\n"
        "def test_one_input(data):\n"
        "    if len(data) == 4:\n"
        "        p2ptun.types.Endpoint.of(p2ptun.types.ip_address(data), 1)\n"
    )
    said = fuzz(target, tmp_path, runs=1000)
    instrumented = re.findall(r"Instrumenting (\S+)", said)
    assert "p2ptun.types" in instrumented
    assert {module.partition(".")[0] for module in instrumented} == {"p2ptun"}
    assert "Done 1000 " in said
