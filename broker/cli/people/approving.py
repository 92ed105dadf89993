"""`sessions watch --approve`: asks at the terminal about each operation that waits, while events go on being shown."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TextIO

from broker.cli.people.approvals import approval_path, tell
from broker.cli.people.client import Client
from broker.cli.people.exits import CommandError, Document, Exit, ProblemError
from broker.cli.people.problem_words import report
from broker.cli.people.screen import Screen

SECOND_PERSON = "second_person"
WHY = "while watching"
LOOK_SECONDS, MOST_LOOKS = 0.5, 20
_ACTS = {"y": "approve", "yes": "approve", "r": "refuse", "refuse": "refuse"}


class Questions:
    """One question at a time, each once. What was typed before a question stood there answers nothing."""

    def __init__(self, client: Client, screen: Screen, answers: asyncio.Queue[str]) -> None:
        self._client = client
        self._screen = screen
        self._answers = answers
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._known: set[str] = set()

    def notice(self, event: Document) -> None:
        """An event that may be of something that waits."""
        approval = event.get("approval")
        if isinstance(approval, str) and approval not in self._known:
            self._known.add(approval)
            self._waiting.put_nowait(approval)

    async def ask_all(self) -> None:
        """Ask about what comes, for ever."""
        while True:
            approval = await self._waiting.get()
            try:
                await self._ask(approval)
            except (ProblemError, CommandError) as error:
                report(error, self._screen)

    async def _ask(self, approval: str) -> None:
        path = approval_path(approval)
        shown = await self._read(path)
        missing = shown.get("missing")
        if not isinstance(missing, list) or SECOND_PERSON not in missing or shown.get("state") != "waiting":
            return
        tell(shown, self._screen)
        while not self._answers.empty():
            self._answers.get_nowait()
        unknown = shown.get("old_values") == "unreadable"
        known = "though what is there now could not be read" if unknown else "exactly this, once"
        self._screen.say(f"{approval}: y arms {known}; r refuses it; anything else leaves it.", "bold")
        act = _ACTS.get((await self._answers.get()).strip().lower())
        if act is None:
            self._screen.say(f"{approval} goes on waiting; see `otb approvals`.")
            return
        body: Document = {"why": WHY} | ({"without_old": True} if unknown and act == "approve" else {})
        await self._client.post(f"{path}/{act}", body)
        self._screen.say(f"{approval}: {'armed' if act == 'approve' else 'refused'}.", "green")

    async def _read(self, path: str) -> Document:
        """What waits, with what is there now once that was read."""
        shown = await self._client.get(path)
        for _ in range(MOST_LOOKS):
            if shown.get("old_values") != "being_read":
                break
            await asyncio.sleep(LOOK_SECONDS)
            shown = await self._client.get(path)
        return shown


@asynccontextmanager
async def asking(client: Client, screen: Screen) -> AsyncIterator[Questions]:
    """Ask at the terminal meanwhile. Raises CommandError if there is none."""
    if screen.as_json or not sys.stdin.isatty():
        raise CommandError("usage", "--approve asks at a terminal, in text.", status=Exit.USAGE)
    questions = Questions(client, screen, _lines(sys.stdin))
    task = asyncio.create_task(questions.ask_all())
    try:
        yield questions
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _lines(stream: TextIO) -> asyncio.Queue[str]:
    """What is typed, line by line; the thread that waits for it keeps nobody from ending."""
    loop, lines = asyncio.get_running_loop(), asyncio.Queue[str]()

    def read() -> None:
        with suppress(RuntimeError, ValueError, OSError):
            for line in stream:
                loop.call_soon_threadsafe(lines.put_nowait, line)

    threading.Thread(target=read, daemon=True).start()
    return lines
