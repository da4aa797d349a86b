"""Five hundred open wallets on one web process: how soon they hear, and what they cost others.

    python -m benchmarks.open_wallets [--wallets 500] [--seconds 30] [--rate 10]

Runs one real web process on a fresh SQLite file (or DATABASE_URL, an empty database). Other people
ask for their wallet at a fixed rate: with no page open, before and after, and in between with all:
sockets, and each asks for its parts every five minutes as a page with a socket does. Events are
published to everybody at the same moment, and to one after the other. Only an idle machine gives a
fair ratio.
"""

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from uuid import UUID, uuid4

import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Origin

from benchmarks.served import HOST, percentiles_ms, prepare, server

HEARD_TARGET_S = 1.0
RATIO_TARGET = 1.2
ASKED_EVERY_S = 300.0
APART_S = 0.1
WARM_UP_S = 3.0


@dataclass(frozen=True, slots=True)
class Wallet:
    """Somebody who is logged in."""

    user_id: UUID
    session_key: str


def main() -> None:
    """Measure and print."""
    options = _options()
    _allow_files(options.wallets)
    with tempfile.TemporaryDirectory() as directory:
        prepare(directory, workers=1)
        wallets = _log_in(options.wallets)
        readers = _log_in(50)
        with server(LIVE_MAX_SOCKETS=str(options.wallets)) as port:
            report = asyncio.run(_measure(port, wallets, readers, options))
    print(json.dumps({"benchmark": "open_wallets", "wallets": len(wallets), **report}, indent=2))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wallets", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement of pages")
    parser.add_argument("--rate", type=float, default=10, help="pages per second")
    return parser.parse_args()


def _allow_files(sockets: int) -> None:
    """Let this process and the server have so many connections open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, sockets * 2 + 256)), hard))


def _log_in(count: int) -> list[Wallet]:
    """Make so many people, each logged in."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth import get_user_model as user_model
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone

    from project.sessions import SessionStore

    names = [f"{uuid4().hex}@example.com" for _ in range(count)]
    password, now = make_password(None), timezone.now()
    people = user_model().objects.bulk_create(
        user_model()(email=name, email_canonical=name, password=password, registered_at=now)
        for name in names
    )
    wallets = []
    for person in people:
        session = SessionStore()
        session[SESSION_KEY] = str(person.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = person.get_session_auth_hash()
        session.create()
        wallets.append(Wallet(person.pk, str(session.session_key)))
    return wallets


async def _measure(
    port: int, wallets: Sequence[Wallet], readers: Sequence[Wallet], options: argparse.Namespace
) -> dict[str, Any]:
    process = _web_process()

    def pages(seconds: float = options.seconds) -> list[float]:
        return _at_rate(options.rate, seconds, lambda n: _page(port, readers[n % len(readers)]))

    await asyncio.to_thread(pages, WARM_UP_S)
    load = os.getloadavg()[0]
    without = await asyncio.to_thread(pages, options.seconds / 2)
    before_bytes = process.memory_info().rss
    began = time.monotonic()
    sockets = await _open_all(port, wallets)
    opened_s, rss_bytes = time.monotonic() - began, process.memory_info().rss
    cpu_before, at_rest = process.cpu_times(), time.monotonic()
    await asyncio.sleep(WARM_UP_S)
    cpu_share = _cpu_s(process.cpu_times()) - _cpu_s(cpu_before)
    cpu_share /= time.monotonic() - at_rest
    asking = asyncio.to_thread(
        _at_rate,
        len(wallets) / ASKED_EVERY_S,
        options.seconds,
        lambda n: _parts(port, wallets[n % len(wallets)]),
    )
    with_all, _ = await asyncio.gather(asyncio.to_thread(pages), asking)
    together = await _publish_to_all(sockets, wallets)
    one_by_one = await _publish_one_by_one(sockets, wallets)
    await asyncio.gather(*(socket.close() for socket in sockets))
    without += await asyncio.to_thread(pages, options.seconds / 2)
    ratio = percentiles_ms(with_all)["p95_ms"] / percentiles_ms(without)["p95_ms"]
    return {
        "load_before": round(load, 1),
        "opened_in_s": round(opened_s, 1),
        "kilobytes_per_socket": round((rss_bytes - before_bytes) / len(wallets) / 1024, 1),
        "cpu_share_at_rest": round(cpu_share, 3),
        "pages_without": percentiles_ms(without),
        "pages_with": percentiles_ms(with_all),
        "p95_ratio": round(ratio, 2),
        "p95_ratio_within_target": ratio <= RATIO_TARGET,
        "heard_all_at_once": percentiles_ms(together),
        "heard_one_by_one": percentiles_ms(one_by_one),
        "all_heard_within_target": max(together + one_by_one) < HEARD_TARGET_S,
    }


def _web_process() -> psutil.Process:
    children = psutil.Process().children(recursive=True)
    return next(child for child in children if "uvicorn" in child.cmdline())


def _cpu_s(times: Any) -> float:
    return float(times.user + times.system)


# --- Pages ---------------------------------------------------------------------------------------


def _at_rate(rate: float, seconds: float, ask: Callable[[int], float]) -> list[float]:
    """Ask at a fixed rate, whether or not earlier ones are answered; return the latencies."""
    started = time.monotonic()
    answers: list[Future[float]] = []
    with ThreadPoolExecutor(64) as pool:
        while time.monotonic() - started < seconds:
            answers.append(pool.submit(ask, len(answers)))
            time.sleep(max(0.0, started + len(answers) / rate - time.monotonic()))
        return [answer.result() for answer in answers]


def _page(port: int, wallet: Wallet) -> float:
    return _seconds_to_get(port, "/wallet/", wallet)


def _parts(port: int, wallet: Wallet) -> float:
    return _seconds_to_get(port, f"/wallet/parts/?of={wallet.user_id}", wallet)


def _seconds_to_get(port: int, path: str, wallet: Wallet) -> float:
    started = time.monotonic()
    connection = HTTPConnection(HOST, port, timeout=30)
    connection.request("GET", path, headers={"Cookie": f"sessionid={wallet.session_key}"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"GET {path} was answered {answer.status}")
    return time.monotonic() - started


# --- Sockets -------------------------------------------------------------------------------------


async def _open_all(port: int, wallets: Sequence[Wallet]) -> list[ClientConnection]:
    """Open a socket for each wallet, some at a time."""
    some = asyncio.Semaphore(20)

    async def dial(wallet: Wallet) -> ClientConnection:
        async with some:
            return await connect(
                f"ws://{HOST}:{port}/ws/live/",
                origin=Origin(f"http://{HOST}:{port}"),
                additional_headers={"Cookie": f"sessionid={wallet.session_key}"},
                ping_interval=None,  # the server's are enough
                compression=None,
                open_timeout=30,
            )

    return await asyncio.gather(*map(dial, wallets))


async def _heard_at(socket: ClientConnection) -> float:
    """Return when the socket's next hint came."""
    while json.loads(await asyncio.wait_for(socket.recv(), 30))["type"] == "live.heartbeat":
        pass
    return time.monotonic()


async def _publish_to_all(
    sockets: Sequence[ClientConnection], wallets: Sequence[Wallet]
) -> list[float]:
    heard = [asyncio.create_task(_heard_at(socket)) for socket in sockets]
    committed_at = await asyncio.to_thread(_publish, wallets)
    return [at - committed_at for at in await asyncio.gather(*heard)]


async def _publish_one_by_one(
    sockets: Sequence[ClientConnection], wallets: Sequence[Wallet]
) -> list[float]:
    seconds = []
    for socket, wallet in list(zip(sockets, wallets, strict=True))[:40]:
        heard = asyncio.create_task(_heard_at(socket))
        committed_at = await asyncio.to_thread(_publish, [wallet])
        seconds.append(await heard - committed_at)
        await asyncio.sleep(APART_S)
    return seconds


def _publish(wallets: Sequence[Wallet]) -> float:
    """Publish an event to each; return when that was committed."""
    from django.db import connection, transaction

    from coupons.signals import CouponIssued, coupon_issued

    with transaction.atomic():
        coupon_issued.publish_many(
            CouponIssued(coupon_id=uuid4(), campaign_id=uuid4(), user_id=wallet.user_id)
            for wallet in wallets
        )
    committed_at = time.monotonic()
    connection.close()
    return committed_at


if __name__ == "__main__":
    main()
