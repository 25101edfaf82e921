"""Aim: what a pull request changes is told exactly within a second for a thousand rules, where solvers of strings take half a minute or give up.

A process of its own for each figure, from the policies to the words. The mesh has 500 workloads of 20 policies each, about which twenty
invariants are proved. The peers get two versions of which the second leaves out rules that others cover, in their own theory, and must only say whether anything is newly denied;
ours says so of what is newly allowed, too, on HTTP and on TCP.
"""

import json
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.row import Better, Row

ROUNDS = 3
SIZES = (10, 100, 1_000)
PATIENCE = 60.0
_OURS = """
import json, resource, sys, time
from authz.attributes import Protocol
from authz.workload import Workload
from authz.mesh_config import MeshConfig
from authz.invariants import Assumed
from benchmarks.apart import versions
from mesh.comparing import compare
from mesh.snapshot import Snapshot
kind, size = sys.argv[1], int(sys.argv[2])
old, new = getattr(versions, kind)(size) if kind != "renamed" else (p := versions.mixed_policies(size), versions.renamed(p))
snapshots = [
    Snapshot(policies=each, workloads=(Workload(namespace="shop", name="api"),), config=MeshConfig(), revision="")
    for each in (old, new)
]
started = time.perf_counter()
found = compare(*snapshots, assumed=Assumed())
seconds = time.perf_counter() - started
assert bool(found.differences) is (kind == "mixed_versions")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"seconds": round(seconds, 3), "peak_mb": peak, "differences": len(found.differences)}))
"""
_MESH = """
import json, sys, time
from authz.invariants import Always, Assumed, Callers, Never, Only, Requests
from authz.mesh_config import MeshConfig
from authz.model import Action, Operation, Policy, Rule, Source
from authz.span import Span
from authz.workload import Workload
from mesh.proving.proofs import Status, prove
from mesh.snapshot import Snapshot
workloads, policies = [], []
for n in range(500):
    namespace, app = f"team-{n % 50}", f"app-{n}"
    workloads.append(Workload(namespace=namespace, name=app, labels={"app": app}, ports=(8080,)))
    for k in range(20):
        source = Source(principals=(f"cluster.local/ns/team-{(n + k) % 50}/sa/web-{k}",))
        operation = Operation(paths=(f"/api/v{k}/*", f"/{app}/{k}"), methods=(("GET", "POST")[k % 2],))
        action = Action.DENY if k % 10 == 9 else Action.ALLOW
        source = Source(not_namespaces=("ops",)) if action is Action.DENY else source
        operation = Operation(paths=(f"/admin/{k}/*",)) if action is Action.DENY else operation
        policies.append(Policy(namespace=namespace, name=f"{app}-{k}", action=action, selector={"app": app},
                               rules=(Rule(sources=(source,), operations=(operation,)),)))
here = Span("", 1, 1, 1, 1)
admin = Operation(paths=("/admin/9/*", "/admin/19/*"))
invariants = [
    Never(id="a", span=here, callers=Callers(without=Callers(source=Source(namespaces=("ops",)))), requests=Requests(operation=admin)),
    Never(id="b", span=here, callers=Callers(plaintext=True)),
    *[Never(id=f"c{n}", span=here, callers=Callers(source=Source(namespaces=(f"evil-{n}",)))) for n in range(9)],
    *[Only(id=f"d{n}", span=here, callers=Callers(source=Source(service_accounts=tuple(f"team-{m}/web-{n}" for m in range(50)))),
           requests=Requests(operation=Operation(paths=(f"/api/v{n}/x",)))) for n in range(9)],
]
snapshot = Snapshot(policies=policies, workloads=workloads, config=MeshConfig(), revision="")
started = time.perf_counter()
proofs = list(prove(snapshot, invariants, assumed=Assumed(), baselines=lambda name: snapshot))
seconds = time.perf_counter() - started
assert len(proofs) == 20 and all(each.status is Status.PROVED for each in proofs), [(p.invariant.id, p.status) for p in proofs]
print(json.dumps({"seconds": round(seconds, 2), "questions": sum(each.questions for each in proofs)}))
"""


def _seconds(name: str, result: Any) -> float:
    return float(result[name]["seconds"])


def _beside(peer: str, result: Any) -> float | None:
    theirs = result["peers"].get(peer, {}).get("1000")
    return None if theirs is None else round(theirs["seconds"] / result["peers"]["meshward"]["1000"]["seconds"], 1)


ROWS = (
    Row("diff of 1,000 mixed rules, one changed: regions and witnesses", 1, partial(_seconds, "diff_1000"), "s"),
    Row("diff of 10,000 mixed rules, one changed", 15, partial(_seconds, "diff_10000"), "s"),
    Row("memory of that", 1000, lambda result: float(result["diff_10000"]["peak_mb"]), "MB"),
    Row("the same 1,000 rules, renamed and reordered: proved the same", 1, partial(_seconds, "same_1000"), "s"),
    Row("20 invariants of a mesh of 500 workloads with 20 policies each", 10, partial(_seconds, "mesh"), "s"),
    Row(
        "cvc5 beside ours, 1,000 rules of strings: are those left out covered",
        30,
        partial(_beside, "cvc5"),
        "times",
        Better.MORE,
    ),
    Row(
        "z3 beside ours, 1,000 rules of strings: are those left out covered",
        30,
        partial(_beside, "z3"),
        "times",
        Better.MORE,
    ),
)


def measure() -> dict[str, object]:
    """Seconds of each, medians; what the peers say, and after how long; who takes longer than a minute was stopped."""
    return {
        "diff_1000": _median(_OURS, "mixed_versions", 1_000),
        "diff_10000": _median(_OURS, "mixed_versions", 10_000, rounds=1),
        "same_1000": _median(_OURS, "renamed", 1_000),
        "mesh": _median(_MESH),
        "peers": {
            "meshward": {str(size): _median(_OURS, "redundant_versions", size) for size in SIZES},
            **{peer: {str(size): _peer(peer, size) for size in SIZES} for peer in ("cvc5", "z3")},
        },
    }


def _median(code: str, *arguments: object, rounds: int = ROUNDS) -> dict[str, Any]:
    found = [json.loads(_run(["-c", code, *map(str, arguments)])) for _ in range(rounds)]
    times = [each["seconds"] for each in found]
    return {**found[0], "rounds": times, "seconds": statistics.median(times)}


def _peer(peer: str, size: int) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(_run(["-m", "benchmarks.apart.smt", peer, str(size), str(PATIENCE)]))
    except subprocess.TimeoutExpired:
        return {"seconds": 2 * PATIENCE, "answer": "stopped"}
    return found


def _run(arguments: list[str]) -> str:
    return subprocess.run(  # noqa: S603  # ours
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=2 * PATIENCE,
    ).stdout
