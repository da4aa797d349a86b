"""Ask Tansu for a producer's id in the one form that it knows.

aiokafka asks in the first version of that request, which every Kafka answers. Tansu refuses
versions that do not say that the producer has no id yet, which the third was first to do. All else
that an idempotent producer says, and its sequence numbers, is as in production.
"""

from typing import Any

from aiokafka.protocol.api import RequestStruct, Response
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.protocol.types import CompactString, Int16, Int32, Int64, Schema, TaggedFields

NONE_YET = -1


class Answer(Response):  # type: ignore[misc]
    """InitProducerIdResponse, version 3."""

    API_KEY = InitProducerIdRequest.API_KEY
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class Question(RequestStruct):  # type: ignore[misc]
    """InitProducerIdRequest, version 3."""

    API_KEY = InitProducerIdRequest.API_KEY
    API_VERSION = 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = Answer
    SCHEMA = Schema(
        ("transactional_id", CompactString("utf-8")),
        ("transaction_timeout_ms", Int32),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )

    def __init__(self, transactional_id: str | None, transaction_timeout_ms: int, *more: Any):
        super().__init__(
            transactional_id, transaction_timeout_ms, *(more or (NONE_YET, NONE_YET, {}))
        )


def ask_as_tansu_wants() -> None:
    """Let every producer of this process ask so."""
    InitProducerIdRequest._CLASSES = (Question,)
