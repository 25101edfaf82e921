"""What reports are held to that other programs read: the schemas of JUnit and of SARIF, and what a picture must be.

`junit.xsd` is ours. `sarif-2.1.0-rtm.5.json` is OASIS's, as the package @microsoft/jest-sarif carries it.
"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import xmlschema

__all__ = ["SARIF", "JUnitSchema", "junit_in", "picture_in", "sarif_in"]

_HERE = Path(__file__).parent
JUnitSchema = xmlschema.XMLSchema(_HERE / "junit.xsd")
_SARIF_SCHEMA = json.loads((_HERE / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
SARIF = jsonschema.validators.validator_for(_SARIF_SCHEMA)(_SARIF_SCHEMA)
_SVG = "{http://www.w3.org/2000/svg}svg"


def junit_in(written: bytes) -> ET.Element:
    """The report, if it is one of the schema."""
    root = ET.fromstring(written)  # noqa: S314  # our own
    JUnitSchema.validate(root)
    return root


def sarif_in(written: bytes) -> dict[str, Any]:
    """The log, if it is one of the schema."""
    document: dict[str, Any] = json.loads(written)
    SARIF.validate(document)
    return document


def picture_in(written: bytes) -> ET.Element:
    """The picture, if it is XML, and SVG."""
    root = ET.fromstring(written)  # noqa: S314  # our own
    assert root.tag == _SVG
    return root
