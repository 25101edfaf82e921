"""Makes `ca/istio/ca_pb2.py` and its stub of `ca.proto` beside them: `python tools/istio_proto.py`. Needs grpcio-tools."""

import importlib.resources
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Compile it."""
    included = importlib.resources.files("grpc_tools") / "_proto"
    return int(
        protoc.main(
            [
                "protoc",
                f"--proto_path={ROOT}",
                f"--proto_path={included}",
                f"--python_out={ROOT}",
                f"--pyi_out={ROOT}",
                "ca/istio/ca.proto",
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(main())
