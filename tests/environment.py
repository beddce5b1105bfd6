"""A fresh virtual environment: what is installed there is found nowhere else; protokit and what it needs are
those of the tests, so that nothing is built or fetched again."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path


class Environment:
    """An environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site = folder / "lib" / version / "site-packages"
        ours = sysconfig.get_paths()["purelib"]
        (self.site / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")

    def install(self, package: Path) -> None:
        """Install a package as a user would: a wheel is built, and unpacked."""
        wheels = self.folder / "wheels"
        pip = [sys.executable, "-m", "pip"]
        build = [*pip, "-v", "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(package)]
        said = subprocess.run(build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert said.returncode == 0, said.stdout
        assert "BackendWarning" not in said.stdout, said.stdout
        (wheel,) = wheels.glob("*.whl")
        run([*pip, "-q", "--python", self.interpreter, "install", "--no-deps", "--no-index", str(wheel)])
        wheel.unlink()

    @property
    def interpreter(self) -> str:
        return str(self.folder / "bin" / "python")

    def python(self, *arguments: str) -> str:
        """What the environment's Python prints."""
        return run([self.interpreter, *arguments])

    def protokit(self, *arguments: str) -> str:
        return self.python("-m", "protokit", *arguments)


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
