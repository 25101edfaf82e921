"""Our own decision log, and request documents on lines: what `meshward serve` and `meshward check` write and read."""

import re
from collections.abc import Iterator

from authz.decision import Stage, Verdict
from authz.secrecy import MASK
from mesh.replaying.reading import Defaults, NoRecordError, Reading
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.stream import Pieces
from parser.logged_request import parse_logged_request
from parser.request import RequestError

__all__ = ["read_decisions", "recorded_in"]

_KEPT = 16_384
# Between its time and its duration a line says everything, and says the same again and again.
_LINE = re.compile(rb'\{"time":"[0-9T:.+-]{20,40}"(,.*),"duration_us":(?:0|[1-9][0-9]*)(?:\.[0-9]+)?\}')
_BESIDE = ("time", "duration_us", "shadow")
_REQUEST = frozenset({"workload", "destination", "source", "connection", "request", "jwt"})


def read_decisions(
    stream: Pieces, reading: Reading, defaults: Defaults, known: dict[bytes, Record] | None = None
) -> Iterator[Record]:
    """The records of a decision log. Lines that say the same give the same record; `known` are those of other parts of the log."""
    known = {} if known is None else known
    same = _LINE.fullmatch
    for lines in reading.batches(stream):
        for line in lines:
            reading.line += 1
            said = same(line)
            if said is not None and (record := known.get(said[1])) is not None:
                yield record
                continue
            if not line or line.isspace() or (data := reading.decoded(line)) is None:
                continue
            try:
                found = _record(data, defaults)
            except RequestError as error:
                reading.skip(NoRecordError.of(error))
            except NoRecordError as error:
                reading.skip(error)
            else:
                if found is None:
                    reading.without_request += 1
                    continue
                if said is not None and len(known) < _KEPT:
                    known[said[1]] = found
                yield found


def _record(data: object, defaults: Defaults) -> Record | None:
    """The record in one line; none where the server could not read the request, and wrote down only that."""
    if type(data) is not dict:
        raise NoRecordError("no request document: a line is one JSON object")
    decision = data.pop("decision", None)
    for name in _BESIDE:
        data.pop(name, None)
    recorded = None if decision is None else recorded_in(decision)
    if recorded is not None and data.keys().isdisjoint(_REQUEST):
        return None
    if defaults.workload is not None and "workload" not in data and "destination" not in data:
        data["workload"] = defaults.workload
    if defaults.principal is not None and "source" not in data:
        data["source"] = {"principal": defaults.principal}
    document = parse_logged_request(data)
    headers = document.attributes.headers
    masked = frozenset([name for name, values in headers.items() if MASK in values]) if headers else _NOTHING
    refused = recorded is not None and recorded.stage is Stage.JWT
    lacking = Lacking(masked=masked, refused_token=refused) if masked or refused else None
    return Record(document=document, recorded=recorded, lacking=lacking)


def recorded_in(decision: object) -> Recorded:
    """The verdict in the words of our decision documents, wherever they were written to.

    Raises:
        NoRecordError: There is none.
    """
    if type(decision) is dict:
        given = decision.get
        verdict, stage, policy, rule, reason = (
            given("verdict"),
            given("stage"),
            given("policy"),
            given("rule"),
            given("reason"),
        )
        if type(verdict) is str and (known := _VERDICTS.get(verdict)) is not None:
            return Recorded(
                known,
                policy if type(policy) is str else None,
                rule if type(rule) is int else _whole(rule),
                reason if type(reason) is str else None,
                _STAGES.get(stage) if type(stage) is str else None,
            )
    raise NoRecordError("`decision` has no verdict", help="it is `ALLOW` or `DENY`")


_VERDICTS = {verdict.value: verdict for verdict in Verdict}
_STAGES = {stage.value: stage for stage in Stage}
_NOTHING: frozenset[str] = frozenset()


def _whole(rule: object) -> int | None:
    # Envoy's metadata knows no whole numbers.
    return int(rule) if isinstance(rule, float) and rule.is_integer() else None
