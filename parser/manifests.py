"""Manifests: everything in a set of files that meshward can use, and all that is wrong with it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress, count, repeat
from operator import is_
from typing import TypeVar

from authz.mesh_config import MeshConfig
from authz.model import Policy
from authz.peer_authentication import PeerAuthentication
from authz.request_authentication import RequestAuthentication
from authz.span import Span
from authz.workload import GATEWAY_LABEL, Workload
from parser.contents import NOTHING, Contents, Named, place, read_contents
from parser.diagnostics import Diagnostic, Severity
from parser.difference import differing
from parser.gateways import Gateway
from parser.problems import Problems
from parser.services import Service
from parser.ward_words import in_ward_words
from parser.yaml_text import text_for_excerpts

__all__ = ["Gathering", "Manifests", "parse_manifests"]

P = TypeVar("P", Policy, RequestAuthentication, PeerAuthentication)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What a set of files declares.

    A policy or workload with an error is not among them; whoever enforces must refuse the whole
    where `errors` says so. `ambient` are those of the namespaces whose pods have a ztunnel instead of sidecars. Istio makes workloads of gateways of the Gateway API, and they are among `workloads` where no
    document declares their pods. `skipped` counts the documents of kinds that are not used. `diagnostics` are in the order
    of files given, then of places. `texts` are the texts of the files that diagnostics point into, for `render`.
    """

    policies: tuple[Policy, ...] = ()
    request_authentications: tuple[RequestAuthentication, ...] = ()
    peer_authentications: tuple[PeerAuthentication, ...] = ()
    workloads: tuple[Workload, ...] = ()
    namespaces: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    mesh_config: MeshConfig | None = None
    skipped: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    diagnostics: tuple[Diagnostic, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> bool:
        """Whether something is wrong, and not only worth a warning."""
        return any(diagnostic.severity is Severity.ERROR for diagnostic in self.diagnostics)


def parse_manifests(files: Iterable[tuple[str, bytes]], *, default_namespace: str = "default") -> Manifests:
    """Read files, each a name and its bytes. Never raises for what is in them."""
    return _together([read_contents(name, data, default_namespace=default_namespace) for name, data in files])


class Gathering:
    """Puts together what files declare, one set of files after the other, of which hardly any differs from the one before."""

    def __init__(self) -> None:
        self._files: Sequence[Contents] = ()
        self._manifests = Manifests()

    def together(self, files: Sequence[Contents]) -> Manifests:
        """What `files` declare together, and what is wrong only because of each other."""
        was, now = differing(self._files, files)
        policies = self._with(self._files[was], files[now])
        if policies is None:
            self._manifests = _together(files)
        else:
            self._manifests = replace(self._manifests, policies=policies, files=len(files))
        self._files = files
        return self._manifests

    def _with(self, gone: Sequence[Contents], come: Sequence[Contents]) -> tuple[Policy, ...] | None:
        """All policies, if some files took the place of others and nothing is different but what the same policies say."""
        if any(each.besides is not NOTHING for each in (*gone, *come)) or self._manifests.errors:
            return None
        before, now = ([named for each in files for named in each.policies] for files in (gone, come))
        if [name for name, _ in before] != [name for name, _ in now]:
            return None
        policies = self._manifests.policies
        if not before:
            return policies
        first = next(compress(count(), map(is_, policies, repeat(before[0][1]))))
        return (*policies[:first], *(policy for _, policy in now), *policies[first + len(now) :])


def _together(files: Sequence[Contents]) -> Manifests:
    """What files declare together, and what is wrong only because of each other."""
    between = _Between()
    policies = between.distinct((each, each.policies) for each in files)
    others = [each for each in files if each.besides is not NOTHING]
    request_authentications = between.distinct((each, each.besides.request_authentications) for each in others)
    peer_authentications = between.distinct((each, each.besides.peer_authentications) for each in others)
    mesh_config = between.mesh_config(others)
    workloads = tuple(chain.from_iterable(each.besides.workloads for each in others))
    gateways = tuple(chain.from_iterable(each.besides.gateways for each in others))
    skipped: Counter[str] = Counter()
    for each in others:
        skipped.update(each.besides.skipped)
    wrong = [(each, found) for each in files if (found := between.diagnostics(each))]
    texts = ((each.file, text_for_excerpts(each.data)) for each, _ in wrong)
    return Manifests(
        policies=policies,
        request_authentications=request_authentications,
        peer_authentications=peer_authentications,
        workloads=(*workloads, *_undeclared(gateways, workloads)),
        namespaces=tuple(dict.fromkeys(chain.from_iterable(each.besides.namespaces for each in others))),
        ambient=tuple(dict.fromkeys(chain.from_iterable(each.besides.ambient for each in others))),
        services=tuple(chain.from_iterable(each.besides.services for each in others)),
        gateways=gateways,
        mesh_config=mesh_config,
        skipped=dict(sorted(skipped.items())),
        files=len(files),
        diagnostics=tuple(chain.from_iterable(found for _, found in wrong)),
        texts={file: text for file, text in texts if text is not None},
    )


class _Between:
    """Finds what is wrong between files, and says it of the later one."""

    def __init__(self) -> None:
        self._problems: dict[int, Problems] = defaultdict(Problems)

    def diagnostics(self, contents: Contents) -> Sequence[Diagnostic]:
        """All that is wrong with a file, by itself and because of those before it."""
        if not self._problems or id(contents) not in self._problems:
            return contents.besides.diagnostics
        found: Iterable[Diagnostic] = self._problems[id(contents)].diagnostics
        if contents.ward:
            found = map(in_ward_words, found)
        return sorted((*contents.besides.diagnostics, *found), key=place)

    def distinct(self, files: Iterable[tuple[Contents, Named[P]]]) -> tuple[P, ...]:
        """The policies of one kind; of several that have one name only the first."""
        known: dict[str, P] = {}
        for contents, policies in files:
            for name, policy in policies:
                first = known.setdefault(name, policy)
                if first is not policy:
                    self._problems[id(contents)].error(
                        "duplicate-policy",
                        f"policy `{name}` is here and at {first.spans[('metadata', 'name')]}",
                        policy.spans[("metadata", "name")],
                        help="rename one of them, or remove it: a cluster keeps only the last",
                    )
        return tuple(known.values())

    def mesh_config(self, files: Iterable[Contents]) -> MeshConfig | None:
        """The mesh configuration: the first, from which no other may differ."""
        first: tuple[MeshConfig, Span] | None = None
        for contents in files:
            for config, at in contents.besides.mesh_configs:
                first = first or (config, at)
                if config != first[0]:
                    message = f"this mesh configuration differs from the one at {first[1]}"
                    self._problems[id(contents)].error("several-mesh-configs", message, at, help="keep one of them")
        return None if first is None else first[0]


def _undeclared(gateways: Sequence[Gateway], workloads: Iterable[Workload]) -> Iterator[Workload]:
    """The workloads of gateways whose pods no document declares: two of one would be one too many to look up."""
    if not gateways:
        return
    declared = {(workload.namespace, workload.labels.get(GATEWAY_LABEL)) for workload in workloads}
    for gateway in gateways:
        if gateway.workload is not None and (gateway.namespace, gateway.name) not in declared:
            declared.add((gateway.namespace, gateway.name))
            yield gateway.workload
