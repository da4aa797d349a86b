"""Follow the log for everybody whose page this process holds open, and tell their sockets.

While nobody is connected nothing is asked. Otherwise one statement twice a second, whoever is
connected, in a thread of its own: a database that hangs holds up no request, and no socket holds a
connection. While it is away the sockets stay, and are told afterwards what they missed.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.conf import settings

from events.live import TAIL_LIMIT, Hint, Window, begin, read_tail, whom_it_concerns
from events.live_sessions import Viewer, still_logged_in, viewer_of

logger = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

LOOK_EVERY_S = 0.5
MAX_LOOK_EVERY_S = 5.0  # while the database is away
CHECK_SESSIONS_EVERY_S = 2.0
HEARTBEAT_EVERY_S = 25.0  # below the 30 or 60 s after which proxies cut what is silent
JOIN_WITHIN_S = 5.0
SOCKETS_PER_PERSON = 10  # tabs and devices
HINTS_PER_LOOK = 20  # to a page, which gathers them anyway: they all make it ask once
LOOK_AGAIN = {"type": "live.look_again"}  # so much has happened that it is not told one by one


class Refused(Exception):
    """Nobody is logged in there, or there is no room. The page goes on asking by itself."""


@dataclass(eq=False, slots=True)
class Socket:
    """An open page."""

    channel: str  # its name in the channel layer
    viewer: Viewer
    known: dict[UUID, int]  # events the page has heard of or came after, with their positions
    # Spread: after a restart all pages connect at once, and must not all be due at once for ever.
    beat_at: float = field(
        default_factory=lambda: (
            time.monotonic() + HEARTBEAT_EVERY_S * random.uniform(0.5, 1)  # noqa: S311
        )
    )

    def is_due(self, now: float) -> bool:
        """Tell whether it is time for a heartbeat, and set the time of the next one if so."""
        if now < self.beat_at:
            return False
        self.beat_at = now + HEARTBEAT_EVERY_S
        return True


class Follower:
    """Knows the sockets of one process. All its methods belong to that process's event loop."""

    def __init__(self) -> None:
        self._sockets: dict[str, set[Socket]] = {}  # by person
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._window = Window()
        self._checked_at = 0.0  # monotonic: when sessions were looked at
        self._failures = 0
        self._said_full = False
        # Threads are started when they are needed. A crowd that joins must not hold up the looks.
        self._looking = ThreadPoolExecutor(1, "live-look")
        self._joining = ThreadPoolExecutor(2, "live-join")

    async def join(self, *, session_key: str, channel: str) -> Socket:
        """Return a socket for whoever is logged in by a session; it hears what is new from now on.

        Raises Refused, TimeoutError, and django.db.Error while the database is away.
        """
        self._require_room()
        async with asyncio.timeout(JOIN_WITHIN_S):
            found = await _in_thread(self._joining, _greet, session_key, self._window.start)
        if found is None:
            raise Refused("Nobody is logged in.")
        self._require_room(found[0].person)  # others may have come meanwhile
        return self._add(Socket(channel, *found))

    def leave(self, socket: Socket) -> None:
        """Forget a socket. Once nobody is left, nothing is asked any more."""
        sockets = self._sockets.get(socket.viewer.person, set())
        if socket in sockets:
            sockets.remove(socket)
            self._count -= 1
            self._said_full = False
        if not sockets:
            self._sockets.pop(socket.viewer.person, None)

    def _require_room(self, person: str = "") -> None:
        if len(self._sockets.get(person, ())) >= SOCKETS_PER_PERSON:
            raise Refused(f"Somebody has {SOCKETS_PER_PERSON} sockets open.")
        if self._count < settings.LIVE_MAX_SOCKETS:
            return
        if not self._said_full:
            logger.warning("%d open pages are told what is new, no further ones.", self._count)
            self._said_full = True
        raise Refused("LIVE_MAX_SOCKETS are open.")

    def _add(self, socket: Socket) -> Socket:
        self._sockets.setdefault(socket.viewer.person, set()).add(socket)
        self._count += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        return socket

    def _all(self) -> Iterator[Socket]:
        for sockets in list(self._sockets.values()):
            yield from list(sockets)

    async def _follow(self) -> None:
        """Look until nobody is connected."""
        while self._sockets:
            began_at = time.monotonic()
            for socket in self._all():
                if socket.is_due(began_at):
                    await _send(socket, {"type": "live.heartbeat"})
            await self._try(began_at)
            pause_s = min(LOOK_EVERY_S * 2**self._failures, MAX_LOOK_EVERY_S)
            await asyncio.sleep(max(0.0, began_at + pause_s - time.monotonic()))
        self._window = Window()

    async def _try(self, began_at: float) -> None:
        """Look once. Whatever goes wrong is told of once, and tried again."""
        try:
            await self._look(began_at)
            if began_at - self._checked_at >= CHECK_SESSIONS_EVERY_S:
                await self._close_ended()
                self._checked_at = began_at
        except Exception:
            if not self._failures:
                logger.exception("Open pages can't be told what is new; trying again.")
            self._failures += 1
        else:
            if self._failures:
                logger.warning("Open pages are told again what is new.")
            self._failures = 0

    async def _look(self, began_at: float) -> None:
        after = self._window.start
        if after is None:
            after = await _in_thread(self._looking, begin)
            self._window.note(began_at=began_at, end=after)
        self._forget_what_is_past(after)
        people = list(self._sockets)
        end, hints = await _in_thread(self._looking, read_tail, people, after)
        if len(hints) < TAIL_LIMIT:
            self._window.note(began_at=began_at, end=end)
            await self._tell(hints)
        else:
            concerned = await _in_thread(self._looking, whom_it_concerns, people, after)
            self._window.move_on(began_at=began_at, end=end)
            await self._tell_to_look(concerned)

    async def _tell(self, hints: Iterable[Hint]) -> None:
        for person, theirs in _by_person(hints).items():
            for socket in list(self._sockets.get(person, ())):
                await _send_hints(socket, map(_content, _learn(socket, theirs)))

    async def _tell_to_look(self, people: Iterable[str]) -> None:
        for person in people:
            for socket in list(self._sockets.get(person, ())):
                await _send_hints(socket, [LOOK_AGAIN])

    def _forget_what_is_past(self, start: int) -> None:
        """Let sockets forget what a look from there won't meet. Once a look: it costs all of it."""
        for socket in self._all():
            if socket.known:
                socket.known = {known: at for known, at in socket.known.items() if at > start}

    async def _close_ended(self) -> None:
        """Close the sockets of those who logged out, or may not be logged in any more."""
        viewers = {socket.viewer for socket in self._all()}
        remaining = await _in_thread(self._looking, still_logged_in, viewers)
        ended = viewers - remaining
        for socket in self._all():
            if socket.viewer in ended:
                await _send(socket, {"type": "live.end"})


def _greet(session_key: str, after: int | None) -> tuple[Viewer, dict[UUID, int]] | None:
    """Return who connects, and the events of theirs that a look may meet though they are old."""
    viewer = viewer_of(session_key)
    if viewer is None:
        return None
    _, hints = read_tail([viewer.person], begin() if after is None else after)
    return viewer, {hint.event_id: hint.position for hint in hints}


def _by_person(hints: Iterable[Hint]) -> dict[str, list[Hint]]:
    groups: dict[str, list[Hint]] = {}
    for hint in hints:
        groups.setdefault(hint.person, []).append(hint)
    return groups


def _learn(socket: Socket, hints: Iterable[Hint]) -> list[Hint]:
    """Let a socket know of all hints. Return which it is to be told: the latest of the new ones."""
    fresh = {hint.event_id: hint for hint in hints if hint.event_id not in socket.known}
    socket.known.update({event_id: hint.position for event_id, hint in fresh.items()})
    return list(fresh.values())[-HINTS_PER_LOOK:]


def _content(hint: Hint) -> dict[str, str]:
    return {"type": hint.type, "id": str(hint.event_id)}


async def _in_thread(
    threads: ThreadPoolExecutor, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a function that asks the database, on a connection that is given back afterwards."""
    run = database_sync_to_async(function, thread_sensitive=False, executor=threads)
    result: R = await run(*args, **kwargs)
    return result


async def _send_hints(socket: Socket, contents: Iterable[dict[str, str]]) -> None:
    for content in contents:
        await _send(socket, {"type": "live.hint", "hint": content})
    await asyncio.sleep(0)  # sending doesn't wait for anything: requests have their turn here


async def _send(socket: Socket, message: dict[str, Any]) -> None:
    layer = get_channel_layer()
    try:
        await layer.send(socket.channel, message)
    except ChannelFull:
        logger.info("A page takes no hints at present; it asks by itself.")
