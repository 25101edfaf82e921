"""Arguments of the verbs: text of the command line as the values that it means."""

import argparse
from datetime import timedelta

from cli.authority.durations import parse_duration
from identity import InvalidSpiffeIdError, InvalidTrustDomainError, SpiffeId, TrustDomain

__all__ = ["duration", "spiffe_id", "trust_domain"]


def duration(text: str) -> timedelta:
    """A duration, for `type=`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def spiffe_id(text: str) -> SpiffeId:
    """A SPIFFE ID, for `type=`."""
    try:
        return SpiffeId.parse(text)
    except InvalidSpiffeIdError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def trust_domain(text: str) -> TrustDomain:
    """A trust domain, for `type=`."""
    try:
        return TrustDomain.parse(text)
    except InvalidTrustDomainError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
