"""A configuration that is right, and what is said of one that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from protokit import config
from protokit.errors import ConfigErrors

GOOD = """
listeners:
  - name: in
    bind: 127.0.0.1:0
    protocol: dubbo
    routes: main
routes:
  - name: main
    rules:
      - match: {service: com.example.Demo, method: say*, version: 1.0, group: no}
        cluster: a
        timeout: 1.5s
        retry: {attempts: 3, on: [reset], idempotent: true}
      - match: {service: 20:30}
        split:
          - {cluster: a, weight: 9}
          - {cluster: b}
clusters:
  - name: a
    endpoints: [127.0.0.1:1, {address: "[::1]:2", weight: 5, metadata: {zone: a, on: 1}}]
  - name: b
    endpoints: [127.0.0.1:3]
    balance: least-request
"""


def errors(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        config.load(path)
    return [f"{e.line}:{e.column}: {e.message}" for e in caught.value.errors]
