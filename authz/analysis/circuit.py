"""Circuit: a formula that grows, and a solver that says whether parts of it can hold together.

Literals are whole numbers other than 0, and `-literal` is its negation, as in DIMACS.
"""

from collections.abc import Iterable, Sequence

from pysat.solvers import Solver

__all__ = ["FALSE", "TRUE", "Circuit"]

TRUE = 1
FALSE = -1
_ENGINE = "glucose4"
_FEW = 5
"""Of so many literals each pair is told apart by a clause of its own; of more, a chain of helpers is shorter."""


class Circuit:
    """Clauses and gates in one solver. Equal gates are one."""

    def __init__(self) -> None:
        self._solver = Solver(_ENGINE, bootstrap_with=[[TRUE]])
        self._last = TRUE
        self._gates: dict[tuple[int, ...], int] = {}
        self.solved = 0
        """How many times the solver was asked."""

    def variable(self) -> int:
        """A new literal, which may hold or not."""
        self._last += 1
        return self._last

    def require(self, literals: Iterable[int]) -> None:
        """At least one of them holds, from now on."""
        clause = list(literals)
        if TRUE not in clause:
            self._solver.add_clause(clause)

    def imply(self, condition: int, consequence: int) -> None:
        """Where `condition` holds, `consequence` does."""
        self.require((-condition, consequence))

    def at_most_one(self, literals: Sequence[int]) -> None:
        """No two of them hold together. Takes clauses linear in their number."""
        if len(literals) <= _FEW:
            for index, one in enumerate(literals):
                for other in literals[index + 1 :]:
                    self.require((-one, -other))
            return
        before = literals[0]
        for position, literal in enumerate(literals[1:], start=2):
            self.require((-before, -literal))
            if position < len(literals):
                # Holds where this one or any before does.
                so_far = self.variable()
                self.imply(before, so_far)
                self.imply(literal, so_far)
                before = so_far

    def all_of(self, literals: Iterable[int]) -> int:
        """A literal that holds where all of them do."""
        inputs = set(literals)
        inputs.discard(TRUE)
        if FALSE in inputs or any(-literal in inputs for literal in inputs):
            return FALSE
        if len(inputs) < 2:
            return inputs.pop() if inputs else TRUE
        key = tuple(sorted(inputs))
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = self.variable()
            add = self._solver.add_clause
            for literal in key:
                add([-gate, literal])
            add([gate, *[-literal for literal in key]])
        return gate

    def any_of(self, literals: Iterable[int]) -> int:
        """A literal that holds where any of them does."""
        return -self.all_of([-literal for literal in literals])

    def solve(self, assumed: Sequence[int]) -> list[int] | None:
        """Which literals hold, by their number, in some case in which all of `assumed` do; nothing if there is none."""
        self.solved += 1
        if not self._solver.solve(assumptions=list(assumed)):
            return None
        model: list[int] = self._solver.get_model()
        # A variable that no clause has is in no model.
        return [0, *model, *[-variable for variable in range(len(model) + 1, self._last + 1)]]

    def core(self) -> list[int]:
        """Those of the literals assumed last that cannot hold together."""
        return list(self._solver.get_core() or [])

    def close(self) -> None:
        """Let go of the solver's memory."""
        self._solver.delete()
