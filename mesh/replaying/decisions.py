"""Our own decision log, and request documents on lines: what `meshward serve` and `meshward check` write and read."""

import re
from collections.abc import Iterator, Mapping

from authz.decision import Verdict
from authz.secrecy import MASK
from mesh.replaying.reading import Defaults, NoRecordError, Reading
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.stream import Stream
from parser.logged_request import parse_logged_request
from parser.request import RequestError

__all__ = ["read_decisions", "recorded_in"]

_KEPT = 32_768
# Between its time and its duration a line says everything, and says the same again and again.
_LINE = re.compile(rb'\{"time":"[0-9T:.+-]{20,40}"(,.*),"duration_us":(?:0|[1-9][0-9]*)(?:\.[0-9]+)?\}')
_OURS = frozenset({"time", "decision", "duration_us", "shadow"})
_REQUEST = frozenset({"workload", "destination", "source", "connection", "request", "jwt"})


def read_decisions(stream: Stream, reading: Reading, defaults: Defaults) -> Iterator[Record]:
    """The records of a decision log. Lines that say the same give the same record."""
    known: dict[bytes, Record] = {}
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
    decision = data.get("decision")
    recorded = None if decision is None else recorded_in(decision)
    request = {name: value for name, value in data.items() if name not in _OURS}
    if decision is not None and request.keys().isdisjoint(_REQUEST):
        return None
    if defaults.workload is not None and "workload" not in request and "destination" not in request:
        request["workload"] = defaults.workload
    if defaults.principal is not None and "source" not in request:
        request["source"] = {"principal": defaults.principal}
    document = parse_logged_request(request)
    masked = frozenset([name for name, values in document.attributes.headers.items() if MASK in values])
    return Record(document=document, recorded=recorded, lacking=Lacking(masked=masked) if masked else None)


def recorded_in(decision: object) -> Recorded:
    """The verdict in the words of our decision documents, wherever they were written to.

    Raises:
        NoRecordError: There is none.
    """
    if isinstance(decision, Mapping):
        said, policy, rule, reason = map(decision.get, ("verdict", "policy", "rule", "reason"))
        for verdict in Verdict:
            if said == verdict.value:
                return Recorded(
                    verdict,
                    policy if isinstance(policy, str) else None,
                    _whole(rule),
                    reason if isinstance(reason, str) else None,
                )
    raise NoRecordError("`decision` has no verdict", help="it is `ALLOW` or `DENY`")


def _whole(rule: object) -> int | None:
    # Envoy's metadata knows no whole numbers.
    if isinstance(rule, float) and rule.is_integer():
        return int(rule)
    return rule if isinstance(rule, int) and not isinstance(rule, bool) else None
