"""Claim: `meshward check --requests` decides tens of thousands of requests a second on one core.

The whole command is measured, start to end, on `policies/shop`; the floor is a process that only reads the same lines as JSON
and writes an answer of the same size. Both run in turn, so that the ratio holds when the machine's speed drifts.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
REQUESTS = 100_000
ROUNDS = 5
FLOOR = """
import sys, orjson
answer = {"verdict": "ALLOW", "status": 200, "stage": "allow", "action": "ALLOW", "policy": "shop/api-for-web", "rule": 0,
          "reason": "an ALLOW rule matches", "dry_run": {"deny": None, "allow": None}, "audit": False, "revision": "0" * 12}
for line in open(sys.argv[1], "rb"):
    orjson.loads(line)
    sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
"""


def measure() -> dict[str, object]:
    """Seconds of each round of both, requests a second by the median, and the median of the ratios."""
    with tempfile.TemporaryDirectory() as directory:
        requests = Path(directory) / "requests.jsonl"
        requests.write_text("".join(_requests(random.Random(1))))
        check = [sys.executable, "-P", "-c", "import sys; from cli.main import run; sys.exit(run())", "check"]
        check += [str(ROOT / "policies/shop"), "--requests", str(requests), "-o", "json"]
        floor = [sys.executable, "-c", FLOOR, str(requests)]
        rounds = [(_seconds(check), _seconds(floor)) for _ in range(ROUNDS)]
    return {
        "requests": REQUESTS,
        "check_seconds": [round(a, 3) for a, _ in rounds],
        "floor_seconds": [round(b, 3) for _, b in rounds],
        "requests_a_second": round(REQUESTS / statistics.median(a for a, _ in rounds)),
        "times_the_floor": round(statistics.median(a / b for a, b in rounds), 1),
    }


def _requests(generator: random.Random) -> list[str]:
    return [
        json.dumps(
            {
                "workload": "shop/api",
                "source": {"principal": "spiffe://cluster.local/ns/shop/sa/web", "ip": "10.1.2.3"},
                "request": {
                    "method": generator.choice(["GET", "POST"]),
                    "path": f"/items/{generator.randrange(1000)}?page=2",
                    "host": "api.shop:8080",
                    "headers": {"x-role": ["user", "admin"], "accept": "*/*"},
                },
            }
        )
        + "\n"
        for _ in range(REQUESTS)
    ]


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)  # noqa: S603  # ours
    return time.perf_counter() - started
