"""call-log: a line of JSON for each call and its answer, without what nobody is to read there.

`plugins: [./call_log.py]`, and in a listener, a rule or a cluster

    filters:
      - {call-log: {file: calls.log, hide: [token, password], mask: ["[0-9]{8,}"]}, fail: open}

`hide` names headers whose values are not written; of other values all that matches one of `mask` is not. A
thread writes: where the disk is slow lines are left out, and the next one says how many. Bodies are never
written.
"""

import json
import queue
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from protokit import Answer, Filter, FilterFactory, Headers, Request, hookimpl

WAITING = 10_000  # lines
LONGEST = 1000  # characters of a value


class CallLog(Filter):
    """See above."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.hidden = {name.lower() for name in options.get("hide", ())}
        self.masks = [re.compile(pattern) for pattern in options.get("mask", ())]
        self.lost = 0
        self.lines: queue.Queue[str] = queue.Queue(WAITING)
        file = Path(options["file"]).open("a", encoding="utf-8")  # noqa: SIM115  # the thread's
        threading.Thread(target=self.write, args=(file,), name="call-log", daemon=True).start()

    async def response(self, request: Request, answer: Answer) -> None:
        line = {
            "at": round(time.time(), 3),
            "call": f"{request.service}.{request.method}",
            "status": answer.status.name,
            "ms": round(answer.latency_ms, 3),
            "endpoint": answer.endpoint,
            "request": self.shown(request.headers),
            "answer": self.shown(answer.headers),
        }
        if self.lost:
            line["left out before"] = self.lost
        try:
            self.lines.put_nowait(json.dumps(line))
        except queue.Full:
            self.lost += 1
        else:
            self.lost = 0

    def shown(self, headers: Headers) -> dict[str, str]:
        return {
            name: "***" if name.lower() in self.hidden else self.masked(value[:LONGEST])
            for name, value in headers.items()
        }

    def masked(self, value: str) -> str:
        for mask in self.masks:
            value = mask.sub("***", value)
        return value

    def write(self, file: TextIO) -> None:
        with file:
            while True:
                file.write(self.lines.get() + "\n")
                if self.lines.empty():
                    file.flush()


@hookimpl
def protokit_filters() -> Mapping[str, FilterFactory]:
    return {"call-log": CallLog}
