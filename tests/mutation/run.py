"""Runs tests with another build of the engine: ``run.py PATH/_native.so TEST...``, as pytest would."""

from __future__ import annotations

import importlib.util
import sys

import pytest

NAME = "protokit._native"


def main(path: str, tests: list[str]) -> int:
    spec = importlib.util.spec_from_file_location(NAME, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return pytest.main(
        [
            "-x",
            "-q",
            "-c",
            "pyproject.toml",
            "--rootdir",
            ".",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--no-header",
            "--tb=line",
            *tests,
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
