"""What an authority tells Prometheus, and the alerts that rest on it."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ca.errors import KeyStoreError
from ca.inventory import IssuedKind
from ca.metrics import Metrics
from ca.own_svid import OwnSvid
from ca.phases import SlotKind
from tests.unit.ca.offices import AT, BY, WEB, TestOffice, caller, office

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy/prometheus/meshward-ca.rules.yaml"
USER = caller("unix:uid:1000")
Samples = Mapping[str, float]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path) as made:
        made.entry(WEB, "unix:uid:1000")
        yield made


def told(made: TestOffice, *, own: OwnSvid | None = None) -> Samples:
    """Each sample by its name and the values of its labels."""
    registry = CollectorRegistry()
    shown = None if own is None else lambda: own.current
    registry.register(Metrics(made.office, own=shown))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        ",".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in families
        for sample in family.samples
    }


def everything(made: TestOffice) -> Samples:
    """All that there may be: with something counted, something waited for, and a certificate of its own."""
    counters, own = made.office.counters, OwnSvid(made.office)
    asyncio.run(own.renew())
    counters.issued("rest", IssuedKind.X509)
    counters.seconds("rest", IssuedKind.X509, 0.002)
    counters.refused("rest", "unauthenticated")
    made.office.consumers.opened("late")
    made.office.supervisor.hurry(SlotKind.ROOT, by=BY)
    made.office.signing.refresh()
    made.office.supervisor.waiting = made.office.supervisor.advance()
    return told(made, own=own)


def test_what_the_edges_count_is_told(made: TestOffice) -> None:
    counters = made.office.counters
    for seconds in (0.001, 0.002, 7.0):
        counters.issued("sds", IssuedKind.X509)
        counters.seconds("sds", IssuedKind.X509, seconds)
    counters.issued("rest", IssuedKind.JWT)
    counters.refused("rest", "limited")
    samples = told(made)
    assert samples["meshward_ca_issued_total,sds,x509-svid"] == 3
    assert samples["meshward_ca_issued_total,rest,jwt-svid"] == 1
    assert samples["meshward_ca_refused_total,limited,rest"] == 1
    buckets = [
        samples[f"meshward_ca_issue_duration_seconds_bucket,sds,x509-svid,{le}"]
        for le in ("0.001", "0.0025", "5.0", "+Inf")
    ]
    assert buckets == [1, 2, 2, 3]
    assert samples["meshward_ca_issue_duration_seconds_sum,sds,x509-svid"] == pytest.approx(7.003)


def test_what_signs_tells_how_long_it_has_left(made: TestOffice) -> None:
    made.clock.pass_by(timedelta(days=1))
    samples = told(made)
    assert samples["meshward_ca_can_sign"] == samples["meshward_ca_can_sign_jwt"] == 1
    assert samples["meshward_ca_authority_expiry_seconds,intermediate,active"] == timedelta(days=6).total_seconds()
    assert samples["meshward_ca_authority_lifetime_seconds,jwt,active"] == timedelta(days=7).total_seconds()
    assert samples["meshward_ca_authorities,root,active"] == 1
    made.clock.pass_by(timedelta(days=7))
    samples = told(made)
    assert samples["meshward_ca_can_sign"] == samples["meshward_ca_can_sign_jwt"] == 0
    assert samples["meshward_ca_authority_expiry_seconds,intermediate,active"] < 0


def test_what_rotation_waits_for_is_told(made: TestOffice) -> None:
    samples = everything(made)
    assert samples["meshward_ca_rotation_waiting,root,consumers"] == 1
    assert samples["meshward_ca_rotation_waiting,root,notice"] == 0
    assert samples["meshward_ca_rotation_deadline_seconds,root"] == timedelta(days=365).total_seconds()
    assert (samples["meshward_ca_consumers"], samples["meshward_ca_consumers_behind"]) == (1, 1)
    assert samples["meshward_ca_bundle_sequence"] == 3


def test_certificates_that_end_and_names_that_do_not_renew_are_told(made: TestOffice) -> None:
    for _ in range(2):
        asyncio.run(made.issue(USER))
    samples = told(made)
    assert (samples["meshward_ca_certificates_valid"], samples["meshward_ca_renewals_overdue"]) == (2, 0)
    # Of 61 minutes, a sixth.
    made.clock.at = AT + timedelta(minutes=60) - timedelta(seconds=610)
    assert told(made)["meshward_ca_renewals_overdue"] == 0
    made.clock.pass_by(timedelta(seconds=1))
    samples = told(made)
    assert samples["meshward_ca_renewals_overdue"] == 1
    assert samples["meshward_ca_certificates_ending,300"] == 0
    assert samples["meshward_ca_certificates_ending,900"] == 2
    asyncio.run(made.issue(USER))
    assert told(made)["meshward_ca_renewals_overdue"] == 0


def test_a_store_that_cannot_be_read_is_told_and_the_rest_still_is(made: TestOffice, tmp_path: Path) -> None:
    for file in (tmp_path / "office").iterdir():
        file.write_bytes(b"no database")
    samples = told(made)
    assert samples["meshward_ca_store_failed"] == 1
    assert samples["meshward_ca_can_sign"] == 1
    assert "meshward_ca_certificates_valid" not in samples


def test_a_rotation_that_fails_is_told(made: TestOffice) -> None:
    made.office.supervisor.failure = KeyStoreError("token", "it is not there")
    samples = told(made)
    assert (samples["meshward_ca_rotation_failed"], samples["meshward_ca_store_failed"]) == (1, 0)


def test_its_own_certificate_is_told_and_so_is_that_there_is_none(made: TestOffice) -> None:
    own = OwnSvid(made.office)
    assert told(made, own=own)["meshward_ca_own_svid_expiry_seconds"] == 0
    asyncio.run(own.renew())
    assert told(made, own=own)["meshward_ca_own_svid_expiry_seconds"] == 3600


def test_no_workload_is_named(made: TestOffice) -> None:
    asyncio.run(made.issue(USER))
    assert not [name for name in everything(made) if "spiffe:" in name or "shop" in name or "late" in name]


# The alerts

_DURATION = re.compile(r"(?:\d+(?:ms|[smhdwy]))+")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_WORDS = {"absent", "and", "by", "histogram_quantile", "ignoring", "increase", "or", "rate", "sum"}
_LABELS = {"code", "edge", "instance", "job", "kind", "le", "phase"}


def rules() -> list[dict[str, object]]:
    document = yaml.safe_load(RULES.read_text())
    assert set(document) == {"groups"}
    found = []
    for group in document["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
        found += group["rules"]
    return found


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_is_as_prometheus_reads_it(rule: dict[str, object]) -> None:
    assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert _NAME.fullmatch(str(rule["alert"]))
    assert "for" not in rule or _DURATION.fullmatch(str(rule["for"]))
    labels, annotations = rule["labels"], rule["annotations"]
    assert isinstance(labels, dict)
    assert labels["severity"] in {"critical", "warning"}
    assert isinstance(annotations, dict)
    assert set(annotations) == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"docs/ca.md#{str(rule['alert']).lower()}"
    assert f"\n### {rule['alert']}\n" in (ROOT / "docs" / "ca.md").read_text()
    said = str(rule["expr"])
    assert said.count("(") == said.count(")")
    assert said.count("{") == said.count("}")
    assert all(_DURATION.fullmatch(each) for each in re.findall(r"\[([^\]]*)\]", said))


def test_alerts_have_names_of_their_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))


def test_each_metric_that_an_alert_names_is_told_with_those_labels(made: TestOffice) -> None:
    told_of = {name.partition(",")[0] for name in everything(made)}
    for rule in rules():
        said = re.sub(r'"[^"]*"|\[[^\]]*\]', "", str(rule["expr"]))
        words = set(_NAME.findall(said)) - _WORDS - _LABELS
        assert words, rule["alert"]
        assert words <= told_of, rule["alert"]
