"""Refusing: the denial of what no policy was asked about."""

from authz.decision import Decision, Stage, Verdict

__all__ = ["refusal"]


def refusal(reason: str) -> Decision:
    """The denial for that reason."""
    return Decision(verdict=Verdict.DENY, stage=Stage.NONE, action=None, match=None, reason=reason)
