"""Formatting: a file of policies in its canonical form, as YAML or as ward, and never with another meaning.

Whatever comes out is read again and compared with what went in: a formatter that changes what a policy means is worse than none.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import NamedTuple

import yaml

from authz.model import Policy
from authz.request_authentication import RequestAuthentication
from authz.span import Path
from parser import authorization_policy, peer_authentication, request_authentication
from parser.diagnostics import PolicySyntaxError, Severity
from parser.envelope import DRY_RUN, kind_of
from parser.manifests import Manifests, parse_manifests
from parser.problems import Problems
from parser.remarks import Comment, Remark, Side
from parser.resource_document import Resource, node_of
from parser.ward import said_in
from parser.ward_printer import print_ward
from parser.ward_remarks import ward_comments, ward_remarks
from parser.ward_text import is_ward
from parser.yaml_nodes import Mapping, Node, parse_documents, to_data
from parser.yaml_nodes import Sequence as SequenceNode
from parser.yaml_remarks import yaml_comments, yaml_remarks
from parser.yaml_text import Chunk, chunks
from parser.yaml_writer import write_object

__all__ = ["FormatError", "Formatted", "Syntax", "format_manifest", "syntax_of"]


class Syntax(Enum):
    """What policies are written in."""

    YAML = "yaml"
    WARD = "ward"


@dataclass(frozen=True, slots=True)
class Formatted:
    """The text of a file in its canonical form. `notes` say what was left as it was, or left out, a line each."""

    text: str
    notes: tuple[str, ...] = ()


class FormatError(Exception):
    """A file cannot be formatted as asked; `help` says what to do about it."""

    def __init__(self, message: str, *, help: str) -> None:  # noqa: A002  # as in Diagnostic
        super().__init__(message)
        self.help = help


def syntax_of(file: str, data: bytes) -> Syntax:
    """What a file is written in: by its name, or by how it begins where its name does not say."""
    return Syntax.WARD if is_ward(file, data) else Syntax.YAML


def format_manifest(data: bytes, file: str, *, to: Syntax | None = None, skip_others: bool = False) -> Formatted:
    """A file in its canonical form, in its own syntax or in another. Formatting what comes out changes nothing.

    From YAML to YAML, documents of other kinds stay as they are to the letter, and so do those of ours that have anchors or
    tags, or are JSON. In ward, other kinds cannot be said; `skip_others` leaves them out.

    Raises:
        PolicySyntaxError: Something is wrong with the file; its diagnostics say what.
        FormatError: It holds what cannot be said in `to`, or would come out with another meaning or without a comment of it.
    """
    manifests = parse_manifests([(file, data)])
    if manifests.errors:
        raise PolicySyntaxError(each for each in manifests.diagnostics if each.severity is Severity.ERROR)
    own = syntax_of(file, data)
    into = own if to is None else to
    if own is Syntax.WARD:
        draft = _from_ward(data, file, into)
    elif into is Syntax.YAML:
        draft = _yaml_to_yaml(data, file)
    else:
        draft = _yaml_to_ward(data, file, manifests, skip_others=skip_others)
    _check(manifests, draft, into, file)
    if own is into is Syntax.YAML and _data(data) != _data(draft.text.encode()):
        raise FormatError(f"{file} would come out with other values, so it is left alone", help=_BUG)
    return Formatted(draft.text, draft.notes)


class _Draft(NamedTuple):
    """A text to be checked, and the comments that must be in it."""

    text: str
    comments: Iterable[str]
    notes: tuple[str, ...] = ()


# That nothing is lost or changed --------------------------------------------------------------------------------------

_BUG = "this is a bug in meshward; nothing is wrong with the policies"


def _check(before: Manifests, draft: _Draft, syntax: Syntax, file: str) -> None:
    data = draft.text.encode()
    after = parse_manifests([(f"<formatted>.{syntax.value}", data)])
    for problem in after.diagnostics:
        if problem.severity is Severity.ERROR:
            message = f"{file} would come out as what cannot be read, so it is left alone: {problem.message}"
            raise FormatError(message, help=problem.help or _BUG)
    if _meaning(before) != _meaning(after):
        raise FormatError(f"{file} would come out with another meaning, so it is left alone", help=_BUG)
    found = ward_comments(draft.text) if syntax is Syntax.WARD else _comments_in_yaml(data)
    lost = Counter(filter(None, draft.comments)) - Counter(comment.text for comment in found)
    if lost:
        raise FormatError(f"{file} would lose the comment {next(iter(lost))!r}, so it is left alone", help=_BUG)


def _meaning(manifests: Manifests) -> list[dict[str, Resource]]:
    return [{policy.id: policy for policy in kind} for kind in _kinds(manifests)]


def _kinds(manifests: Manifests) -> tuple[Sequence[Resource], ...]:
    return manifests.policies, manifests.request_authentications, manifests.peer_authentications


def _data(data: bytes) -> list[str]:
    return [json.dumps(to_data(root), sort_keys=True) for root in parse_documents(data, "")[0]]


def _comments_in_yaml(data: bytes) -> Iterator[Comment]:
    return yaml_comments(data.decode("utf-8-sig"), parse_documents(data, "")[0])


# The objects of a YAML file -------------------------------------------------------------------------------------------

_KINDS = (authorization_policy.KIND, request_authentication.KIND, peer_authentication.KIND)


class _Part(NamedTuple):
    """A part of a file, from one `---` to the next, and the documents in it: one, or none but comments."""

    chunk: Chunk
    roots: Sequence[Node]


class _Object(NamedTuple):
    """An object, and where in its document it is: in a list, or the whole."""

    path: Path
    node: Node


def _parts(data: bytes, file: str) -> Iterator[_Part]:
    roots = parse_documents(data, file)[0]
    for chunk in chunks(data.decode("utf-8-sig")):
        yield _Part(chunk, [root for root in roots if chunk.start <= root.start < chunk.end])


def _objects(node: Node, path: Path = ()) -> Iterator[_Object]:
    items = node.entries.get("items") if isinstance(node, Mapping) else None
    if isinstance(items, SequenceNode) and (kind_of(node)[1] or "").endswith("List"):
        for index, item in enumerate(items.items):
            yield from _objects(item, (*path, "items", index))
    else:
        yield _Object(path, node)


def _is_policy(node: Node) -> bool:
    api_version, kind = kind_of(node)
    return kind in _KINDS and (api_version or "").rpartition("/")[0] == authorization_policy.GROUP


# YAML to YAML ---------------------------------------------------------------------------------------------------------

_OTHER_LINE_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_END_MARKER = re.compile(r"^\.\.\.", re.MULTILINE)


def _yaml_to_yaml(data: bytes, file: str) -> _Draft:
    text = data.decode("utf-8-sig")
    written: list[str] = []
    notes: list[str] = []
    for chunk, roots in _parts(data, file):
        part = text[chunk.start : chunk.end]
        for root in roots:
            if not isinstance(root, Mapping) or not _is_policy(root):
                continue
            obstacle = "another document beside it" if len(roots) > 1 else _obstacle(part, root)
            if obstacle is None:
                part = _rewritten(root, chunk)
            else:
                notes.append(f"{root.span}: this {kind_of(root)[1]} has {obstacle}, and is left as it is")
        written.append(part)
    return _Draft("".join(written), [comment.text for comment in _comments_in_yaml(data)], tuple(notes))


def _obstacle(part: str, root: Mapping) -> str | None:
    """What keeps a document from being written anew."""
    if root.source.text.startswith("{", root.start):
        return "brackets around it, as JSON does"
    if _OTHER_LINE_BREAKS.search(part):
        return "line breaks that not every reader takes for one"
    for event in yaml.parse(part, Loader=yaml.CSafeLoader):
        for what in ("anchor", "tag"):
            if getattr(event, what, None) is not None:
                return f"{what}s"
    return None


def _rewritten(root: Mapping, chunk: Chunk) -> str:
    """A part of a file in which `root` is the only document."""
    text = root.source.text
    begin = max(chunk.start, text.rfind("\n", 0, root.start) + 1)
    marker = _END_MARKER.search(text, root.end, chunk.end)
    end = chunk.end if marker is None else marker.start()
    body = write_object(root, yaml_remarks(root, begin, end), verbatim=True)
    newline = "\r\n" if "\r\n" in text[chunk.start : chunk.end] else "\n"
    return text[chunk.start : begin] + body.replace("\n", newline) + text[end : chunk.end]


# YAML to ward ---------------------------------------------------------------------------------------------------------


def _yaml_to_ward(data: bytes, file: str, manifests: Manifests, *, skip_others: bool) -> _Draft:
    text = data.decode("utf-8-sig")
    policies = {policy.spans[()]: policy for kind in _kinds(manifests) for policy in kind}
    said: list[tuple[Resource, list[Remark]]] = []
    above: list[Remark] = []
    others: Counter[str] = Counter()
    notes: list[str] = []
    for chunk, roots in _parts(data, file):
        objects = [each for root in roots for each in _objects(root)]
        ours = [each for each in objects if _is_policy(each.node)]
        others.update(kind_of(each.node)[1] or "no kind" for each in objects if not _is_policy(each.node))
        if not roots:
            above += (Remark(Side.BEFORE, (), each.text) for each in yaml_comments(text, (), *chunk))
        if not ours:
            continue
        remarks = _by_object(yaml_remarks(roots[0], *chunk), ours)
        for (_, node), about in zip(ours, remarks, strict=True):
            policy = policies[node.span]
            said.append((policy, above + about))
            notes.extend(f"{policy.id}: {note}" for note in _unsaid(node, policy))
            above = []
    if others and not skip_others:
        counted = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        raise FormatError(f"ward cannot say all that is in {file}: {counted}", help="leave it out with --skip-others")
    if said:
        said[-1][1].extend(Remark(Side.AFTER, (), text) for _, _, text in above)
    _carry_over(said)
    return _Draft(
        "\n".join(print_ward(policy, remarks) for policy, remarks in said),
        [remark.text for _, remarks in said for remark in remarks],
        tuple(notes),
    )


def _by_object(remarks: Iterable[Remark], objects: Sequence[_Object]) -> list[list[Remark]]:
    """The remarks of a document for each of the objects in it; those about none of them go to the first."""
    found: list[list[Remark]] = [[] for _ in objects]
    for side, path, text in remarks:
        for index, (inside, _) in enumerate(objects):
            if path[: len(inside)] == inside:
                found[index].append(Remark(side, path[len(inside) :], text))
                break
        else:
            found[0].append(Remark(Side.BEFORE, (), text))
    return found


def _carry_over(said: Sequence[tuple[Resource, list[Remark]]]) -> None:
    """What stands below one policy, and is not about it, stands above the next: ward has no `---` between them."""
    for (policy, one), (_, other) in pairwise(said):
        # Below a policy of a single line there is nothing that a comment could be further in than.
        single = isinstance(policy, RequestAuthentication) and not policy.jwt_rules
        below = [each for each in one if each.side is Side.AFTER and (single or not each.path)]
        one[:] = [each for each in one if each not in below]
        apart = [Remark(Side.BEFORE, (), "")] if below else []
        other[:0] = [*(Remark(Side.BEFORE, (), each.text) for each in below), *apart]


def _unsaid(node: Node, policy: Resource) -> Iterator[str]:
    """What the object has and ward does not say."""
    data = to_data(node)
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(metadata, dict):
        return
    if not metadata.get("namespace"):
        yield f"it names no namespace, and ward says `in {policy.namespace}`"
    kept = {"name", "namespace"} if isinstance(policy, Policy) else {"name", "namespace", "creationTimestamp"}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and annotations.keys() <= {DRY_RUN}:
        kept.add("annotations")
    lost = [f"`metadata.{key}`" for key in metadata if key not in kept] + ["`status`"] * ("status" in data)
    if lost:
        yield f"ward does not keep its {', '.join(lost)}"


# From ward ------------------------------------------------------------------------------------------------------------


def _from_ward(data: bytes, file: str, into: Syntax) -> _Draft:
    text = data.decode("utf-8-sig")
    said = list(said_in(data, file, Problems()))
    comments = [comment.text for comment in ward_comments(text)]
    if not said:
        return _Draft(text, comments)
    remarks = ward_remarks(text, [each.spans for each in said])
    together = list(zip(said, remarks, strict=True))
    if into is Syntax.WARD:
        return _Draft("\n".join(print_ward(each.resource, about) for each, about in together), comments)
    objects = (
        write_object(node, about, verbatim=False)
        for each, about in together
        if isinstance(node := node_of(each.resource, each.spans), Mapping)
    )
    return _Draft("---\n".join(objects), comments)
