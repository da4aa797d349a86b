"""`Idempotency-Key`: a request that is repeated has one effect, and gets the first answer again.

The answer is kept in the transaction of the effect, so no crash comes between them. After IETF
draft-ietf-httpapi-idempotency-key-header: 409 while the first one runs, 422 for another request.
"""

import json
import logging
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from http import HTTPStatus
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID, uuid4

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

import digests
from api.models import KEY_LENGTH, IdempotentAnswer
from events.operations.chunks import delete_in_chunks
from sealing import Sealer

logger = logging.getLogger(__name__)

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEPT = timedelta(hours=24)
LEASE = timedelta(seconds=60)  # beyond the time that a request in one transaction may take
LEASE_IN_CHUNKS = timedelta(minutes=15)  # beyond the time that any server lets a request run

_QUOTED = re.compile(r'"(.*)"')
_PRINTABLE = re.compile(r"[\x21-\x7e]+")  # what a header can carry everywhere

_sealer = Sealer("api.idempotency")

P = ParamSpec("P")
V = TypeVar("V", bound=APIView)
Method = Callable[Concatenate[V, Request, P], Response]


class KeyInUse(APIException):
    """409: the first request with this key is still being worked on."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "idempotency_key_in_use"
    default_detail = _("A request with this Idempotency-Key is being worked on. Try again shortly.")
    wait = 1  # seconds, for Retry-After


class KeyReused(APIException):
    """422: the key was used for another request."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = _("This Idempotency-Key was used for another request. Make a new one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """How a view's answers are kept."""

    block: Callable[[], AbstractContextManager[object]] = transaction.atomic  # what the work is in
    is_secret: bool = False  # the answer, which is then sealed
    lease: timedelta = LEASE  # so long a request that died keeps its key


class Attempt:
    """A request that has the key to itself, until its answer is kept or its lease ends."""

    def __init__(self, row: IdempotentAnswer, kind: Kind) -> None:
        self._row = IdempotentAnswer.objects.filter(pk=row.pk, lease_token=row.lease_token)
        self.kind = kind
        self.subject: UUID | None = None

    def keep(self, response: Response) -> None:
        """Keep the answer, in the running transaction. Raises KeyInUse where the lease is lost."""
        body = JSONRenderer().render(response.data).decode()
        kept = self._row.update(
            status=response.status_code,
            content_type=response.content_type or "",
            body=_sealer.seal(body) if self.kind.is_secret else body,
            subject=self.subject,
            lease_token=None,
            leased_until=None,
        )
        if kept != 1:
            raise KeyInUse

    def forget(self) -> None:
        """Let the key be used again, also for another request: nothing came of this one."""
        try:
            self._row.delete()
        except DatabaseError as error:  # the lease ends by itself; what failed is to be told
            logger.warning("An idempotency key stays in use until its lease ends: %s", error)


def idempotent(method: Method[V, P]) -> Method[V, P]:
    """Run what the decorated method of an API view does once per caller and `Idempotency-Key`.

    With a key it runs in one transaction, in which its answer is kept for 24 hours. So it does no
    slow work and nothing outside the database: hash, count limits and look at the input before
    it, and send mails `on_commit`. A refusal by 409 is an answer too; any other error is not kept.
    """
    return _once(method, Kind())


def idempotent_with_secret(method: Method[V, P]) -> Method[V, P]:
    """Do the same where the answer shows a secret: it is kept sealed, as the secret itself is."""
    return _once(method, Kind(is_secret=True))


def idempotent_in_chunks(method: Method[V, P]) -> Method[V, P]:
    """Do the same for long work, whose chunks commit one by one, and may be repeated harmlessly."""
    return _once(method, Kind(block=nullcontext, lease=LEASE_IN_CHUNKS))


def _once(method: Method[V, P], kind: Kind) -> Method[V, P]:
    @wraps(method)
    def once(view: V, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> Response:
        key = _key_of(request)
        if key is None:
            return method(view, request, *args, **kwargs)
        row = _begin(request, key, kind)
        if row.status is not None:
            return _replayed(row, kind)
        work = partial(method, view, request, *args, **kwargs)
        return _run(Attempt(row, kind), view, request, work)

    once.is_idempotent = True  # type: ignore[attr-defined]  # tests look whether every POST is
    return once


def is_about(request: Request, user_id: UUID) -> None:
    """Note whom the answer tells about: it is deleted when that account is closed."""
    attempt: Attempt | None = getattr(request, "idempotent_attempt", None)
    if attempt is not None:
        attempt.subject = user_id


def forget_answers(user_ids: Iterable[UUID]) -> int:
    """Delete all kept answers to or about some accounts. Return how many there were."""
    ids = list(user_ids)
    about = Q(subject__in=ids) | Q(caller__in=[str(user_id) for user_id in ids])
    return IdempotentAnswer.objects.filter(about).delete()[0]


def prune_answers() -> int:
    """Delete answers that are no longer kept, in short transactions. Return how many."""
    expired = IdempotentAnswer.objects.filter(expires_at__lte=timezone.now()).order_by("expires_at")
    return delete_in_chunks(expired)


def _key_of(request: Request) -> str | None:
    """Return the key, bare or quoted. Raises ParseError (400) where it is none."""
    text = request.headers.get(HEADER)
    if text is None:
        return None
    quoted = _QUOTED.fullmatch(text.strip())
    key = quoted[1] if quoted else text.strip()
    if len(key) > KEY_LENGTH or not _PRINTABLE.fullmatch(key):
        raise ParseError(
            _("An Idempotency-Key has 1 to 255 visible ASCII characters."),
            "invalid_idempotency_key",
        )
    return key


def _run(
    attempt: Attempt, view: APIView, request: Request, work: Callable[[], Response]
) -> Response:
    request.idempotent_attempt = attempt  # type: ignore[attr-defined]  # for `is_about`
    try:
        with attempt.kind.block():
            response = work()
            attempt.keep(response)
        return response
    except KeyInUse:
        raise
    except Exception as error:
        return _failed(attempt, view.handle_exception(error))
    except BaseException:
        attempt.forget()
        raise


def _failed(attempt: Attempt, answer: Response) -> Response:
    """Keep a refusal, which would be the same the next time; forget any other failure."""
    if answer.status_code == HTTPStatus.CONFLICT:
        attempt.keep(answer)
    else:
        attempt.forget()
    return answer


def _begin(request: Request, key: str, kind: Kind) -> IdempotentAnswer:
    """Return the row of a key: with its answer, or leased to this request."""
    now, hashes = timezone.now(), _hashes_of(request)
    ours = IdempotentAnswer(
        caller=str(request.user.pk or ""),
        key=key,
        request_hash=hashes[0],
        lease_token=uuid4(),
        leased_until=now + kind.lease,
        expires_at=now + KEPT,
    )
    IdempotentAnswer.objects.bulk_create([ours], ignore_conflicts=True)
    row = IdempotentAnswer.objects.filter(caller=ours.caller, key=key).first()
    if row is None:  # given up by another request in this instant
        raise KeyInUse
    if row.lease_token == ours.lease_token:
        return row
    if row.expires_at > now:
        _require_same_request(row, hashes)
        if row.status is not None:
            return row
        if row.leased_until is not None and row.leased_until > now:
            raise KeyInUse
    return _take_over(row, ours)


def _take_over(row: IdempotentAnswer, ours: IdempotentAnswer) -> IdempotentAnswer:
    """Lease a row whose answer has expired, or whose request has died. One of many wins."""
    unchanged = IdempotentAnswer.objects.filter(
        pk=row.pk, lease_token=row.lease_token, expires_at=row.expires_at
    )
    fields = ("request_hash", "lease_token", "leased_until", "expires_at")
    taken = unchanged.update(
        status=None,
        content_type="",
        body="",
        subject=None,
        **{name: getattr(ours, name) for name in fields},
    )
    if taken != 1:
        raise KeyInUse
    row.refresh_from_db()
    return row


def _require_same_request(row: IdempotentAnswer, hashes: Iterable[str]) -> None:
    if not any(constant_time_compare(row.request_hash, each) for each in hashes):
        raise KeyReused


def _hashes_of(request: Request) -> list[str]:
    """Return the request's hash by the present secret key, then those by former ones."""
    content = json.dumps([request.method, request.path, request.data], sort_keys=True)
    return digests.digests("api.idempotency", content)


def _replayed(row: IdempotentAnswer, kind: Kind) -> Response:
    # A refusal is kept as the answer would have been. The key that reads the hash reads it.
    body = _sealer.unseal(row.body) if kind.is_secret else row.body
    return Response(
        json.loads(body),
        status=row.status,
        headers={REPLAYED: "true"},
        content_type=row.content_type or None,
    )
