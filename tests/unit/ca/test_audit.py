from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.audit import EMPTY, AuditEvent, AuditHead, AuditRow, Outcome, seal, verify_audit
from ca.errors import BrokenAuditError

AT = datetime(2030, 1, 1, tzinfo=UTC)
moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # bounds are naive
events = st.builds(
    AuditEvent,
    moments,
    st.text(),
    st.text(),
    st.sampled_from(Outcome),
    subject=st.text(),
    serial=st.text(),
    reason=st.text(),
)


def chain(said: list[AuditEvent]) -> list[AuditRow]:
    rows: list[AuditRow] = []
    head = EMPTY
    for event in said:
        rows.append(seal(head, event))
        head = rows[-1].head
    return rows


@given(st.lists(events, max_size=8))
def test_a_chain_as_it_was_written_holds_against_every_head_it_ever_had(said: list[AuditEvent]) -> None:
    rows = chain(said)
    heads = [EMPTY, *(row.head for row in rows)]
    assert verify_audit(rows, head=heads[-1], kept=heads) == heads[-1]


@given(st.lists(events, min_size=1, max_size=8), events, st.data())
def test_any_other_event_in_any_row_breaks_the_chain_there(
    said: list[AuditEvent], other: AuditEvent, data: st.DataObject
) -> None:
    rows = chain(said)
    place = data.draw(st.integers(0, len(rows) - 1))
    if other == rows[place].event:
        other = replace(other, at=other.at + timedelta(microseconds=1))
    changed = [*rows[:place], replace(rows[place], event=other), *rows[place + 1 :]]
    with pytest.raises(BrokenAuditError) as broken:
        verify_audit(changed, head=rows[-1].head)
    assert broken.value.number == place + 1


@given(st.lists(events, min_size=2, max_size=8), st.data())
def test_a_row_that_is_gone_or_changes_places_breaks_the_chain(said: list[AuditEvent], data: st.DataObject) -> None:
    rows = chain(said)
    place = data.draw(st.integers(0, len(rows) - 2))
    for changed in (
        rows[:place] + rows[place + 1 :],
        [*rows[:place], rows[place + 1], rows[place], *rows[place + 2 :]],
    ):
        with pytest.raises(BrokenAuditError) as broken:
            verify_audit(changed, head=rows[-1].head)
        assert broken.value.number == place + 1


@given(st.lists(events, min_size=1, max_size=8), st.data())
def test_a_chain_forged_anew_from_some_row_on_shows_against_a_head_that_was_kept(
    said: list[AuditEvent], data: st.DataObject
) -> None:
    rows = chain(said)
    place = data.draw(st.integers(0, len(rows) - 1))
    event = replace(rows[place].event, at=rows[place].event.at + timedelta(seconds=1))
    forged = chain([*said[:place], event, *said[place + 1 :]])
    assert verify_audit(forged, head=forged[-1].head) == forged[-1].head
    with pytest.raises(BrokenAuditError):
        verify_audit(forged, head=forged[-1].head, kept=[rows[-1].head])
    with pytest.raises(BrokenAuditError):
        verify_audit(rows[:place], head=rows[place - 1].head if place else EMPTY, kept=[rows[-1].head])


@given(events)
def test_what_is_kept_of_an_event_has_no_line_of_its_own_and_can_be_written_anywhere(event: AuditEvent) -> None:
    for text in (event.actor, event.action, event.subject, event.serial, event.reason):
        assert text.isprintable()
        text.encode()


@pytest.mark.parametrize("text", ["x" * 5000, "\n" * 4096, "\n" * 3000, "é" * 4097, "x" * 4095 + "\0"])
def test_what_is_kept_of_a_long_text_is_read_back_as_the_same(text: str) -> None:
    kept = AuditEvent(AT, text, "act", Outcome.DONE)
    assert len(kept.actor) <= 4096
    assert replace(kept) == kept


@given(st.integers(0, 2**63), st.binary(min_size=32, max_size=32))
def test_a_head_is_read_back_as_it_was_printed(number: int, digest: bytes) -> None:
    assert AuditHead.parse(str(AuditHead(number, digest))) == AuditHead(number, digest)


@pytest.mark.parametrize("text", ["", "1", "1:", "x:" + "0" * 64, "-1:" + "0" * 64, "1:" + "0" * 63, "1:" + "g" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        AuditHead.parse(text)
