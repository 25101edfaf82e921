"""The scenes of the demo: who asks for what, and which rule of `policies/shop` must decide it."""

from dataclasses import dataclass

from authz.decision import Verdict
from demo.shop import Call, Caller, HttpCall, TcpCall

__all__ = ["SCENES", "Change", "Edit", "Expected", "Scene", "StopServer"]


@dataclass(frozen=True, slots=True)
class Edit:
    """Somebody edits a policy file, and the server takes it up."""

    file: str
    old: str
    new: str
    summary: str

    def __str__(self) -> str:
        return f"{self.file}: {self.summary}"


@dataclass(frozen=True, slots=True)
class StopServer:
    """Meshward itself is gone."""

    def __str__(self) -> str:
        return "meshward is stopped"


Change = Edit | StopServer


@dataclass(frozen=True, slots=True)
class Expected:
    """The verdict, and the rule that decides as policy and index; `None` where the silence of all rules does."""

    verdict: Verdict
    policy: str | None = None
    rule: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """One call and what must become of it; `before` happens first, and lasts."""

    caller: Caller
    call: Call
    expected: Expected
    before: Change | None = None


_DENY_BY_DEFAULT = Expected(Verdict.DENY)
_ADMIN_ONLY_FOR_OPS = Expected(Verdict.DENY, "shop/admin-only-for-ops", 0)
_BROWSING = Expected(Verdict.ALLOW, "shop/api-for-web", 0)
_ORDERING = Expected(Verdict.ALLOW, "shop/api-for-web", 1)

SCENES: tuple[Scene, ...] = (
    # By method, path and who calls.
    Scene(Caller.WEB, HttpCall("GET", "/items?page=2"), _BROWSING),
    Scene(Caller.WEB, HttpCall("DELETE", "/items/7"), _DENY_BY_DEFAULT),
    Scene(Caller.WEB, HttpCall("GET", "/items/internal/costs"), Expected(Verdict.DENY, "shop/no-internal-items", 0)),
    Scene(Caller.NOBODY, HttpCall("GET", "/items"), _DENY_BY_DEFAULT),
    # By header. Each line of a repeated header counts on its own; a comma inside one line separates nothing.
    Scene(Caller.WEB, HttpCall("POST", "/orders"), _DENY_BY_DEFAULT),
    Scene(Caller.WEB, HttpCall("POST", "/orders", (("x-role", "buyer"),)), _ORDERING),
    Scene(Caller.WEB, HttpCall("POST", "/orders", (("x-role", "guest"), ("x-role", "buyer"))), _ORDERING),
    Scene(Caller.WEB, HttpCall("POST", "/orders", (("x-role", "guest,buyer"),)), _DENY_BY_DEFAULT),
    # Administration, and ways around the word.
    Scene(Caller.ADMIN, HttpCall("GET", "/admin/users"), Expected(Verdict.ALLOW, "shop/api-for-ops", 0)),
    Scene(Caller.WEB, HttpCall("GET", "/admin/users"), _ADMIN_ONLY_FOR_OPS),
    Scene(Caller.WEB_PAST_SIDECAR, HttpCall("GET", "/items/../admin/users"), _ADMIN_ONLY_FOR_OPS),
    Scene(Caller.WEB_PAST_SIDECAR, HttpCall("GET", "//admin/users"), _ADMIN_ONLY_FOR_OPS),
    Scene(Caller.WEB_PAST_SIDECAR, HttpCall("GET", "/%61dmin/users"), _ADMIN_ONLY_FOR_OPS),
    # TCP: only who calls is known.
    Scene(Caller.API, TcpCall(), Expected(Verdict.ALLOW, "shop/db-for-api", 0)),
    Scene(Caller.WEB_PAST_SIDECAR, TcpCall(), _DENY_BY_DEFAULT),
    # While everything runs.
    Scene(
        Caller.WEB,
        HttpCall("DELETE", "/items/7"),
        _BROWSING,
        before=Edit("api.yaml", "methods: [GET, HEAD]", "methods: [GET, HEAD, DELETE]", "DELETE is added"),
    ),
    Scene(Caller.WEB, HttpCall("GET", "/items"), _DENY_BY_DEFAULT, before=StopServer()),
)
