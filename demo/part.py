"""Part: something that is started, and must be ended whatever happens."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

__all__ = ["Part"]


class Part(ABC):
    """It runs once it is made, and ends with `stop` or at the end of a `with`."""

    @abstractmethod
    def stop(self) -> None:
        """End it. Ending it twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
