"""Aim: 10,000 policies are loaded from YAML in a few seconds, in one file each or in files of a hundred.

A process of its own loads each time, as `meshward` does when it starts: it reads, checks and compiles for 2,000 workloads in 200
namespaces. The floor is one that only makes Python objects of the same files, with PyYAML's fastest loader. Both run in turn, so
that the ratio holds when the machine's speed drifts.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.row import Row

ROOT = Path(__file__).parents[1]
POLICIES = 10_000
NAMESPACES = 200
APPS = 10
ROUNDS = 5
LOAD = """
import json, resource, sys, time
from mesh.directory import DirectoryStore
started = time.perf_counter(), time.process_time()
loaded = DirectoryStore(sys.argv[1:]).load()
seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
assert len(loaded.snapshot.policies) == 10_000 and not loaded.warnings
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "peak_mb": peak}))
"""
FLOOR = """
import json, sys, time, yaml
from pathlib import Path
started = time.perf_counter()
documents = [d for path in sorted(Path(sys.argv[1]).rglob("*.yaml")) for d in yaml.load_all(path.read_bytes(), yaml.CSafeLoader)]
print(json.dumps({"seconds": round(time.perf_counter() - started, 2)}))
"""


ROWS = (
    Row(
        "loading 10,000 policies, a file each",
        6,
        lambda result: float(result["policies_in_one_file_each"]["seconds"]),
        "s",
    ),
    Row(
        "loading 10,000 policies, files of a hundred",
        6,
        lambda result: float(result["policies_in_files_of_a_hundred"]["seconds"]),
        "s",
    ),
)


def measure() -> dict[str, object]:
    """For both layouts the seconds of each round, their median, the memory at most, and the median of the ratios."""
    return {"policies_in_one_file_each": _measure(1), "policies_in_files_of_a_hundred": _measure(100)}


def _measure(together: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as name:
        write_mesh(Path(name), together=together)
        rounds = [(_run(LOAD, name), _run(FLOOR, name)) for _ in range(ROUNDS)]
    return {
        "policies": POLICIES,
        "workloads": NAMESPACES * APPS,
        "rounds": [load for load, _ in rounds],
        "floor_seconds": [floor["seconds"] for _, floor in rounds],
        "seconds": statistics.median(load["seconds"] for load, _ in rounds),
        "cpu_seconds": statistics.median(load["cpu_seconds"] for load, _ in rounds),
        "peak_mb": max(load["peak_mb"] for load, _ in rounds),
        "times_the_floor": round(statistics.median(load["seconds"] / floor["seconds"] for load, floor in rounds), 2),
    }


def _run(program: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, cwd=ROOT)  # noqa: S603  # ours
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write_mesh(directory: Path, *, together: int = 1) -> None:
    """Write the manifests of a large mesh, `together` policies in a file."""
    policies = list(_policies(random.Random(1)))
    for first in range(0, POLICIES, together):
        folder = directory / f"team-{first % NAMESPACES:03}" if together == 1 else directory
        folder.mkdir(exist_ok=True)
        (folder / f"policy-{first:05}.yaml").write_text("---\n".join(policies[first : first + together]))
    for namespace in range(NAMESPACES):
        workloads = "---\n".join(_workload(f"team-{namespace:03}", f"app-{app}") for app in range(APPS))
        (directory / f"workloads-{namespace:03}.yaml").write_text(workloads)


def _policies(generator: random.Random) -> Iterator[str]:
    for number in range(POLICIES):
        first, second = (
            f"cluster.local/ns/team-{generator.randrange(NAMESPACES):03}/sa/app-{generator.randrange(APPS)}"
            for _ in range(2)
        )
        yield f"""apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: policy-{number}
  namespace: team-{number % NAMESPACES:03}
spec:
  selector:
    matchLabels:
      app: app-{generator.randrange(APPS)}
  action: {"DENY" if number % 5 == 0 else "ALLOW"}
  rules:
  - from:
    - source:
        principals: ["{first}", "{second}"]
    to:
    - operation:
        methods: [GET, POST]
        ports: ["8080"]
        paths: ["/v1/items{number}", "/v1/things{number}/*"]
    when:
    - key: request.headers[x-tier]
      values: [gold, "t{number}"]
"""


def _workload(namespace: str, app: str) -> str:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: {app}, namespace: {namespace}}}
spec:
  template:
    metadata: {{labels: {{app: {app}, version: v1}}}}
    spec: {{serviceAccountName: {app}, containers: [{{name: c, image: x, ports: [{{containerPort: 8080}}]}}]}}
"""
