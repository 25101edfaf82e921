"""What importing the package brings along."""

import subprocess
import sys


def test_who_fetches_nothing_pays_for_no_http_client() -> None:
    code = "import sys, authn; print(sorted({'httpx', 'tenacity', 'ssl', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # ours
    assert done.stdout.strip() in {"[]", "['ssl']"}  # PyJWT has a fetcher of its own, which nobody calls
