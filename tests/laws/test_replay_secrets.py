"""No secret of recorded traffic is in anything that a replay says, whatever is recorded, and whatever it says it in."""

import base64
import io
import json
from typing import Any
from urllib.parse import quote

from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from authz.mesh_config import MeshConfig
from authz.model import Condition, Policy, Rule
from authz.workload import Workload
from cli.reports.replay import REPORTS, Run
from extauthz.recorded import RecordedQuestions
from mesh.deciding import Offline
from mesh.replaying.kind import Change, Kind
from mesh.replaying.log import Log
from mesh.replaying.masking import Masking
from mesh.replaying.reading import Defaults
from mesh.replaying.replay import Replay
from mesh.replaying.version import Version
from mesh.snapshot import Snapshot
from parser.diagnostics import render
from tests import questions

HEADERS = ("authorization", "Cookie", "set-cookie", "X-Api-Key", "x-auth-token", "x-session", "X-Mine", "x-role")
# All that policies may look at is what a sample would show.
EVERY = Rule(
    conditions=tuple(
        Condition(key=f"request.headers[{name.lower()}]", not_values=("nobody",)) for name in (*HEADERS, "x-other")
    )
)
API = Workload(namespace="shop", name="api", labels={"app": "api"})


def version(*rules: Rule, normalize: bool) -> Version:
    policies = (Policy(namespace="shop", name="some", rules=rules),)
    snapshot = Snapshot(policies=policies, workloads=[API], config=MeshConfig(), revision="r")
    return Version(snapshot, Offline(at=0.0), normalize=normalize, fixed=False)


VERSIONS = {
    normalize: (version(normalize=normalize), version(EVERY, Rule(), normalize=normalize))
    for normalize in (False, True)
}

# Eight letters that are nowhere else.
CORE = st.text("qxzjvwQXZJVW", min_size=8, max_size=8)


def jwt(core: str) -> str:
    parts = [base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"RS256"}', b'{"sub":"a"}')]
    return ".".join([*parts, core])


@st.composite
def secrets(draw: st.DrawFn) -> tuple[str, dict[str, str], str]:
    """What must not show, the headers of a request, and its target."""
    core = draw(CORE)
    around = draw(st.sampled_from(["", "a b", "%20", '"', "é", "\\", "|", "&"]))
    name = draw(st.sampled_from([*HEADERS[:-1], "header-token", "parameter", "segment", "random", "fragment", "url"]))
    headers, target = {"x-role": "guest"}, "/items"
    match name:
        case "header-token":
            headers["x-other"] = f"{draw(st.sampled_from(['', 'see ', 'a,']))}{jwt(core)}"
        case "parameter":
            key = draw(
                st.sampled_from(["token", "Access_Token", "api-key", "code", "sig", "state", "pass%77ord", "sessionid"])
            )
            target = f"/items?page=2&{key}={core}{quote(around)}"
        case "segment":
            target = f"/items/{jwt(core)}/x"
        case "random":
            target = f"/items?q={core}0123456789{core}"
        case "fragment":
            target = f"/items;jsessionid={core}/7#access_token={core}"
        case "url":
            headers["x-other"] = f"https://a.example/back?token={core}"
        case _:
            headers[name] = f"{core}{around}"
    return core, headers, target


def decision_log(headers: dict[str, str], target: str) -> bytes:
    document = {"workload": "shop/api", "request": {"method": "GET", "path": target, "headers": headers}}
    return json.dumps({**document, "decision": {"verdict": "ALLOW", "reason": target}}).encode() + b"\n"


def access_log(headers: dict[str, str], target: str) -> bytes:
    entry = {
        "workload": "shop/api",
        "method": "GET",
        "path": target,
        "headers": headers,
        "authority": f"{target[-9:]}@api",
    }
    return json.dumps({**entry, "response_code_details": "via_upstream", "jwt": {"sub": target}}).encode() + b"\n"


def archive(headers: dict[str, str], target: str) -> bytes:
    lines = [{"name": name, "value": value} for name, value in headers.items()]
    request = {"method": "GET", "url": f"https://api{target}", "headers": lines, "postData": {"text": target}}
    return json.dumps({"log": {"entries": [{"request": request, "response": {"status": 200}}]}}).encode()


def question(headers: dict[str, str], target: str) -> bytes:
    asked = questions.http("GET", target, headers=[(name.lower(), value) for name, value in headers.items()])
    text: bytes = asked.SerializeToString()
    return bytes([len(text) & 0x7F | 0x80, len(text) >> 7]) + text


def question_line(headers: dict[str, str], target: str) -> bytes:
    asked = questions.http("GET", target, joined={name.lower(): value for name, value in headers.items()})
    return json_format.MessageToJson(asked, indent=None).encode() + b"\n"


WRITTEN = {
    Kind.DECISIONS: decision_log,
    Kind.ENVOY: access_log,
    Kind.HAR: archive,
    Kind.CHECK: question,
    Kind.CHECK_JSON: question_line,
}


def said(data: bytes, kind: Kind, *, normalize: bool) -> tuple[str, Run]:
    """All that is printed about a recording, in every format."""
    defaults = Defaults(workload="shop/api", principal="spiffe://td/ns/shop/sa/web")
    by, against = VERSIONS[normalize]
    replay = Replay(by, masking=Masking(["x-mine"]), against=against)
    log = Log(io.BytesIO(data), "log", kind=kind, defaults=defaults, reader=RecordedQuestions(defaults))
    replay.take(log)
    reading = log.reading
    run = Run(
        replayed=replay.outcome(),
        readings=(reading,),
        revision="r",
        against="r",
        failing=frozenset({Change.NEWLY_DENIED}),
    )
    problems = [*reading.problems, *([] if reading.cut is None else [reading.cut])]
    printed = [write(run).decode() for write in REPORTS.values()] + [render(problem, None) for problem in problems]
    return "\n".join([*printed, repr(run), repr(replay.__dict__)]), run


@settings(max_examples=200)
@given(secrets(), st.sampled_from(list(Kind)), st.booleans())
def test_a_secret_is_in_nothing_that_is_said_or_kept(
    secret: tuple[str, dict[str, str], str],
    kind: Kind,
    normalize: bool,  # noqa: FBT001
) -> None:
    core, headers, target = secret
    printed, run = said(WRITTEN[kind](headers, target), kind, normalize=normalize)
    # It is about something: the request was read, and decided otherwise.
    assert run.replayed.compared == 1
    assert run.changed
    assert core not in printed


@settings(max_examples=300)
@given(secrets(), st.sampled_from(list(Kind)), st.data())
def test_nor_is_it_where_what_is_recorded_is_damaged(
    secret: tuple[str, dict[str, str], str], kind: Kind, draw: st.DataObject
) -> None:
    core, headers, target = secret
    data = WRITTEN[kind](headers, target)
    at = draw.draw(st.integers(0, len(data) - 1))
    damaged = draw.draw(
        st.sampled_from(
            [data[:at], data[:at] + b"}" + data[at + 1 :], data[:at] + data[at + 1 :], data[:at] + b"[7]," + data[at:]]
        )
    )
    printed, run = said(damaged + WRITTEN[kind]({}, "/items"), kind, normalize=False)
    problems = [problem for reading in run.readings for problem in (*reading.problems, reading.cut)]
    assert core not in str(problems)
    # Damage may make of a parameter's name another one, or of a token no token, and then it is none.
    if any(core in value for name, value in headers.items() if name in HEADERS):
        assert core not in printed


def test_every_kind_is_tried() -> None:
    assert WRITTEN.keys() == set(Kind)


def test_a_planted_leak_would_be_seen(monkeypatch: Any) -> None:
    monkeypatch.setattr(Masking, "is_secret", lambda *_: False)
    printed, _ = said(decision_log({"cookie": "qxzjqxzj"}, "/items"), Kind.DECISIONS, normalize=False)
    assert "qxzjqxzj" in printed
