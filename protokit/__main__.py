"""``python -m protokit``."""

from __future__ import annotations

from protokit.cli import main

main()
