"""Ward beside YAML: the grammar, the layout, and files of it among others."""

import logging
from importlib.resources import files
from textwrap import dedent

import pytest
from lark import Lark, logger

from authz.model import Action, Condition, Operation, Policy, Rule, Source, TargetRef
from authz.peer_authentication import MtlsMode, PeerAuthentication
from authz.request_authentication import ClaimToHeader, JwtRule, Presence, RequestAuthentication, TokenHeader
from parser.diagnostics import PolicySyntaxError
from parser.manifests import Manifests, parse_manifests
from parser.resource_document import Resource
from parser.ward import parse_ward
from parser.ward_printer import WIDTH, clause, print_condition, print_issuer, print_part, print_ward
from parser.ward_text import MAX_WARD, is_ward
from parser.ward_words import TERMINALS, WORDS
from tests.unit.parser.documents import policy_text

GRAMMAR = files("parser").joinpath("ward.lark").read_text(encoding="utf-8")


def manifests(text: str) -> Manifests:
    return parse_manifests([("f.ward", dedent(text).encode())])


# The grammar ----------------------------------------------------------------------------------------------------------


def conflicts(grammar: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What can be read in two ways: lark chooses one of them, and says so only here."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger=logger.name):
        Lark(grammar, parser="lalr", lexer="contextual", debug=True)
    return [record.getMessage() for record in caplog.records if "onflict" in record.getMessage()]


def test_nothing_can_be_read_in_two_ways(caplog: pytest.LogCaptureFixture) -> None:
    assert conflicts(GRAMMAR, caplog) == []
    # Without its parentheses, `or` would end the places of a token, or not.
    ambiguous = GRAMMAR.replace('(place | "(" place (_OR place)+ ")")', "place (_OR place)*")
    assert ambiguous != GRAMMAR
    assert conflicts(ambiguous, caplog) != []


def test_messages_have_words_for_every_terminal() -> None:
    parser = Lark(GRAMMAR, parser="lalr", lexer="contextual")
    terminals = {terminal.name for terminal in parser.terminals} - set(parser.ignore_tokens) - {"_END"}
    assert terminals <= TERMINALS.keys()
    assert {TERMINALS[name].strip("`") for name in terminals} >= set(WORDS)


# The layout -----------------------------------------------------------------------------------------------------------


def rules(*several: Rule, **others: object) -> Policy:
    return Policy(namespace="shop", name="a", rules=several, **others)  # type: ignore[arg-type]  # whatever a test needs


LAYOUTS: dict[str, Resource] = {
    """\
    policy a in shop
      allow nothing
    """: rules(),
    """\
    policy a in shop for app=api and version="v 1"
      dry-run deny everything
    """: rules(Rule(), action=Action.DENY, selector={"app": "api", "version": "v 1"}, dry_run=True),
    """\
    policy a in shop at Gateway public or Service api of core in pay
      custom by ext to request.path in ["/a"]
      or custom to request.path in ["/b"]
    """: rules(
        Rule(operations=(Operation(paths=("/a",)),)),
        Rule(operations=(Operation(paths=("/b",)),)),
        action=Action.CUSTOM,
        provider="ext",
        target_refs=(
            TargetRef(kind="Gateway", name="public", group="gateway.networking.k8s.io"),
            TargetRef(kind="Service", name="api", group="core", namespace="pay"),
        ),
    ),
    """\
    policy a in shop
      allow from source.namespace in [ops, "o*"] but not in [old] and not source.ip in ["10.0.0.0/8"]
        and to request.method in [GET] and destination.port in [8080]
        and when request.headers[x-a] in ["b c"] and "odd key" in [d]
    """: rules(
        Rule(
            sources=(Source(namespaces=("ops", "o*"), not_namespaces=("old",), not_ip_blocks=("10.0.0.0/8",)),),
            operations=(Operation(methods=("GET",), ports=("8080",)),),
            conditions=(
                Condition(key="request.headers[x-a]", values=("b c",)),
                Condition(key="odd key", values=("d",)),
            ),
        )
    ),
    """\
    policy a in shop
      allow from (source.namespace in [a] or (source.namespace in [b] and source.ip in [c]) or anyone)
      or allow when a.b in []
    """: rules(
        Rule(sources=(Source(namespaces=("a",)), Source(namespaces=("b",), ip_blocks=("c",)), Source())),
        Rule(conditions=(Condition(key="a.b"),)),
    ),
    """\
    policy a in shop
      deny
        from (
          source.principal in ["cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/batch"]
          or (
            source.principal in ["cluster.local/ns/ops/sa/administration"]
            and not source.ip in ["198.51.100.0/24"]
          )
        )
        and to request.path in [
          "/a/rather/long/path/that/goes/on",
          "/another/rather/long/path",
          "/and/a/third/one/to/fill/the/line"
        ] but not in [
          "/a/rather/long/path/that/goes/on/and/on"
        ]
        and when
          request.headers[x-a-header-with-a-name] in [value]
          and request.headers[x-another-header-with-a-name] in [value]
    """: rules(
        Rule(
            sources=(
                Source(principals=("cluster.local/ns/shop/sa/web", "cluster.local/ns/shop/sa/batch")),
                Source(
                    principals=("cluster.local/ns/ops/sa/administration",),
                    not_ip_blocks=("198.51.100.0/24",),
                ),
            ),
            operations=(
                Operation(
                    paths=(
                        "/a/rather/long/path/that/goes/on",
                        "/another/rather/long/path",
                        "/and/a/third/one/to/fill/the/line",
                    ),
                    not_paths=("/a/rather/long/path/that/goes/on/and/on",),
                ),
            ),
            conditions=(
                Condition(key="request.headers[x-a-header-with-a-name]", values=("value",)),
                Condition(key="request.headers[x-another-header-with-a-name]", values=("value",)),
            ),
        ),
        action=Action.DENY,
    ),
    """\
    tokens a in shop created 2026-01-02T03:04:05Z for all
      accept issuer https://idp.example
        audience in [shop]
        keys at https://idp.example/keys
        keys "{\\"keys\\": [\\n"
          "]}"
        found in (header x-a after "Token " or header x-b or parameter t or cookie "c d")
        timeout 1.5s
        token required
        forward token
        payload to header x-c
        claim a.b to header x-d
        claim e to header x-f
        split claims [g]
      or accept any issuer
        found in cookie t
    """: RequestAuthentication(
        namespace="shop",
        name="a",
        created="2026-01-02T03:04:05Z",
        selector={},
        jwt_rules=(
            JwtRule(
                issuer="https://idp.example",
                audiences=("shop",),
                jwks_uri="https://idp.example/keys",
                jwks='{"keys": [\n]}',
                from_headers=(TokenHeader(name="x-a", prefix="Token "), TokenHeader(name="x-b")),
                from_params=("t",),
                from_cookies=("c d",),
                forward_original_token=True,
                output_payload_to_header="x-c",
                output_claim_to_headers=(
                    ClaimToHeader(claim="a.b", header="x-d"),
                    ClaimToHeader(claim="e", header="x-f"),
                ),
                space_delimited_claims=("g",),
                timeout=1.5,
                presence=Presence.REQUIRED,
            ),
            JwtRule(from_cookies=("t",)),
        ),
    ),
    """\
    mtls a in shop for app=api
      unset
      but port 8080 strict
      but port 9090 disable
    """: PeerAuthentication(
        namespace="shop", name="a", selector={"app": "api"}, port_modes={8080: MtlsMode.STRICT, 9090: MtlsMode.DISABLE}
    ),
}


@pytest.mark.parametrize(("text", "resource"), LAYOUTS.items())
def test_a_policy_reads_like_this(text: str, resource: Resource) -> None:
    assert print_ward(resource) == dedent(text)
    assert parse_ward(dedent(text)) == (resource,)
    assert max(map(len, dedent(text).splitlines())) <= WIDTH


def test_a_single_expression_reads_as_it_does_in_a_policy() -> None:
    assert clause("request.path", ("/a", "b"), ("c d",)) == 'request.path in ["/a", b] but not in ["c d"]'
    assert clause("request.path", (), ("b",)) == "not request.path in [b]"
    assert print_condition(Condition(key="a b", values=("c",))) == '"a b" in [c]'
    part = Source(namespaces=("a",), not_principals=("*",))
    assert print_part(part) == 'not source.principal in ["*"] and source.namespace in [a]'
    assert print_part(Source()) == "anyone"
    assert print_part(Operation()) == "anything"
    assert print_issuer(JwtRule(issuer="a", audiences=("b",))) == "accept issuer a\n  audience in [b]\n"


def test_what_would_hide_is_escaped_and_read_again() -> None:
    resource = rules(Rule(conditions=(Condition(key="a.b", values=("\u202e", "\0", "\u2028", "e\u0301", "日")),)))
    text = print_ward(resource)
    assert '["\\u202e", "\\u0000", "\\u2028", "e\u0301", "日"]' in text
    assert parse_ward(text) == (resource,)


# Other ways to write the same -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        ("source.namespace not in [a]", "not source.namespace in [a]"),
        ("source.namespace in [a] and not source.namespace in [b]", "source.namespace in [a] but not in [b]"),
        ("source.namespace in [a, b,]", "source.namespace in [a, b]"),
        ('source.namespace in ["a"]', "source.namespace in [a]"),
        ('"source.namespace" in [a]', "source.namespace in [a]"),
        ("source.ip in [10.0.0.0/8, 2001:db8::1]", 'source.ip in ["10.0.0.0/8", "2001:db8::1"]'),
        ("(source.namespace in [a])", "source.namespace in [a]"),
        ("source.ip in [a] and source.namespace in [b]", "source.namespace in [b] and source.ip in [a]"),
        ("source.namespace in\n[a,\r\n # c\r\n b\r]", "source.namespace in [a, b]"),
    ],
)
def test_what_is_written_otherwise_is_printed_in_one_way(written: str, printed: str) -> None:
    (policy,) = parse_ward(f"policy a in b allow from {written}")
    assert print_ward(policy) == f"policy a in b\n  allow from {printed}\n"


def test_parts_come_in_any_order_and_conditions_in_several_pieces() -> None:
    (policy,) = parse_ward("policy a in b allow when c.d in [e] and to request.path in [f] and when g.h in [i]")
    assert print_ward(policy).endswith("allow to request.path in [f]\n    and when c.d in [e] and g.h in [i]\n")


def test_a_sharp_within_a_word_is_no_comment() -> None:
    with pytest.raises(PolicySyntaxError):
        parse_ward("policy a in b allow to request.path in [/c#d, /e]")
    with pytest.raises(PolicySyntaxError):
        # Cut short at the comment, the list would go on in the next line with another meaning.
        parse_ward("policy a in b allow to request.path in [/c#, /d\n]")
    (policy,) = parse_ward('policy a in b allow to request.path in ["/c#d"] # and so on')
    assert policy == Policy(namespace="b", name="a", rules=(Rule(operations=(Operation(paths=("/c#d",)),)),))


# Files ------------------------------------------------------------------------------------------------------------------


def test_files_of_ward_and_of_yaml_stand_beside_each_other() -> None:
    found = parse_manifests(
        [
            ("a.ward", b"policy a in shop allow nothing\nmtls a in shop strict\ntokens a in shop accept issuer b\n"),
            ("b.yaml", policy_text("{}", metadata="{name: b, namespace: shop}").encode()),
        ]
    )
    assert not found.diagnostics
    assert [policy.id for policy in found.policies] == ["shop/a", "shop/b"]
    assert [policy.id for policy in found.peer_authentications] == ["shop/a"]
    assert [policy.id for policy in found.request_authentications] == ["shop/a"]


def test_the_same_policy_in_both_is_there_twice() -> None:
    found = parse_manifests([("a.ward", b"policy web in shop allow nothing\n"), ("b.yaml", policy_text("{}").encode())])
    (problem,) = found.diagnostics
    assert (problem.code, problem.message) == ("duplicate-policy", "policy `shop/web` is here and at a.ward:1:8")


def test_places_are_those_of_the_ward_text() -> None:
    found = manifests(
        """\
        policy a in shop for app=api
          allow from source.ip in ["10.0.0.1"]
            and when source.namespace in [b] but not in [c]
        """
    )
    (policy,) = found.policies
    for path, place in {
        ("metadata", "name"): (1, 8, 9),
        ("spec", "selector", "matchLabels", "app"): (1, 22, 29),
        ("spec", "action"): (2, 3, 8),
        ("spec", "rules", 0, "from", 0, "source", "ipBlocks", 0): (2, 28, 38),
        ("spec", "rules", 0, "when", 0, "key"): (3, 14, 30),
        ("spec", "rules", 0, "when", 0, "notValues", 0): (3, 50, 51),
    }.items():
        span = policy.spans[path]
        assert (span.line, span.column, span.end_column) == place, path


@pytest.mark.parametrize(
    ("name", "text", "ward"),
    [
        ("a.ward", "kind: A", True),
        ("a.yaml", "policy a in b allow nothing", False),
        ("<stdin>", "# c\n\n  # d\npolicy a in b allow nothing", True),
        ("<stdin>", "\ufeffmtls a in b strict", True),
        ("<stdin>", "policy: a\n", False),
        ("<stdin>", "# policy a in b\nkind: A\n", False),
        ("/dev/fd/63", 'tokens "a b" in c', True),
        ("<stdin>", "", False),
    ],
)
def test_ward_is_known_by_its_name_or_else_by_how_it_begins(name: str, text: str, *, ward: bool) -> None:
    assert is_ward(name, text.encode()) is ward


def test_a_file_that_is_too_large_is_not_read() -> None:
    found = parse_manifests([("f.ward", b" " * (MAX_WARD + 1))])
    assert [each.code for each in found.diagnostics] == ["file-too-large"]


def test_bytes_that_are_not_utf_8_are_shown() -> None:
    found = parse_manifests([("f.ward", b"policy \xff in b allow nothing")])
    assert [(each.code, each.span.column) for each in found.diagnostics] == [("not-utf-8", 8)]


@pytest.mark.parametrize("text", ["", "\n", "# only this\n", "\ufeff# and a mark\n"])
def test_a_file_without_policies_has_none(text: str) -> None:
    assert manifests(text) == Manifests(files=1)
