"""Linting: all there is to say about manifests, their meaning included, but for what their comments pass over."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from authz.findings.codes import CODES, IGNORE_WITHOUT_REASON, UNUSED_IGNORE, Code
from mesh.directory import Examined
from mesh.findings.everything import examine_meaning
from parser.contents import place
from parser.diagnostics import Diagnostic, Severity, quoted
from parser.ignores import Ignore, ignores_in
from parser.problems import nearest
from parser.ward_text import is_ward
from parser.ward_words import in_ward_words
from parser.yaml_text import text_for_excerpts

__all__ = ["Linted", "lint"]


@dataclass(frozen=True, slots=True)
class Linted:
    """What was found, in the order of files and places, with the texts that it points into; `ignored` is how much was passed over."""

    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str]
    ignored: int

    @property
    def errors(self) -> int:
        """How many of the diagnostics are errors."""
        return sum(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


def lint(examined: Examined) -> Linted:
    """What there is to say about files, what policies mean among it if nothing is wrong with them.

    An error cannot be passed over. While there are some, nobody can tell which comments are of no use.
    """
    found = list(examined.diagnostics)
    if not examined.errors:
        meaning = examine_meaning(examined.manifests, examined.config)
        found += (_in_its_words(diagnostic, examined.texts) for diagnostic in meaning)
    ignores = [each for name, data in examined.texts.items() for each in ignores_in(data, name)]
    by_file: dict[str, list[Ignore]] = {}
    for each in ignores:
        by_file.setdefault(each.span.file, []).append(each)
    kept: list[Diagnostic] = []
    used: set[tuple[Ignore, str]] = set()
    for diagnostic in found:
        by = _ignoring(diagnostic, by_file)
        if by is None:
            kept.append(diagnostic)
        else:
            used.add((by, diagnostic.code))
    ignored = len(found) - len(kept)
    if not examined.errors:
        kept += (about for each in ignores for about in _about(each, used))
    order = {name: number for number, name in enumerate(examined.texts)}
    kept.sort(key=lambda each: (order.get(each.span.file, 0), *place(each)))
    pointed_at = {diagnostic.span.file for diagnostic in kept} & examined.texts.keys()
    texts = {name: text_for_excerpts(examined.texts[name]) for name in pointed_at}
    sources = {name: text for name, text in texts.items() if text is not None}
    return Linted(tuple(kept), sources, ignored)


def _in_its_words(diagnostic: Diagnostic, texts: Mapping[str, bytes]) -> Diagnostic:
    file = diagnostic.span.file
    return in_ward_words(diagnostic) if is_ward(file, texts.get(file, b"")) else diagnostic


# Comments -----------------------------------------------------------------------------------------------------------------


def _ignoring(diagnostic: Diagnostic, ignores: Mapping[str, Sequence[Ignore]]) -> Ignore | None:
    """The comment that passes over `diagnostic`, if there is one."""
    if diagnostic.severity is Severity.ERROR:
        return None
    return next((each for each in ignores.get(diagnostic.span.file, ()) if each.covers(diagnostic)), None)


def _about(ignore: Ignore, used: Collection[tuple[Ignore, str]]) -> Iterator[Diagnostic]:
    """What is wrong with a comment itself."""
    if not ignore.codes:
        yield _warning(
            UNUSED_IGNORE, "this comment names no code to ignore", ignore, "write `# meshward-ignore: code the reason`"
        )
        return
    if not ignore.reason:
        names = ", ".join(map(quoted, ignore.codes))
        yield _warning(
            IGNORE_WITHOUT_REASON, f"{names} is ignored without a reason", ignore, "write why behind the code"
        )
    for code in ignore.codes:
        if (ignore, code) not in used:
            near = nearest(code, CODES) if code not in CODES else None
            remedy = (
                f"did you mean `{near}`?" if near else "remove it, or put it before or beside the line that it is about"
            )
            yield _warning(UNUSED_IGNORE, f"nothing is found here that {quoted(code)} would ignore", ignore, remedy)


def _warning(code: Code, message: str, ignore: Ignore, remedy: str) -> Diagnostic:
    return Diagnostic(code.name, message, ignore.span, help=remedy, severity=Severity.WARNING)
