from textwrap import dedent

import pytest

from authz.extension_provider import GrpcProvider
from authz.mesh_config import MeshConfig, PathNormalization
from parser.mesh_config import parse_mesh_config
from tests.unit.parser.documents import manifests

CONFIG = """\
trustDomain: td.example
trustDomainAliases: [old.example, "*-legacy"]
rootNamespace: root
pathNormalization: {normalization: MERGE_SLASHES}
extensionProviders: [{name: x, envoyExtAuthzGrpc: {service: a, port: 1}}]
defaultConfig: {concurrency: 2, gatewayTopology: {numTrustedProxies: 2, forwardClientCertDetails: SANITIZE}}
somethingNew: [1, {2: 3}]
"""
READ = MeshConfig(
    trust_domain="td.example",
    trust_domain_aliases=("old.example", "*-legacy"),
    root_namespace="root",
    path_normalization=PathNormalization.MERGE_SLASHES,
    extension_providers=(GrpcProvider(name="x", service="a", port=1),),
    trusted_proxies=2,
)


def config_map(text: str, *, style: str = "|", name: str = "istio") -> str:
    lines = text.replace("\n", "\n    ").rstrip()
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: istio-system}}\ndata:\n  mesh: {style}\n    {lines}\n"


def operator(text: str) -> str:
    lines = text.replace("\n", "\n    ").rstrip()
    return f"apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\nmetadata: {{name: x}}\nspec:\n  profile: x\n  meshConfig:\n    {lines}\n"


@pytest.mark.parametrize(
    "text",
    [CONFIG, config_map(CONFIG), config_map(CONFIG, style="|-"), operator(CONFIG)],
    ids=["plain", "map", "strip", "operator"],
)
def test_it_is_read_from_wherever_it_is_kept(text: str) -> None:
    found = manifests(text)
    assert not found.diagnostics
    assert found.mesh_config == READ
    assert found.skipped == {}
    assert parse_mesh_config(text.encode(), "mesh.yaml") == (READ, [])


def test_json_is_read_as_well() -> None:
    text = (
        '{"trustDomain": "a", "extensionProviders": [{"name": "x", "envoyExtAuthzGrpc": {"service": "a", "port": 1}}]}'
    )
    expected = MeshConfig(trust_domain="a", extension_providers=(GrpcProvider(name="x", service="a", port=1),))
    assert parse_mesh_config(text.encode(), "mesh.json") == (expected, [])


def test_what_is_absent_or_null_has_istios_default() -> None:
    for text in (
        "trustDomain:\nrootNamespace: ~\npathNormalization: {}\n",
        "pathNormalization: {normalization: DEFAULT}\n",
    ):
        assert parse_mesh_config(text.encode(), "mesh.yaml") == (MeshConfig(), [])


def test_without_any_there_is_none() -> None:
    assert (
        manifests(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\ndata: {mesh: 'trustDomain: x'}\n"
        ).mesh_config
        is None
    )


@pytest.mark.parametrize("option", list(PathNormalization))
def test_every_normalization_has_its_name(option: PathNormalization) -> None:
    text = f"pathNormalization: {{normalization: {option.value}}}\n"
    assert parse_mesh_config(text.encode(), "mesh.yaml") == (MeshConfig(path_normalization=option), [])


@pytest.mark.parametrize(
    ("text", "code", "help_"),
    [
        ("trustDomain: 1", "wrong-type", 'quote it: "1"'),
        ("trustDomain: [a]", "wrong-type", None),
        ("trustDomain: ''", "empty-value", "write a name, or remove it for the default"),
        ("rootNamespace: ''", "empty-value", "write a name, or remove it for the default"),
        ("trustDomainAliases: a", "wrong-type", 'write it as a list: ["a"]'),
        ("trustDomainAliases: [1]", "wrong-type", 'quote it: "1"'),
        ("trustDomainAliases: ['']", "empty-value", "write a name, or remove it for the default"),
        ("pathNormalization: NONE", "wrong-type", "write the fields of `pathNormalization` below it, indented"),
        ("pathNormalization: {normalization: MERGE}", "unknown-value", None),
        ("pathNormalization: {normalization: merge_slashes}", "unknown-value", "did you mean `MERGE_SLASHES`?"),
        ("trust_domain: a", "unknown-field", "write `trustDomain`"),
    ],
)
def test_the_wrong_type_or_value_is_an_error(text: str, code: str, help_: str | None) -> None:
    text = "enableAutoMtls: true\n" + text
    for document in (text, operator(text), config_map(text)):
        config, problems = parse_mesh_config(document.encode(), "mesh.yaml")
        assert config is None
        assert [each.code for each in problems] == [code]
        assert help_ is None or problems[0].help == help_
        assert manifests(document).mesh_config is None


def test_a_key_misspelt_is_a_warning_for_there_are_hundreds_that_are_nothing_to_us() -> None:
    config, problems = parse_mesh_config(b"trustDomian: a\ntrustDomain: b\n", "mesh.yaml")
    assert config == MeshConfig(trust_domain="b")
    assert [(each.code, each.severity.value, each.help) for each in problems] == [
        ("unknown-field", "warning", "did you mean `trustDomain`?")
    ]


def test_a_problem_inside_the_text_of_a_config_map_is_shown_at_its_place_in_the_file() -> None:
    text = config_map("# c\ntrustDomain: ok\npathNormalization:\n  normalization: NON\n")
    (problem,) = manifests(text).diagnostics
    lines = text.split("\n")
    span = problem.span
    assert lines[span.line - 1][span.column - 1 : span.end_column - 1] == "NON"


@pytest.mark.parametrize("style", ['"trustDomain: [\\n\\n  1]"', ">\n    trustDomain:\n     1"])
def test_where_lines_are_not_kept_the_whole_text_is_the_place(style: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio}}\ndata:\n  mesh: {style}\n"
    (problem,) = manifests(text).diagnostics
    assert (problem.span.line, problem.span.column) == (5, 9)


def test_the_text_of_a_config_map_may_be_broken_yaml() -> None:
    (problem,) = manifests(config_map("trustDomain: 'x\n")).diagnostics
    assert (problem.code, problem.span.line, problem.span.column) == ("yaml-syntax", 6, 18)


def test_two_that_differ_are_an_error_and_two_that_agree_are_one() -> None:
    found = manifests("trustDomain: a\n---\ntrustDomain: a\n")
    assert found.mesh_config == MeshConfig(trust_domain="a")
    assert not found.diagnostics
    (problem,) = manifests("trustDomain: a\n---\ntrustDomain: b\n").diagnostics
    assert problem.code == "several-mesh-configs"
    assert "f.yaml:1:1" in problem.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-mesh-config"),
        ("kind: Pod\n", "bad-mesh-config"),
        ("trustDomain: a\n---\ntrustDomain: b\n", "bad-mesh-config"),
        ("a: 'x", "yaml-syntax"),
        ("- a\n", "wrong-type"),
    ],
)
def test_a_mesh_config_file_has_exactly_one(text: str, code: str) -> None:
    config, problems = parse_mesh_config(text.encode(), "mesh.yaml")
    assert config is None
    assert [each.code for each in problems] == [code]


def test_a_file_of_unknown_keys_only_is_one_with_the_defaults() -> None:
    assert parse_mesh_config(dedent("someNewKey: 1\n").encode(), "mesh.yaml") == (MeshConfig(), [])
