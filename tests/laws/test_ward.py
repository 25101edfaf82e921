"""The laws of ward: reading inverts printing, no syntax changes what a policy means, and no text brings the reader down."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authz.keys import KEYS
from authz.model import Action, Condition, Operation, Policy, Rule, Source, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.request_authentication import ClaimToHeader, JwtRule, Presence, RequestAuthentication, TokenHeader
from parser import formatting, ward_printer, yaml_writer
from parser.diagnostics import PolicySyntaxError, render
from parser.formatting import FormatError, Syntax, format_manifest
from parser.manifests import Manifests, parse_manifests
from parser.resource_document import Resource, document_of
from parser.ward import parse_ward
from parser.ward_printer import print_ward
from parser.ward_words import WORDS
from parser.yaml_nodes import Scalar
from parser.yaml_remarks import yaml_remarks
from parser.yaml_scalars import resolve

# Policies that mean something or nothing --------------------------------------------------------------------------------

NASTY = (
    *(
        "",
        " ",
        '"',
        "\\",
        "#",
        " # b",
        "a#b",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\u202e",
    ),
    *(
        "]",
        "[",
        ",",
        "=",
        "(",
        ")",
        "'",
        "all",
        "a=b",
        "-",
        "--",
        "*",
        "/a/{*}/b",
        "日本",
        "é",
        "e\u0301",
        "😀",
        "\U000e0001",
    ),
    *(
        "a.b",
        "in.b",
        "not.x",
        "Anyone.a",
        "a..b",
        "a.b[c",
        "a.b[c]d",
        "a.b[c d]",
        'a.b["]',
        "a.b[#]",
        "a.b[c][d]",
        "8080",
        "5s",
    ),
)
anything = st.text() | st.sampled_from((*NASTY, *WORDS, *KEYS))
some = st.lists(anything, max_size=3).map(tuple)
labels = st.none() | st.dictionaries(anything, anything, max_size=3)
targets = st.lists(
    st.builds(
        TargetRef,
        kind=anything | st.sampled_from(("Gateway", "Service", "ServiceEntry", "GatewayClass")),
        name=anything,
        group=anything | st.sampled_from(("", "core", "gateway.networking.k8s.io", "networking.istio.io")),
        namespace=st.none() | anything,
    ),
    max_size=3,
).map(tuple)


def tuples(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


def mostly_empty(model: type[Any], fields: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(fields), some, max_size=3).map(lambda lists: model(**lists))


rules = st.builds(
    Rule,
    sources=tuples(mostly_empty(Source, tuple(Source.__dataclass_fields__))),
    operations=tuples(mostly_empty(Operation, tuple(Operation.__dataclass_fields__))),
    conditions=tuples(st.builds(Condition, key=anything, values=some, not_values=some)),
)
policies = st.builds(
    Policy,
    namespace=anything,
    name=anything,
    action=st.sampled_from(Action),
    selector=labels,
    target_refs=targets,
    rules=tuples(rules),
    provider=st.none() | anything,
    dry_run=st.booleans(),
    spans=st.just({}),
)
jwt_rules = st.builds(
    JwtRule,
    issuer=anything,
    audiences=some,
    jwks_uri=anything,
    jwks=anything | st.lists(anything).map("\n".join),
    from_headers=tuples(st.builds(TokenHeader, name=anything, prefix=anything)),
    from_params=some,
    from_cookies=some,
    forward_original_token=st.booleans(),
    output_payload_to_header=anything,
    output_claim_to_headers=tuples(st.builds(ClaimToHeader, header=anything, claim=anything)),
    space_delimited_claims=some,
    timeout=st.just(5.0) | st.floats(allow_nan=False, allow_infinity=False),
    presence=st.sampled_from(Presence),
)
request_authentications = st.builds(
    RequestAuthentication,
    namespace=anything,
    name=anything,
    created=anything,
    selector=labels,
    target_refs=targets,
    jwt_rules=tuples(jwt_rules),
    spans=st.just({}),
)
peer_authentications = st.builds(
    PeerAuthentication,
    namespace=anything,
    name=anything,
    created=anything,
    selector=labels,
    mode=st.sampled_from(MtlsMode),
    port_modes=st.dictionaries(st.integers(), st.sampled_from(MtlsMode), max_size=3),
    spans=st.just({}),
)
resources: st.SearchStrategy[Resource] = policies | request_authentications | peer_authentications


@given(resources)
@example(
    Policy(namespace="", name="", rules=(Rule(), Rule(sources=(Source(),), operations=(Operation(), Operation()))))
)
@example(Policy(namespace="a", name="b", rules=(Rule(conditions=(Condition(key="a.b"),)),)))
@example(Policy(namespace="a", name="b", rules=(Rule(conditions=(Condition(key="a.b", values=("x",) * 99, not_values=("y",)),)),)))  # fmt: skip
@example(Policy(namespace="n" * 90, name="b" * 90, selector={"all": "", "x": "all"}, target_refs=(TargetRef(kind="a", name="b" * 90),)))  # fmt: skip
def test_reading_inverts_printing(resource: Resource) -> None:
    check_inversion(resource)


def check_inversion(resource: Resource) -> None:
    assert parse_ward(print_ward(resource)) == (resource,)


@given(st.lists(resources, max_size=4))
def test_statements_do_not_run_into_each_other(several: list[Resource]) -> None:
    texts = [print_ward(each) for each in several]
    assert parse_ward("\n".join(texts)) == tuple(several)
    # Lines are for people: nothing depends on them, but for comments.
    assert parse_ward(" ".join(" ".join(text.split("\n")) for text in texts)) == tuple(several)


@given(resources)
def test_printing_is_a_fixed_point_and_shows_all_that_it_says(resource: Resource) -> None:
    text = print_ward(resource)
    (again,) = parse_ward(text)
    assert print_ward(again) == text
    assert all(character.isprintable() or character == "\n" for character in text)


# Files, with comments wherever they may be --------------------------------------------------------------------------------

FOREIGN = (
    "apiVersion: v1\nkind:   ConfigMap\nmetadata: {name:   a}  # as it is\ndata:\n      a:   'b'\n",
    "# nothing but this\n",
    "{apiVersion: v1, kind: Secret}\n",
)
VALUES = (
    "cluster.local/ns/shop/sa/web",
    "*",
    "a*",
    "*b",
    "shop",
    "on",
    "y",
    "null",
    "~",
    "a: b",
    "a #b",
    "# c",
    "- d",
    "[e]",
    "{f",
    *NASTY,
)
ADDRESSES = ("10.0.0.0/8", "192.0.2.7", "::1", "2001:db8::/32")
ACCOUNTS = ("web", "shop/web")
PORTS = ("80", "8080", "0")
FIELDS = {
    Source: {
        **dict.fromkeys(("principals", "request_principals", "namespaces"), VALUES),
        **dict.fromkeys(("ip_blocks", "remote_ip_blocks"), ADDRESSES),
        "trust_domains": ("td.example", "*", "*.example"),
    },
    Operation: {
        **dict.fromkeys(("hosts", "methods"), VALUES),
        "paths": tuple(value for value in VALUES if "{" not in value),
        "ports": PORTS,
    },
}
CONDITIONS = {
    "source.ip": ADDRESSES,
    "source.serviceAccount": ACCOUNTS,
    "destination.port": PORTS,
    "request.headers[x-role]": VALUES,
    "request.auth.claims[a][b c]": VALUES,
    "request.auth.claims[https://example.com/groups]": VALUES,
    "experimental.envoy.filters.a[[x]]": VALUES,
    "connection.sni": VALUES,
}


def pick(random: Random, pool: tuple[str, ...], *, at_least: int = 1) -> tuple[str, ...]:
    return tuple(filter(None, random.choices(pool, k=random.choice((at_least, 1, 1, 2, 9)))))


def random_part(random: Random, model: type[Any]) -> Any:
    pools = FIELDS[model]
    chosen = random.sample(sorted(pools), k=random.choice((1, 1, 2, 3)))
    lists = {random.choice(("", "", "not_")) + field: pick(random, pools[field]) for field in chosen}
    return model(**lists) if any(lists.values()) else model(**{chosen[0]: pools[chosen[0]][:1]})


def random_condition(random: Random) -> Condition:
    key = random.choice(sorted(CONDITIONS))
    values, unwanted = pick(random, CONDITIONS[key]), pick(random, CONDITIONS[key], at_least=0)
    return Condition(key=key, values=values or CONDITIONS[key][:1], not_values=unwanted)


def random_policy(random: Random, name: str) -> Policy:
    action = random.choice(tuple(Action))
    least = 1 if action in (Action.DENY, Action.CUSTOM) else 0
    return Policy(
        namespace=random.choice(("shop", "istio-system")),
        name=name,
        action=action,
        selector=random.choice((None, {}, {"app": "api"}, {"app": "api", "on": "", "app.kubernetes.io/name": "8080"})),
        rules=tuple(
            Rule(
                sources=tuple(random_part(random, Source) for _ in range(random.choice((0, 1, 2))))
                if action is not Action.CUSTOM
                else (),
                operations=tuple(random_part(random, Operation) for _ in range(random.choice((0, 1, 2)))),
                conditions=tuple(random_condition(random) for _ in range(random.choice((0, 1, 2))))
                if action is not Action.CUSTOM
                else (),
            )
            for _ in range(random.choice((least, 1, 2, 3)))
        ),
        provider="ext" if action is Action.CUSTOM else None,
        dry_run=action in (Action.ALLOW, Action.DENY) and random.random() < 0.3,
    )


def random_jwt_rule(random: Random) -> JwtRule:
    return JwtRule(
        issuer=random.choice(("https://idp.example", "a b", "on")),
        audiences=pick(random, VALUES, at_least=0),
        jwks_uri=random.choice(("", "https://idp.example/keys")),
        from_headers=tuple(TokenHeader(name="x-a", prefix=prefix) for prefix in pick(random, NASTY, at_least=0)),
        from_params=pick(random, VALUES, at_least=0),
        from_cookies=pick(random, VALUES, at_least=0),
        forward_original_token=random.random() < 0.5,
        output_payload_to_header=random.choice(("", "x-payload")),
        output_claim_to_headers=tuple(
            ClaimToHeader(header="x-b", claim=claim) for claim in pick(random, VALUES, at_least=0)
        ),
        space_delimited_claims=pick(random, VALUES, at_least=0),
        timeout=random.choice((5.0, 0.001, 1.5, 3600.0)),
        presence=random.choice(tuple(Presence)),
    )


def random_resource(random: Random, name: str) -> Resource:
    created = random.choice(("", "2026-01-02T03:04:05Z"))
    match random.choice(("policy", "policy", "tokens", "keys", "mtls")):
        case "policy":
            return random_policy(random, name)
        case "tokens":
            several = tuple(random_jwt_rule(random) for _ in range(random.choice((0, 1, 2))))
            return RequestAuthentication(namespace="shop", name=name, created=created, jwt_rules=several)
        case "keys":
            keys = '{"keys": [\n  {"kty": "RSA",  # not a comment\n   "n": "AQAB", "e": "AQAB"}\n]}'
            keys = random.choice((keys.replace("  # not a comment", ""), '{"keys": []}\n', '\n{"keys":\n\n []}\n\n'))
            return RequestAuthentication(namespace="shop", name=name, jwt_rules=(JwtRule(issuer="a", jwks=keys),))
        case _:
            ports = {8080: random.choice(tuple(MtlsMode)), 9090: MtlsMode.STRICT} if random.random() < 0.5 else {}
            mode = random.choice(tuple(MtlsMode))
            return PeerAuthentication(
                namespace="shop", name=name, created=created, selector={"app": "api"}, mode=mode, port_modes=ports
            )


class _Dumper(yaml.SafeDumper):
    """Quotes what Kubernetes would take for a number or a truth, and PyYAML would not."""


def represent(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = None if resolve(text or "~") == text and text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, represent)


def yaml_of(random: Random, resource: Resource) -> str:
    """The document of a policy as somebody might have written it, its keys in any order."""
    shuffled = shuffle(random, json.loads(json.dumps(document_of(resource))))
    return yaml.dump(
        shuffled,
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=random.choice((None, None, False)),
        allow_unicode=True,
        width=random.choice((40, 10_000)),
        indent=random.choice((2, 4)),
    )


def shuffle(random: Random, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffle(random, value[key]) for key in random.sample(list(value), k=len(value))}
    return [shuffle(random, item) for item in value] if isinstance(value, list) else value


def random_manifests(random: Random) -> tuple[str, list[str], list[str]]:
    """A file with policies, comments in it, and the documents of other kinds between them."""
    documents, foreign = [], []
    for number in range(random.choice((1, 2, 4))):
        documents.append(yaml_of(random, random_resource(random, f"p{number}")))
        if random.random() < 0.3:
            foreign.append(random.choice(FOREIGN))
            documents.append(foreign[-1])
    text = "---\n".join(documents)
    comments = []
    for number in range(random.choice((0, 3, 10))):
        commented = with_comment(random, text, comment := f"# {random.choice(('', '- ', 'x: '))}remark {number}.")
        # Not within a text, where it would be a part of it.
        if meaning_of_yaml(commented) == meaning_of_yaml(text):
            text = commented
            comments.append(comment)
    return text, comments, [each for each in foreign if each in text]


def with_comment(random: Random, text: str, comment: str) -> str:
    lines = text.split("\n")
    number = random.randrange(len(lines))
    if random.random() < 0.5 and lines[number]:
        lines[number] += random.choice(("  ", " ")) + comment
    else:
        lines[number:number] = [*random.choice(([], [""], ["", ""])), " " * random.choice((0, 2, 4, 6, 8)) + comment]
    return "\n".join(lines)


def meaning_of_yaml(text: str) -> str:
    try:
        return json.dumps(list(yaml.load_all(text, Loader=yaml.CSafeLoader)), sort_keys=True, default=str)
    except yaml.YAMLError:
        return "nothing"


def meaning(manifests: Manifests) -> list[Resource]:
    found: list[Resource] = [*manifests.policies, *manifests.request_authentications, *manifests.peer_authentications]
    return sorted(found, key=lambda each: (type(each).__name__, each.id))


def read(text: str, syntax: Syntax) -> list[Resource]:
    found = parse_manifests([(f"f.{syntax.value}", text.encode())])
    assert not found.errors, "\n".join(render(each, text) for each in found.diagnostics)
    return meaning(found)


def formatted(text: str, syntax: Syntax, to: Syntax) -> str:
    return format_manifest(text.encode(), f"f.{syntax.value}", to=to, skip_others=True).text


def check_formatting(seed: int) -> None:
    text, comments, foreign = random_manifests(Random(seed))
    before = read(text, Syntax.YAML)
    canonical = formatted(text, Syntax.YAML, Syntax.YAML)
    said = formatted(text, Syntax.YAML, Syntax.WARD)
    back = formatted(said, Syntax.WARD, Syntax.YAML)
    assert read(canonical, Syntax.YAML) == read(said, Syntax.WARD) == read(back, Syntax.YAML) == before
    assert formatted(canonical, Syntax.YAML, Syntax.YAML) == canonical
    assert formatted(said, Syntax.WARD, Syntax.WARD) == said
    assert formatted(back, Syntax.YAML, Syntax.YAML) == back
    assert all(canonical.count(comment) == 1 for comment in comments), canonical
    assert all(document in canonical for document in foreign), canonical


@settings(deadline=None)  # a file is formatted seven times
@given(st.integers(0, 2**32))
def test_formatting_keeps_the_meaning_and_the_comments_and_is_done_after_once(seed: int) -> None:
    check_formatting(seed)


@given(st.integers(0, 2**32))
def test_what_ward_says_is_what_its_documents_say(seed: int) -> None:
    # The reader of ward makes the model; the readers of documents, which check it, make it again.
    random = Random(seed)
    resource = random_resource(random, "p")
    assert read(print_ward(resource), Syntax.WARD) == read(yaml_of(random, resource), Syntax.YAML) == [resource]


# Text that is not ward ----------------------------------------------------------------------------------------------------

TEXT = "\n".join(print_ward(random_resource(Random(seed), f"p{seed}")) for seed in range(12))
FRAGMENTS = (
    *WORDS,
    *(" ", "\n", "\r", "\t", "(", ")", "[", "]", ",", "=", "==", '"', "'", "#", " # x\n", "\\", '"\\u12', '"\\q"', "in [", "in []", "and"),
    *("request.path in [a]", "request.auth.claims[", "policy a in b", "9" * 5000, "-" * 100, "\u202e", "\0", "ä", "\x85", "a.b"),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Ward with a few pieces cut out, doubled, or put in."""
    text = TEXT
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from(["", text[start:end] * 2, *FRAGMENTS]) | st.text(max_size=3))
        text = text[:start] + piece + text[end:]
    return text.encode()


soup = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(lambda pieces: " ".join(pieces).encode())


@given(st.binary(max_size=200) | soup | mutated() | st.text(max_size=100).map(str.encode))
@example(b"\xff\xfe")
@example(b"# a\n")
@example(b"\xef\xbb\xbfpolicy a in b allow nothing")
@example(b'policy a in b allow to request.path in ["' + b"\\" * 9999)
@example(b"mtls a in b strict but port " + b"9" * 9999 + b" strict")
@example(b"tokens a in b accept issuer x timeout " + b"9" * 9999 + b"s")
@example(b"policy a in b allow from " + b"(" * 9999)
@example(b"policy a in b allow to request.path in " + b"x" * 9999)
@example(b"policy a in b allow request.headers[" + b"x" * 9999 + b"] in [a]")
@example(b"policy a in b allow from " + b"x." * 9999 + b"x in [a]")
def test_reading_ward_is_total_and_whatever_it_finds_can_be_shown(data: bytes) -> None:
    found = parse_manifests([("f.ward", data), ("g.ward", data)])
    for problem in found.diagnostics:
        shown = render(problem, found.texts.get(problem.span.file))
        assert all(character.isprintable() or character == "\n" for character in shown)
        assert shown.count("\n") <= 3
        assert len(shown) < 3000
        assert problem.span.line >= 1
        assert problem.span[1:3] <= problem.span[3:5]
    for each in meaning(found):
        assert each.spans[()]
    try:
        assert format_manifest(data, "f.ward").text is not None
    except PolicySyntaxError:
        assert found.errors


# Tests of the tests -------------------------------------------------------------------------------------------------------

Plant = Callable[[pytest.MonkeyPatch], None]


def forget_what_is_unwanted(patch: pytest.MonkeyPatch) -> None:
    original = ward_printer._asked
    patch.setattr(ward_printer, "_asked", lambda key, wanted, _, *paths: original(key, wanted, (), *paths))


def leave_quotes_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ward_printer, "_value", lambda text: text or '""')


def take_all_for_a_label(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ward_printer, "_label", ward_printer._name)


def forget_the_dry_run(patch: pytest.MonkeyPatch) -> None:
    original = ward_printer._rules
    patch.setattr(ward_printer, "_rules", lambda policy: original(replace(policy, dry_run=False)))


def merge_the_last_two_rules(patch: pytest.MonkeyPatch) -> None:
    original = ward_printer._rules

    def rules(policy: Policy) -> Iterator[ward_printer._Line]:
        *others, last = policy.rules or (Rule(),)
        yield from original(replace(policy, rules=(*others[:-1], last)))

    patch.setattr(ward_printer, "_rules", rules)


PRINTING = (
    forget_what_is_unwanted,
    leave_quotes_out,
    take_all_for_a_label,
    forget_the_dry_run,
    merge_the_last_two_rules,
)
SAMPLES = tuple(random_resource(Random(seed), "p") for seed in range(100))


@pytest.mark.parametrize("plant", PRINTING, ids=lambda plant: plant.__name__)
def test_the_law_of_printing_notices(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    with pytest.raises((AssertionError, PolicySyntaxError)):
        check_inversion_of_many()


def check_inversion_of_many() -> None:
    for each in (*SAMPLES, PeerAuthentication(namespace="a", name="b", selector={"all": "x"})):
        check_inversion(each)


def write_another_value(patch: pytest.MonkeyPatch) -> None:
    original = yaml_writer._Writer._scalar

    def scalar(self: yaml_writer._Writer, node: Scalar, indent: int, **options: Any) -> list[str]:
        return [line.replace("/a", "/b") for line in original(self, node, indent, **options)]

    patch.setattr(yaml_writer._Writer, "_scalar", scalar)


def lose_a_yaml_comment(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(formatting, "yaml_remarks", lambda *where: yaml_remarks(*where)[1:])


def lose_a_ward_comment(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ward_printer, "_put", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("plant", "to", "what"),
    [
        (write_another_value, Syntax.YAML, "meaning"),
        (forget_what_is_unwanted, Syntax.WARD, "meaning"),
        (lose_a_yaml_comment, Syntax.YAML, "comment"),
        (lose_a_ward_comment, Syntax.WARD, "comment"),
    ],
)
def test_a_formatter_gone_wrong_writes_nothing(
    plant: Plant, to: Syntax, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# a\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}\nspec:\n"
    text += '  rules:\n  # b\n  - to: [{operation: {paths: ["/*"], notPaths: [/a]}}]\n'
    assert formatted(text, Syntax.YAML, to)
    plant(monkeypatch)
    with pytest.raises(FormatError, match=f"{what}.*, so it is left alone"):
        formatted(text, Syntax.YAML, to)
