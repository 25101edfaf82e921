"""Generate the modules of the protocols that meshward carries itself: `python tools/generate_protos.py`, with the extra `dev`.

What it writes is checked in, so that whoever installs meshward needs no compiler.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
PROTOS = ("ca/istio/ca.proto",)


def main() -> int:
    """Write `_pb2.py` and `_pb2.pyi` beside each."""
    well_known = files("grpc_tools") / "_proto"
    return protoc.main(["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={ROOT}", f"--pyi_out={ROOT}", *PROTOS])


if __name__ == "__main__":
    sys.exit(main())
