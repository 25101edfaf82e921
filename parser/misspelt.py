"""Keys of Istio's mesh configuration that are not quite ours.

Of hundreds of keys, most are nothing to us, so an unknown one is left alone unless it must be one of ours, misspelt.
"""

from collections.abc import Iterable

from parser.decode import Decoder
from parser.diagnostics import quoted
from parser.problems import nearest
from parser.yaml_nodes import Scalar

__all__ = ["check_key"]

_VERY_NEAR = 0.9


def check_key(key: str, written: Scalar, ours: Iterable[str], where: str, decoder: Decoder) -> None:
    """Say so if `key`, found in `where`, is another spelling of one of `ours`."""
    if key in (known := tuple(ours)) or (near := nearest(key, known, cutoff=_VERY_NEAR)) is None:
        return
    message = f"unknown field {quoted(key)} in `{where}`"
    if key.replace("_", "").lower() == near.lower():
        # Istio reads the other spelling, too, so leaving it out would change verdicts.
        decoder.problems.error("unknown-field", message, written.span, help=f"write `{near}`")
        return
    decoder.problems.warning("unknown-field", message, written.span, help=f"did you mean `{near}`?")
