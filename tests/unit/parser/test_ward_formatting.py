"""Formatting, where people notice it: what stays as it is, where comments go, and what is refused."""

from textwrap import dedent, indent

import pytest

from parser.diagnostics import PolicySyntaxError
from parser.formatting import FormatError, Syntax, format_manifest

HEAD = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata:\n  name: a\n  namespace: shop\n"


def yaml(text: str) -> str:
    return format_manifest(dedent(text).encode(), "f.yaml").text


def ward(text: str, *, skip_others: bool = False) -> str:
    return format_manifest(dedent(text).encode(), "f.yaml", to=Syntax.WARD, skip_others=skip_others).text


def notes(text: str, to: Syntax | None = None) -> tuple[str, ...]:
    return format_manifest(dedent(text).encode(), "f.yaml", to=to).notes


def spec(text: str) -> str:
    """How the spec of a policy comes out."""
    written = yaml(HEAD + "spec:\n" + indent(dedent(text), "  ")).removeprefix(HEAD + "spec:\n")
    return dedent(written)


# YAML -------------------------------------------------------------------------------------------------------------------


def test_keys_come_in_the_order_in_which_people_read_them() -> None:
    text = """\
    spec:
      rules:
      - when:
        - {notValues: [d], values: [c], key: connection.sni}
        to:
        - operation: {paths: [/b], notMethods: [GET], hosts: ["*"]}
        from:
        - source: {notNamespaces: [a], principals: ["*"]}
      action: ALLOW
      selector: {matchLabels: {rules: b, action: a}}
    metadata: {generation: 1, annotations: {spec: a, kind: b}, namespace: shop, labels: {spec: a}, name: a}
    kind: AuthorizationPolicy
    apiVersion: security.istio.io/v1
    """
    assert yaml(text) == dedent("""\
        apiVersion: security.istio.io/v1
        kind: AuthorizationPolicy
        metadata:
          name: a
          namespace: shop
          labels: {spec: a}
          annotations: {spec: a, kind: b}
          generation: 1
        spec:
          selector:
            matchLabels: {rules: b, action: a}
          action: ALLOW
          rules:
            - from:
                - source:
                    principals: ["*"]
                    notNamespaces: [a]
              to:
                - operation:
                    hosts: ["*"]
                    notMethods: [GET]
                    paths: [/b]
              when:
                - key: connection.sni
                  values: [c]
                  notValues: [d]
        """)


def test_values_stay_as_they_were_written() -> None:
    written = "['/a', \"/b\", /c, \"\\x2fd\", 'it''s']"
    found = spec(f"rules:\n- to:\n  - operation:\n      paths: {written}\n      hosts:\n      - a\n")
    assert found.endswith(f"- operation:\n          hosts:\n            - a\n          paths: {written}\n")


def test_a_list_that_does_not_fit_into_a_line_gets_a_line_for_each() -> None:
    values = [f"/some/long/path/number/{number}" for number in range(5)]
    found = spec(f"rules: [{{to: [{{operation: {{paths: [{', '.join(values)}]}}}}]}}]\n")
    assert found.endswith("paths:\n" + "".join(f"            - {value}\n" for value in values))


def test_a_text_of_several_lines_keeps_its_lines() -> None:
    text = HEAD.replace("AuthorizationPolicy", "RequestAuthentication") + dedent("""\
    spec:
        jwtRules:
        - issuer: b
          jwks: |   # the keys
                {"keys": [
                   {"kty": "RSA", "n": "AQAB",
                    "e": "AQAB"}]}
    """)
    assert yaml(text).endswith(
        'jwks: |  # the keys\n        {"keys": [\n           {"kty": "RSA", "n": "AQAB",\n            "e": "AQAB"}]}\n'
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "a"}}\n',
            "brackets",
        ),
        (HEAD.replace("name: a", "name: &a a") + "spec:   {selector: {matchLabels: {app: *a}}}\n", "anchors"),
        (HEAD + "spec:   {action: !!str ALLOW}\n", "tags"),
        (HEAD + "spec:   {selector: {matchLabels: {a: 'b\u2028c'}}}\n", "line breaks"),
    ],
)
def test_what_cannot_be_written_anew_with_care_is_left_as_it_is(text: str, why: str) -> None:
    found = format_manifest(text.encode(), "f.yaml")
    assert found.text == text
    (note,) = found.notes
    assert note.startswith("f.yaml:1:1: this AuthorizationPolicy has ")
    assert why in note


def test_documents_of_other_kinds_and_what_is_between_documents_stay_to_the_letter() -> None:
    other = "---  # other\nkind:   Secret\ndata: {a:   b}   # c\n...\n# between\n---\n\n# of a list\nkind: List\nitems:   []\n"
    for tail in ("", "---\n", "...\n", "--- # end\n"):
        assert yaml(HEAD + "spec:   {}\n" + other + tail) == HEAD + "spec: {}\n" + other + tail


def test_line_ends_stay_those_of_the_file() -> None:
    text = (HEAD + "spec:   {}\n").replace("\n", "\r\n")
    assert format_manifest(text.encode(), "f.yaml").text == text.replace("   ", " ")


# Comments ---------------------------------------------------------------------------------------------------------------


COMMENTED = """\
rules:  # beside the rules
# before the first
- to:
  - operation: {methods: [GET]}  # beside the operation
  # - operation: {methods: [PUT]}
  # before from
  from:
  -   # behind a dash
    source:
      namespaces:

      # before b


      - b  # beside b
      # after b
    # after the source
# about the action
action: ALLOW
"""


def test_comments_go_with_what_they_are_about() -> None:
    assert spec(COMMENTED) == dedent("""\
        # about the action
        action: ALLOW
        rules:  # beside the rules
          # before the first
          # before from
          - from:
              # behind a dash
              - source:
                  namespaces:
                    # before b

                    - b  # beside b
                    # after b
                # after the source
            to:
              - operation:  # beside the operation
                  methods: [GET]
              # - operation: {methods: [PUT]}
        """)


def test_comments_go_with_what_they_are_about_into_ward() -> None:
    assert ward("# above\n---\n" + HEAD + "spec:\n" + indent(COMMENTED, "  ") + "# below\n") == dedent("""\
        # above
        policy a in shop
          # before the first
          # before from
          # behind a dash
          # before b
          # beside b
          # about the action
          allow from source.namespace in [b]  # beside the rules
            # after b
            # after the source
            and to request.method in [GET]  # beside the operation
            # - operation: {methods: [PUT]}
        # below
        """)


def test_empty_lines_part_what_they_parted() -> None:
    assert spec("action: ALLOW\n\n\n\nrules:\n\n- {}\n\n\n- {}\n\n") == "action: ALLOW\n\nrules:\n  - {}\n\n  - {}\n"


def test_what_looks_like_a_comment_in_a_text_is_none() -> None:
    text = "rules:\n- when:\n  - {key: connection.sni, values: ['# a', \"b # c\", d#e]}  # f\n"
    assert spec(text).endswith("      # f\n      - key: connection.sni\n        values: ['# a', \"b # c\", d#e]\n")


# To ward and back -------------------------------------------------------------------------------------------------------


def test_what_ward_does_not_keep_is_told() -> None:
    text = HEAD.replace("  namespace: shop\n", "  labels: {b: c}\n  annotations: {d: e}\n") + "spec: {}\nstatus: {}\n"
    assert notes(text, Syntax.WARD) == (
        "default/a: it names no namespace, and ward says `in default`",
        "default/a: ward does not keep its `metadata.labels`, `metadata.annotations`, `status`",
    )
    kept = HEAD + '  annotations: {istio.io/dry-run: "true"}\nspec: {}\n'
    assert notes(kept, Syntax.WARD) == ()


def test_what_ward_cannot_say_is_counted_or_left_out() -> None:
    text = HEAD + "spec: {}\n---\nkind: Secret\n---\nkind: Secret\n---\na: b\n"
    with pytest.raises(FormatError, match=r"ward cannot say all that is in f\.yaml: 2 Secret, 1 no kind") as caught:
        ward(text)
    assert "--skip-others" in caught.value.help
    assert ward(text, skip_others=True) == "policy a in shop\n  allow nothing\n"


def test_the_policies_of_a_list_are_said_with_their_comments() -> None:
    first = indent(HEAD + "spec: {}", "  ").replace("  api", "- api", 1)
    text = f"kind: List\nitems:\n# about a\n{first}\n# about b\n{first.replace('name: a', 'name: b')}\n"
    assert ward(text) == dedent("""\
        # about a
        policy a in shop
          allow nothing

        # about b
        policy b in shop
          allow nothing
        """)
    assert yaml(text) == text


def test_files_with_errors_are_refused_with_all_of_them() -> None:
    with pytest.raises(PolicySyntaxError) as caught:
        yaml(HEAD + "spec: {action: ALOW, rulez: []}\n---\n'\n")
    assert [each.code for each in caught.value.diagnostics] == ["unknown-value", "unknown-field", "yaml-syntax"]


def test_a_comment_that_ward_would_not_read_keeps_the_file_from_being_converted() -> None:
    with pytest.raises(FormatError, match=r"cannot be read.*U\+202E"):
        ward(HEAD + "spec: {}  # \u202e\n")


def test_only_comments_stay_only_comments() -> None:
    for text in ("# a\n", "# a\n---\n# b\n", "---\n"):
        assert yaml(text) == text
    assert format_manifest(b"# a\n", "f.ward").text == "# a\n"
    assert format_manifest(b"# a\n", "f.ward", to=Syntax.YAML).text == "# a\n"
