"""`meshward ca rotate`: replacing what signs, one supervised step after the other."""

import argparse
import time

from ca.authorities import Slot
from ca.office import Office, now
from ca.phases import Phase, SlotKind
from ca.rotation import Wait, Waiting, hurried
from ca.store import Version
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
        office = directory.office(store)
        version, at = _kept(office), now()
        before = version.authorities.active(kind)
        changed = hurried(version.authorities, kind, keys=directory.keys(), settings=directory.settings.rotation, at=at)
        action = f"rotate {kind.value}"
        store.authorities.save(changed, before=version, by=operator(), action=action, at=at).result()
        prepared = changed.of(kind, Phase.PREPARED)[-1]
        print(f"prepared {kind.value} {prepared.id}; bundle {changed.sequence}")
        if arguments.wait is None:
            print("it signs once every consumer holds the bundle: `meshward ca status` says what is waited for")
            return ExitCode.OK
        until = time.monotonic() + arguments.wait.total_seconds()
        while True:
            waiting = office.supervisor.advance()
            active = _kept(office).authorities.active(kind)
            if active is not None and (before is None or active.id != before.id):
                print(f"active   {kind.value} {active.id}")
                return ExitCode.OK
            if time.monotonic() >= until:
                said = "; ".join(_said(wait) for wait in waiting.waits if wait.slot == prepared.id)
                raise CommandError(f"{kind.value} {prepared.id} does not sign yet: {said}", help="wait longer")
            time.sleep(_LOOK_EVERY)


def _add_taint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="as `meshward ca status` says it")
    add_directory_argument(parser)


def _taint(arguments: argparse.Namespace) -> ExitCode:
    directory, at = AuthorityDirectory.of(arguments), now()
    with directory.store() as store:
        office = directory.office(store)
        version = _kept(office)
        try:
            changed = version.authorities.tainted(arguments.id, at=at)
        except LookupError as error:
            raise CommandError(str(error), help="`meshward ca status` says their ids") from error
        action = f"taint {arguments.id}"
        store.authorities.save(changed, before=version, by=operator(), action=action, at=at).result()
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
        office = directory.office(store)
        authorities = _kept(office).authorities
        waiting = office.supervisor.waits(authorities)
    rows = [_document(slot, waiting) for slot in authorities.slots if slot.phase is not Phase.RETIRED]
    if arguments.output == "text":
        print(f"{authorities.trust_domain}: bundle {authorities.sequence}")
    print_rows(_HEAD, rows, output=arguments.output, nothing="no signing authorities")
    return ExitCode.OK


def _kept(office: Office) -> Version:
    version = office.store.authorities.load(office.trust_domain)
    if version is None:
        raise CommandError(f"there are no authorities of {office.trust_domain}", help="`meshward ca init` makes them")
    return version


def _document(slot: Slot, waiting: Waiting) -> dict[str, object]:
    return {
        "kind": slot.kind.value,
        "phase": slot.phase.value,
        "id": slot.id,
        "made": moment(slot.made),
        "ends": moment(slot.not_after),
        "waits": [_said(wait) for wait in waiting.waits if wait.slot == slot.id],
    }


def _said(wait: Wait) -> str:
    until = "" if wait.until is None else f" (until {moment(wait.until)})"
    behind = (
        ""
        if not wait.consumers
        else f": {', '.join(wait.consumers[:5])}"
        + (f" and {len(wait.consumers) - 5} more" if len(wait.consumers) > 5 else "")
    )
    return f"{wait.reason.value}{behind}{until}"


COMMAND = Command(
    "rotate", "replace a root, an intermediate or a JWT key, without one refused handshake", _add_arguments, _run
)
TAINT = Command("taint", "say that a signing key may be in other hands", _add_taint, _taint)
STATUS = Command("status", "what signs, in which phase it is, and what is waited for", _add_status, _status)
