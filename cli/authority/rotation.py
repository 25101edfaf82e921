"""`meshward ca rotate`: replacing what signs, one supervised step after the other."""

import argparse
import time
from collections.abc import Iterable

from ca.authorities import Slot
from ca.phases import Pace, Phase, SlotKind
from ca.rotation import Wait, Waiting, shortened
from cli.authority.arguments import duration
from cli.authority.directory import AuthorityDirectory, add_directory_argument, operator
from cli.authority.opened import add_output_argument, moment, print_rows
from cli.command import Command, CommandError, ExitCode

__all__ = ["COMMAND", "STATUS", "TAINT"]

_HEAD = ("kind", "phase", "id", "made", "ends", "waits")
_LOOK_EVERY = 0.5


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=[kind.value for kind in SlotKind], help="what to replace")
    parser.add_argument(
        "--leave-behind",
        action="store_true",
        help="wait for no consumer that does not hold the new one yet: it will refuse what that signs until it does",
    )
    parser.add_argument(
        "--wait",
        type=duration,
        metavar="DURATION",
        help="stay until the new one signs, at most so long, and do its steps meanwhile; "
        "without it, a running `meshward ca serve` does them",
    )
    add_directory_argument(parser)


def _run(arguments: argparse.Namespace) -> ExitCode:
    directory, kind = AuthorityDirectory.of(arguments), SlotKind(arguments.kind)
    with directory.store() as store:
        supervisor = directory.office(store).supervisor
        changed = supervisor.hurry(
            kind, pace=Pace.REGARDLESS if arguments.leave_behind else Pace.AT_ONCE, by=operator()
        )
        prepared = changed.of(kind, Phase.PREPARED)[-1]
        print(f"prepared {kind.value} {prepared.id}; bundle {changed.sequence}")
        if arguments.wait is None:
            when = (
                "once it has been published for `notice`"
                if arguments.leave_behind
                else "once every consumer holds the bundle"
            )
            print(f"it signs {when}: `meshward ca status` says what is waited for")
            return ExitCode.OK
        until = time.monotonic() + arguments.wait.total_seconds()
        while True:
            waiting = supervisor.advance()
            now, _ = supervisor.outlook()
            if now.slot(prepared.id).phase is not Phase.PREPARED:
                print(f"active   {kind.value} {prepared.id}")
                return ExitCode.OK
            if time.monotonic() >= until:
                said = "; ".join(_said(wait) for wait in waiting.waits if wait.slot == prepared.id)
                raise CommandError(
                    f"{kind.value} {prepared.id} does not sign yet: {said}",
                    help="wait longer, or `--leave-behind` who does not take it",
                )
            time.sleep(_LOOK_EVERY)


def _add_taint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `meshward ca status` says it")
    add_directory_argument(parser)


def _taint(arguments: argparse.Namespace) -> ExitCode:
    directory = AuthorityDirectory.of(arguments)
    with directory.store() as store:
        directory.office(store).supervisor.taint(arguments.id, by=operator())
    print(
        f"tainted {arguments.id}: it signs no more, what it signed renews nothing, and streams get other certificates as soon"
        " as there is what signs them"
    )
    return ExitCode.OK


def _add_status(parser: argparse.ArgumentParser) -> None:
    add_directory_argument(parser)
    add_output_argument(parser)


def _status(arguments: argparse.Namespace) -> ExitCode:
    directory = AuthorityDirectory.of(arguments)
    with directory.store() as store:
        authorities, found = directory.office(store).supervisor.outlook()
    waits = found.waits if isinstance(found, Waiting) else ()
    rows = [_document(slot, waits) for slot in authorities.slots if slot.phase is not Phase.RETIRED]
    if arguments.output == "text":
        print(f"{authorities.trust_domain}: bundle {authorities.sequence}")
    print_rows(_HEAD, rows, output=arguments.output, nothing="no signing authorities")
    return ExitCode.OK


def _document(slot: Slot, waits: Iterable[Wait]) -> dict[str, object]:
    return {
        "kind": slot.kind.value,
        "phase": slot.phase.value,
        "id": slot.id,
        "made": moment(slot.made),
        "ends": moment(slot.not_after),
        "waits": [_said(wait) for wait in waits if wait.slot == slot.id],
    }


def _said(wait: Wait) -> str:
    until = "" if wait.until is None else f" (until {moment(wait.until)})"
    behind = f": {shortened(wait.consumers)}" if wait.consumers else ""
    return f"{wait.reason.value}{behind}{until}"


COMMAND = Command(
    "rotate",
    "replace a root, an intermediate or a JWT key, without one refused handshake",
    _add_arguments,
    _run,
    epilog="example: meshward ca rotate intermediate --wait 20s",
)
TAINT = Command(
    "taint",
    "say that a signing key may be in other hands",
    _add_taint,
    _taint,
    epilog="example: meshward ca taint 5f2c",
)
STATUS = Command(
    "status",
    "what signs, in which phase it is, and what is waited for",
    _add_status,
    _status,
    epilog="example: meshward ca status",
)
