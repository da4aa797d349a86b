"""Send events to one endpoint, and judge how that went."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from events.envelope import Addressed, Event
from events.retry import PermanentFailure, RetryIn, RetryLater
from relay import health
from relay.endpoints import Endpoint, EndpointState
from relay.sealing import Unreadable, unseal
from relay.signals import test_requested
from relay.transport import Destination, Failed, Message, Result, transport_for

BEGIN_WITHIN_S = 1.0  # what has not begun by then is left to the next call
DISABLED_PAUSE_S = 3600.0

Verdict = Exception | None
_NOT_TRIED = RetryLater(0)


def send_to(target: str, addressed: Sequence[Addressed[Any]]) -> list[Verdict]:
    """Send events to the endpoint with this id. Return a verdict for each."""
    endpoint = Endpoint.objects.filter(pk=UUID(target)).first()
    if endpoint is None:
        return [PermanentFailure("The endpoint was deleted.") for _ in addressed]
    pause_s = _pause_s(endpoint, addressed)
    if pause_s:
        return [RetryLater(pause_s) for _ in addressed]
    try:
        destination = _destination(endpoint)
    except Unreadable as error:
        return [_verdict(endpoint, each, Failed(text=str(error))) for each in addressed]
    results = dict(_send_in_waves(destination, [_message(each.event) for each in addressed]))
    health.note(endpoint, list(results.values()))
    return [
        _verdict(endpoint, each, results[str(each.event.id)])
        if str(each.event.id) in results
        else _NOT_TRIED
        for each in addressed
    ]


def body_of(event: Event[Any]) -> bytes:
    """Return an event as it leaves: the same bytes at every attempt."""
    return _structured(event.to_cloudevent(settings.PUBLIC_URL))


def attributes_of(cloudevent: dict[str, Any]) -> dict[str, str]:
    """Return what a CloudEvent says of itself, as binary mode puts it into headers.

    That leaves out `datacontenttype`, which is the content type there, and not that of our body.
    """
    beside = {"data", "datacontenttype"}
    return {name: str(value) for name, value in cloudevent.items() if name not in beside}


def _message(event: Event[Any]) -> Message:
    cloudevent = event.to_cloudevent(settings.PUBLIC_URL)
    return Message(
        id=str(event.id),
        type=event.type,
        key=event.key,
        body=_structured(cloudevent),
        attributes=attributes_of(cloudevent),
    )


def _structured(cloudevent: dict[str, Any]) -> bytes:
    return json.dumps(
        cloudevent, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    ).encode()


def _pause_s(endpoint: Endpoint, addressed: Sequence[Addressed[Any]]) -> float:
    """Return the seconds for which nothing is to be sent; 0: send."""
    if all(each.event.type == test_requested.type for each in addressed):
        return 0
    if endpoint.state == EndpointState.DISABLED:
        return DISABLED_PAUSE_S
    if endpoint.rests_until is None:
        return 0
    return max(0.0, (endpoint.rests_until - timezone.now()).total_seconds())


def _destination(endpoint: Endpoint) -> Destination:
    sealed = [endpoint.sealed_secret]
    if endpoint.former_secret_until and endpoint.former_secret_until > timezone.now():
        sealed.append(endpoint.sealed_former_secret)
    return Destination(
        url=_with_password(endpoint),
        secrets=tuple(unseal(each) for each in sealed),
        begin_until=time.monotonic() + BEGIN_WITHIN_S,
    )


def _with_password(endpoint: Endpoint) -> str:
    if not endpoint.sealed_password:
        return endpoint.url
    url = urlsplit(endpoint.url)
    user, _, place = url.netloc.rpartition("@")
    password = quote(unseal(endpoint.sealed_password), safe="")
    return url._replace(netloc=f"{user}:{password}@{place}").geturl()


def _send_in_waves(
    destination: Destination, messages: Sequence[Message]
) -> Iterator[tuple[str, Result]]:
    """Send messages so that those of one key keep their order; yield the results by id.

    A wave has one message of a key. After a failure its key has none in the waves that follow.
    """
    send = transport_for(destination.url)
    left = list(messages)
    while left and time.monotonic() < destination.begin_until:
        wave = list({message.key: message for message in reversed(left)}.values())[::-1]
        results = [destination.masked(result) for result in send(destination, wave)]
        yield from zip((message.id for message in wave), results, strict=False)
        if len(results) < len(wave) or any(r is not None and r.is_unreachable for r in results):
            return
        failed = {m.key for m, r in zip(wave, results, strict=True) if r is not None}
        sent = {message.id for message in wave}
        left = [m for m in left if m.id not in sent and m.key not in failed]


def _verdict(endpoint: Endpoint, addressed: Addressed[Any], result: Result) -> Verdict:
    if result is None:
        return None
    wait_s = endpoint.wait_s(addressed.attempt)
    if wait_s is None:
        return PermanentFailure(f"No more attempts. {result.text}")
    return RetryIn(max(wait_s, result.retry_after_s or 0), result.text)
