"""The overlay: what two versions decide differently, laid over the matrix of the newer one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from authz.attributes import Protocol
from authz.invariants import Assumed
from mesh.access.matrix import MOST_CELLS, Matrix, MatrixMaker, Older, TooLargeError, with_the_same_ports
from mesh.comparing import Compared, Difference, differing
from mesh.proving.subjects import Subject
from mesh.snapshot import Snapshot

__all__ = ["Overlay", "overlays"]


@dataclass(frozen=True, slots=True)
class Overlay:
    """The matrix of workloads for which something changes; in `outside` is what changes for none of the cells.

    A cell speaks for its own requests and for those that no rule of either version tells from them.
    """

    matrix: Matrix
    outside: tuple[Difference, ...]


def overlays(old: Snapshot, new: Snapshot, changed: Sequence[Compared], *, assumed: Assumed) -> list[Overlay]:
    """The overlays of all workloads in `changed`, those together that have the same.

    Raises:
        TooLargeError: They have more than `MOST_CELLS` cells together; then nothing was looked for yet.
        Contradiction: The tree, or the reference, decides a request otherwise than the analysis says.
    """
    makers: list[tuple[MatrixMaker, tuple[Subject, ...]]] = []
    cells = 0
    for compared in changed:
        older = Older(old, compared.old)
        for some in with_the_same_ports(compared.subjects):
            maker = MatrixMaker(new, compared.new, some, old=older, assumed=assumed)
            cells += maker.size
            if cells > MOST_CELLS:
                raise TooLargeError(
                    f"a picture of what changes would have more than {MOST_CELLS:,} cells; compare fewer workloads, or as text"
                )
            makers.append((maker, some))
    return [_overlay(maker, some) for maker, some in makers]


def _overlay(maker: MatrixMaker, some: tuple[Subject, ...]) -> Overlay:
    within = {protocol: maker.within(protocol) for protocol in Protocol}
    matrix = maker.matrix()
    return Overlay(matrix, tuple(_outside(maker, some, within)))


def _outside(maker: MatrixMaker, some: tuple[Subject, ...], within: dict[Protocol, int]) -> Iterator[Difference]:
    for protocol, asking in maker.asking.items():
        yield from differing(asking.ground, some, among=(-within[protocol],))
