"""The daemon as a process of its own: started, listened to, and stopped for good."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

Event = Mapping[str, Any]


class Child:
    """One openbell process; its log is read as events."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.last_words = ""

    @classmethod
    async def start(
        cls, arguments: list[str], environment: Mapping[str, str], log: Path
    ) -> "Child":
        """Start ``openbell`` with these arguments; its stderr also goes to ``log``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "daemon",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **environment},
            # Ctrl-C in the terminal reaches us alone; we stop the child ourselves.
            start_new_session=True,
        )
        return cls(process, log)

    async def events(self) -> AsyncIterator[Event]:
        """Yield log events until the process ends; other lines are kept in the log only."""
        stderr = self._process.stderr
        if stderr is None:
            return
        with self._log.open("ab") as log:
            async for line in stderr:
                log.write(line)
                event = _event(line)
                if event is not None:
                    yield event
                elif line.strip():
                    self.last_words = line.decode(errors="replace").strip()

    async def stop_hard(self) -> None:
        """SIGKILL the process and everything it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    @property
    def exit_status(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.returncode


def _event(line: bytes) -> Event | None:
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    return None


async def openbell_json(
    arguments: list[str], environment: Mapping[str, str]
) -> tuple[int, Mapping[str, Any]]:
    """Run a command with ``--json`` in its own process; return status and document."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "daemon",
        "--json",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    return process.returncode or 0, json.loads(output or b"{}")
