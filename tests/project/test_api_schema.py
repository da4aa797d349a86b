"""docs/openapi.yaml is what is served, and tells all: a promise to whoever writes a client."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema  # type: ignore[import-untyped]
import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from accounts.models import User
from project.api.examples import EXAMPLES, contents_of
from tests.registrations import make_person

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.yaml"
METHODS = {"get", "post", "put", "patch", "delete"}
KEY = "Idempotency-Key"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Return the document as the views make it."""
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    made: dict[str, Any] = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return made


def operations_of(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return every operation by its name."""
    return {
        item[method]["operationId"]: item[method]
        for item in schema["paths"].values()
        for method in METHODS & item.keys()
    }


def parameter(operation: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return one parameter, or None."""
    named = (each for each in operation.get("parameters", []) if each["name"] == name)
    return next(named, None)


@pytest.mark.django_db
def test_the_committed_schema_is_the_served_one(client: Client) -> None:
    served = client.get("/api/schema/", HTTP_ACCEPT="application/yaml").content.decode()

    is_up_to_date = COMMITTED.read_text() == served

    assert is_up_to_date, "Run `make schema`, and look at the difference."


def test_every_operation_has_a_summary_and_examples(schema: dict[str, Any]) -> None:
    operations = operations_of(schema)

    lacking = [
        name
        for name, operation in operations.items()
        if not operation.get("summary")
        or not all({"example", "examples"} & content.keys() for content in contents_of(operation))
    ]

    assert len(operations) > 25
    assert lacking == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_valid_by_its_schema(schema: dict[str, Any], name: str) -> None:
    document = {**schema, "$ref": f"#/components/schemas/{name}"}

    jsonschema.Draft202012Validator(document).validate(EXAMPLES[name])


def test_every_error_is_described_as_a_problem(schema: dict[str, Any]) -> None:
    errors = [
        answer["content"].keys()
        for operation in operations_of(schema).values()
        for status, answer in operation["responses"].items()
        if status >= "400"
    ]

    assert len(errors) > 100
    assert all(media_types == {"application/problem+json"} for media_types in errors)


def test_every_error_has_examples_as_it_may_be_answered(schema: dict[str, Any]) -> None:
    problem = jsonschema.Draft202012Validator(schema["components"]["schemas"]["Problem"])
    for name, operation in operations_of(schema).items():
        for status, answer in operation["responses"].items():
            if status >= "400":
                examples = examples_of(schema, answer)
                assert examples, (name, status)
                assert len({example["code"] for example in examples}) == len(examples)
                for example in examples:
                    problem.validate(example)
                    assert str(example["status"]) == (status if status != "default" else "500")


def examples_of(schema: dict[str, Any], answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the examples of an error."""
    shared = schema["components"]["examples"]
    examples = answer["content"]["application/problem+json"].get("examples", {}).values()
    return [
        (shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each)["value"]
        for each in examples
    ]


def test_the_codes_of_an_error_are_those_of_the_call(schema: dict[str, Any]) -> None:
    answers = operations_of(schema)["spend_points"]["responses"]

    codes = {each["code"] for each in examples_of(schema, answers["409"])}

    assert codes == {
        "insufficient_points",
        "account_frozen",
        "account_closed",
        "order_conflict",
        "order_undone",
        "idempotency_key_in_use",
    }


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("me", "200 401 406 503"),
        ("user", "200 401 404 406 503"),
        ("my_coupons", "200 304 400 401 406 503"),
        ("register", "201 202 400 401 403 406 409 413 415 422 429 503"),
        ("create_token", "201 400 401 403 406 413 415 429 503"),
        ("redeem_coupon", "201 400 401 403 404 406 409 413 415 422 429 503"),
        ("receive_risk_decision", "202 400 401 406 409 413 415 422 503"),
        ("create_endpoint", "201 400 401 403 406 409 413 415 422 503"),
        ("delete_endpoint", "204 401 403 404 406 503"),
    ],
)
def test_every_status_is_named(schema: dict[str, Any], name: str, statuses: str) -> None:
    described = operations_of(schema)[name]["responses"].keys() - {"default"}

    assert sorted(described) == statuses.split()


@pytest.mark.django_db
def test_a_call_that_is_described_without_a_body_takes_none_that_says_anything(
    schema: dict[str, Any], api_client: APIClient
) -> None:
    api_client.force_authenticate(User.objects.create_superuser("staff@example.com", "irrelevant"))
    bodiless = [
        path
        for path, item in schema["paths"].items()
        if "post" in item and "requestBody" not in item["post"]
    ]

    assert len(bodiless) == 4
    for path in bodiless:
        answer = api_client.post(path.format(id=uuid4(), entry_id=uuid4()), {"amount": 1})
        errors = answer.json().get("errors", [])
        told = [(error["pointer"], error["code"]) for error in errors]
        # Roll-backs ignored a body from the first: refusing it would be a break of v1.
        expected = (404, []) if "rollback" in path else (400, [("/amount", "unknown_field")])
        assert (answer.status_code, told) == expected, path


def test_a_key_is_described_where_it_is_taken_and_only_there(schema: dict[str, Any]) -> None:
    operations = operations_of(schema)

    for name in ("register", "redeem_coupon", "create_endpoint", "replay_endpoint"):
        assert parameter(operations[name], KEY), name
    for name in ("create_token", "delete_token", "change_endpoint", "endpoints"):
        assert parameter(operations[name], KEY) is None, name


def test_changing_an_endpoint_is_described_with_its_state(schema: dict[str, Any]) -> None:
    [content] = operations_of(schema)["change_endpoint"]["requestBody"]["content"].values()
    component = content["schema"]["$ref"].rpartition("/")[2]

    assert "state" in schema["components"]["schemas"][component]["properties"]


def test_a_risk_decision_is_described_with_its_signature(schema: dict[str, Any]) -> None:
    operation = operations_of(schema)["receive_risk_decision"]

    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert (parameter(operation, name) or {})["required"]


@pytest.fixture
def caller(api_client: APIClient) -> User:
    """Return who calls."""
    person = make_person()
    api_client.force_authenticate(person)
    return person


@pytest.mark.django_db
def test_a_caller_who_takes_no_json_gets_the_described_406(
    api_client: APIClient, caller: User
) -> None:
    answer = api_client.get("/api/v1/me/", HTTP_ACCEPT="text/csv")

    assert answer.status_code == 406
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_acceptable"
