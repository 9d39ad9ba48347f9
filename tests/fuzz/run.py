"""Run one fuzz target under atheris, guided by the coverage of p2ptun's modules.

    python -m tests.fuzz.run stun_message                        # until it finds something or Ctrl-C
    python -m tests.fuzz.run stun_message -max_total_time=600 my-corpus/

What it learns goes to the directory named on the command line, or is lost: the project's own seeds stay few and chosen.

A target is a file `tests/fuzz/fuzz_NAME.py` (or any path) with `def test_one_input(data: bytes) -> None`, which raises
when there is a bug. Seeds, if any, lie in `tests/vectors/NAME/`. Every other argument is libFuzzer's.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "vectors"


def targets() -> list[Path]:
    """List the project's fuzz targets."""
    return sorted(HERE.glob("fuzz_*.py"))


def name_of(target: Path) -> str:
    """Name a target: `stun_message` for `fuzz_stun_message.py`."""
    return target.stem.removeprefix("fuzz_")


def seeds(target: Path) -> list[Path]:
    """List the files of the target's seed corpus; empty when it has none."""
    return sorted(path for path in (VECTORS / name_of(target)).glob("*") if path.is_file())


def load(target: Path) -> Callable[[bytes], None]:
    """Import a target from its file and return its `test_one_input`. Raises AttributeError when it has none."""
    spec = importlib.util.spec_from_file_location(target.stem, target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    test_one_input: Callable[[bytes], None] = module.test_one_input
    return test_one_input


def main(arguments: list[str]) -> None:
    """Instrument p2ptun, import the target and hand over to libFuzzer, which ends the process."""
    import atheris

    name, *rest = arguments
    target = Path(name) if name.endswith(".py") else HERE / f"fuzz_{name}.py"
    with atheris.instrument_imports(include=["p2ptun"]):
        test_one_input = load(target)
    corpus = [] if any(not argument.startswith("-") for argument in rest) else [tempfile.mkdtemp()]
    corpus += [str(VECTORS / name_of(target))] if seeds(target) else []
    atheris.Setup([sys.argv[0], *rest, *corpus], test_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(f"{__doc__}\nTargets: {' '.join(name_of(target) for target in targets())}")
    main(sys.argv[1:])
