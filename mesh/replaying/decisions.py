"""Our own decision log, and request documents on lines: what `meshward serve` and `meshward check` write and read."""

import re
from collections.abc import Iterator

import orjson

from authz.decision import Stage, Verdict
from authz.secrecy import MASK
from mesh.replaying.reading import Defaults, NoRecordError, Reading
from mesh.replaying.record import Lacking, Record, Recorded
from mesh.replaying.stream import Pieces
from parser.logged_request import parse_logged_request
from parser.request import RequestError

__all__ = ["LogLines", "read_decisions", "recorded_in"]

_KEPT = 16_384
# Between its time and its duration a line says everything, and says the same again and again.
_LINE = re.compile(rb'\{"time":"[0-9T:.+-]{20,40}"(,.*),"duration_us":(?:0|[1-9][0-9]*)(?:\.[0-9]+)?\}')
_DECISION = b',"decision":'
_BESIDE = ("time", "duration_us", "shadow")
_REQUEST = frozenset({"workload", "destination", "source", "connection", "request", "jwt"})


class LogLines:
    """Reads lines of a decision log, many of which say the same, and more of which decide the same."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self.known: dict[bytes, Record] = {}
        """Records by what their lines say."""
        self._decided: dict[bytes, Recorded] = {}

    def record(self, line: bytes, said: bytes | None, reading: Reading) -> Record | None:
        """The record in one line, which says `said` beside its time; none where there is none, which is then noted.

        Raises:
            RequestError: It is no request document.
            NoRecordError: It is none in another way.
        """
        before, mark, decided = (said or b"").rpartition(_DECISION)
        if mark and (recorded := self._decided.get(decided)) is not None:
            # Two fifths of a line. If the rest of it is JSON by itself, the line is, and this is its decision.
            try:
                request = orjson.loads(b"{%b}" % before[1:])
            except orjson.JSONDecodeError:
                request = _UNREAD
            if "decision" not in request:
                return self._made(request, recorded, reading)
        data = reading.decoded(line)
        if data is None:
            return None
        if type(data) is not dict:
            raise NoRecordError("no request document: a line is one JSON object")
        decision = data.pop("decision", None)
        found = None if decision is None else recorded_in(decision)
        if found is not None and mark and len(self._decided) < _KEPT and _says(decided, decision):
            self._decided[decided] = found
        return self._made(data, found, reading)

    def _made(self, data: dict[str, object], recorded: Recorded | None, reading: Reading) -> Record | None:
        """The record of what a line says beside the decision; none where the server could not read the request, and wrote down only that."""
        for name in _BESIDE:
            data.pop(name, None)
        if recorded is not None and data.keys().isdisjoint(_REQUEST):
            reading.without_request += 1
            return None
        defaults = self._defaults
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


_UNREAD = {"decision": None}


def _says(text: bytes, decision: object) -> bool:
    try:
        said: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return said == decision


def read_decisions(stream: Pieces, reading: Reading, known: LogLines) -> Iterator[Record]:
    """The records of a decision log. Lines that say the same give the same record."""
    same, records = _LINE.fullmatch, known.known
    for lines in reading.batches(stream):
        for line in lines:
            reading.line += 1
            matched = same(line)
            said = None if matched is None else matched[1]
            if said is not None and (record := records.get(said)) is not None:
                yield record
                continue
            if not line or line.isspace():
                continue
            try:
                found = known.record(line, said, reading)
            except RequestError as error:
                reading.skip(NoRecordError.of(error))
            except NoRecordError as error:
                reading.skip(error)
            else:
                if found is None:
                    continue
                if said is not None and len(records) < _KEPT:
                    records[said] = found
                yield found


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
