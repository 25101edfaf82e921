"""Makes `ca/workload_api/workload.binpb` of `workload.proto` beside it: `python tools/workload_proto.py`. Needs grpcio-tools."""

import importlib.resources
import sys
from pathlib import Path

from grpc_tools import protoc

DIRECTORY = Path(__file__).parent.parent / "ca" / "workload_api"


def compile_to(target: Path) -> int:
    """Compile it, and what it imports: the pool that it goes into has nothing else. Returns 0 if all is well."""
    included = importlib.resources.files("grpc_tools") / "_proto"
    return int(
        protoc.main(
            [
                "protoc",
                f"--proto_path={DIRECTORY}",
                f"--proto_path={included}",
                "--include_imports",
                f"--descriptor_set_out={target}",
                "workload.proto",
            ]
        )
    )


if __name__ == "__main__":
    sys.exit(compile_to(DIRECTORY / "workload.binpb"))
