"""`/metrics` for Prometheus: who may read it, and in which form."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from accounts import proxies
from events.metrics import BackboneCollector
from events.operations.tally import count_on

_registry = CollectorRegistry(auto_describe=False)
_registry.register(BackboneCollector())

_REFUSED = (
    "Set METRICS_TOKEN and send it as a Bearer token, or name this address in METRICS_NETWORKS.\n"
)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer with all metrics. They are read from the database: any process may be asked."""
    if not _may_read(request):
        return HttpResponse(_REFUSED, status=403, content_type="text/plain; charset=utf-8")
    count_on()
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(_registry), content_type=content_type)


def _may_read(request: HttpRequest) -> bool:
    return _has_token(request) or proxies.is_within(_address_of(request), settings.METRICS_NETWORKS)


def _has_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.METRICS_TOKEN
    return (
        bool(expected)
        and scheme.lower() == "bearer"
        and constant_time_compare(token.strip(), expected)
    )


def _address_of(request: HttpRequest) -> str:
    """Return the client's address; nothing where a proxy that is none of ours stands before it."""
    peer: str = request.META.get("REMOTE_ADDR", "")
    forwarded_for = request.headers.get("X-Forwarded-For")
    if forwarded_for is None:
        return peer
    return proxies.nearest_client(forwarded_for, peer) if proxies.is_trusted(peer) else ""
