"""SARIF 2.1.0: diagnostics as code scanning takes them, GitHub's among others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import quote

import orjson

from authz.span import Span
from parser.diagnostics import Diagnostic, Severity
from parser.excerpt import visible

__all__ = ["Rule", "write_sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a code stands for: a sentence about it where there is one, what leads to more in Markdown, and the address of its page where it has one."""

    text: str
    summary: str | None = None
    page: str | None = None


def write_sarif(diagnostics: Iterable[Diagnostic], rules: Mapping[str, Rule], *, version: str) -> bytes:
    """One run of meshward of this `version` that found `diagnostics`; `rules` describes their codes, as far as it knows them."""
    found = list(diagnostics)
    codes = list(dict.fromkeys(diagnostic.code for diagnostic in found))
    numbers = {code: number for number, code in enumerate(codes)}
    document = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "meshward",
                        "version": version,
                        "rules": [_rule(code, rules.get(code)) for code in codes],
                    }
                },
                # Not the UTF-16 units that it would be otherwise.
                "columnKind": "unicodeCodePoints",
                "results": [_result(diagnostic, numbers[diagnostic.code]) for diagnostic in found],
            }
        ],
    }
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_INDENT_2)


def _rule(code: str, rule: Rule | None) -> dict[str, object]:
    if rule is None:
        return {"id": code}
    return {
        "id": code,
        **({} if rule.summary is None else {"shortDescription": {"text": rule.summary}}),
        "help": {"text": rule.text, "markdown": rule.text},
        **({} if rule.page is None else {"helpUri": rule.page}),
    }


def _result(diagnostic: Diagnostic, number: int) -> dict[str, object]:
    remedy = "" if diagnostic.help is None else f"\n{visible(diagnostic.help)}"
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": number,
        "level": _LEVELS[diagnostic.severity],
        "message": {"text": visible(diagnostic.message) + remedy},
        "locations": [{"physicalLocation": _location(diagnostic.span)}],
    }


def _location(span: Span) -> dict[str, object]:
    return {
        "artifactLocation": {"uri": _uri(span.file)},
        "region": {
            "startLine": span.line,
            "startColumn": span.column,
            "endLine": span.end_line,
            "endColumn": span.end_column,
        },
    }


def _uri(file: str) -> str:
    # A name need not be text, and its bytes are what a URI escapes.
    path = quote(PurePath(file).as_posix().encode(errors="surrogateescape"))
    return f"file://{path}" if path.startswith("/") else path
