"""`/metrics` is for whoever may read it; dashboard and alerts name what it tells."""

import json
import re
from typing import Any

import pytest
import yaml
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from events.models import ReceiverState
from events.receivers import all_receivers
from tests.conftest import Drain, Misbehave, Publish
from tests.processes import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

TOKEN = "a-token-that-nobody-can-guess"
MONITORING = ROOT / "docs" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((MONITORING / "alerts.yml").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
QUERIES += [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def scraped(client: Client) -> dict[str, list[Any]]:
    """Return the samples of each metric, as Prometheus reads them."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.content.decode()))
    samples: dict[str, list[Any]] = {}
    for family in families:
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def value(samples: dict[str, list[Any]], name: str, **labels: str) -> float:
    """Return the one value with these labels."""
    [found] = [each.value for each in samples[name] if each.labels.items() >= labels.items()]
    return float(found)


# --- Who may read it ------------------------------------------------------------------------------


@pytest.fixture
def closed(settings: Settings) -> Settings:
    """Set it as production has it by default."""
    settings.METRICS_TOKEN, settings.METRICS_NETWORKS = "", []
    return settings


def test_by_default_production_shows_it_to_nobody(client: Client, closed: Settings) -> None:
    for headers in ({}, {"authorization": "Bearer "}, {"authorization": "Bearer x"}):
        answer = client.get("/metrics", headers=headers)

        assert answer.status_code == 403
        assert b"usher_" not in answer.content


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"Token {TOKEN}", 403),
        (f"Bearer {TOKEN}x", 403),
        ("Bearer é", 403),
        (TOKEN, 403),
        ("", 403),
    ],
)
def test_a_token_opens_it(header: str, status: int, client: Client, closed: Settings) -> None:
    closed.METRICS_TOKEN = TOKEN

    assert client.get("/metrics", headers={"authorization": header}).status_code == status


@pytest.mark.parametrize(
    ("address", "status"),
    [("10.1.2.3", 200), ("::ffff:10.1.2.3", 200), ("10.2.0.1", 403), ("", 403)],
)
def test_an_address_opens_it(address: str, status: int, client: Client, closed: Settings) -> None:
    closed.METRICS_NETWORKS = ["10.1.0.0/16"]

    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


def test_nobody_passes_for_another_address(client: Client, closed: Settings) -> None:
    closed.METRICS_NETWORKS = ["10.1.0.0/16", "127.0.0.1"]
    forged = {"x-forwarded-for": "10.1.2.3"}

    unknown_proxy = client.get("/metrics", headers=forged, REMOTE_ADDR="127.0.0.1")
    closed.TRUSTED_PROXIES = ["127.0.0.1"]
    through_ours = client.get("/metrics", headers=forged, REMOTE_ADDR="127.0.0.1")
    outsider = client.get(
        "/metrics", headers={"x-forwarded-for": "10.1.2.3, 192.0.2.1"}, REMOTE_ADDR="127.0.0.1"
    )

    assert (unknown_proxy.status_code, outsider.status_code) == (403, 403)
    assert through_ours.status_code == 200


def test_it_is_read_only(client: Client) -> None:
    assert client.post("/metrics").status_code == 405


@pytest.mark.parametrize(
    ("name", "wrong", "id_"),
    [("METRICS_NETWORKS", ["10.0.0.0/33"], "usher.E004"), ("METRICS_TOKEN", "short", "usher.E005")],
)
def test_a_setting_that_means_nothing_is_an_error(
    name: str, wrong: Any, id_: str, settings: Settings
) -> None:
    setattr(settings, name, wrong)

    assert [finding.id for finding in run_checks() if finding.id == id_] == [id_]


# --- What it tells --------------------------------------------------------------------------------


def test_the_backlog_is_told_by_receiver_and_state(
    client: Client, publish: Publish, drain: Drain, misbehave: Misbehave
) -> None:
    misbehave(1, "permanent")
    publish(1)
    publish(2)
    drain()
    publish(3, key="other")

    samples = scraped(client)

    states = {
        state: value(samples, "usher_deliveries", receiver="probe.record", state=state)
        for state in ("due", "scheduled", "running", "waiting", "dead")
    }
    assert states == {"due": 1, "scheduled": 0, "running": 0, "waiting": 1, "dead": 1}
    assert value(samples, "usher_oldest_due_age_seconds", receiver="probe.record") > 0
    assert value(samples, "usher_oldest_due_age_seconds", receiver="coupons.follow_account") == 0


def test_a_paused_receiver_is_told(client: Client) -> None:
    ReceiverState.objects.create(name="probe.record", paused_at="2026-01-01T00:00:00Z")

    samples = scraped(client)

    assert value(samples, "usher_receiver_paused", receiver="probe.record") == 1
    assert value(samples, "usher_receiver_paused", receiver="probe.record_batch") == 0


def test_every_receiver_has_a_value_in_every_metric_from_the_start(client: Client) -> None:
    samples = scraped(client)

    names = {receiver.name for receiver in all_receivers()}
    for metric, found in samples.items():
        if any("receiver" in sample.labels for sample in found):
            assert {sample.labels["receiver"] for sample in found} == names, metric


def test_a_scrape_takes_as_many_statements_for_a_long_history(
    client: Client, publish: Publish, drain: Drain
) -> None:
    scraped(client)
    with CaptureQueriesContext(connection) as few:
        scraped(client)

    for number in range(30):
        publish(number, key=str(number))
    drain()
    with CaptureQueriesContext(connection) as many:
        scraped(client)

    assert len(many) == len(few) < 16


def test_open_metrics_is_spoken_to_who_asks_for_it(client: Client) -> None:
    answer = client.get(
        "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"}
    )

    assert answer["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")


# --- Dashboard and alerts -------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_that_is_asked_for_exists(query: str, client: Client) -> None:
    samples = scraped(client)

    names = set(re.findall(r"\busher_\w+", query))
    assert names
    for name in names:
        assert name in samples, name


@pytest.mark.parametrize("query", QUERIES)
def test_every_label_and_state_that_is_asked_for_exists(query: str, client: Client) -> None:
    samples = scraped(client)

    for name, selector in re.findall(r"\b(usher_\w+)\{([^}]*)\}", query):
        for label, given in re.findall(r'(\w+)\s*!?=~?\s*"([^"]*)"', selector):
            values = {sample.labels.get(label) for sample in samples[name]}
            assert values != {None}, (name, label)
            assert given.startswith("$") or given in values, (name, label, given)


def test_the_documented_metrics_are_those_there_are(client: Client) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()

    documented = set(re.findall(r"^\| `(usher_\w+)", text, re.M))

    told = {SUFFIXES.sub("", name) for name in scraped(client) if not name.endswith("_created")}
    assert documented == told


def test_panels_have_ids_of_their_own_and_a_place() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(ids) == len(set(ids)) > 8
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


def test_alerts_say_what_to_do() -> None:
    for rule in (rule for group in ALERTS["groups"] for rule in group["rules"]):
        assert {"summary", "description", "runbook"} == rule["annotations"].keys()
        page, _, heading = rule["annotations"]["runbook"].partition(", ")
        assert heading in (ROOT / page).read_text().replace("`", "")
