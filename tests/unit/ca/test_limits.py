"""How often callers may ask."""

from datetime import timedelta

import pytest

from ca.errors import LimitedError
from ca.limits import Limits
from ca.refusals import RefusalKind, refusal_of
from tests.unit.ca.offices import caller


def test_who_asks_too_often_is_told_when_to_come_again_and_nobody_else_is() -> None:
    limits = Limits(attest_per_second=3, issue_per_second=2)
    for _ in range(3):
        limits.attesting("10.0.0.1")
    with pytest.raises(LimitedError) as caught:
        limits.attesting("10.0.0.1")
    assert timedelta(0) < caught.value.retry_after <= timedelta(seconds=1)
    assert refusal_of(caught.value).kind is RefusalKind.LIMITED
    limits.attesting("10.0.0.2")
    for _ in range(2):
        limits.issuing(caller(name="a"))
    with pytest.raises(LimitedError):
        limits.issuing(caller(name="a"))
    limits.issuing(caller(name="b"))
