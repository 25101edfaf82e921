"""Every edge answers whatever bytes come over its real server, and by no error of its own."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ca.attestation import KubernetesAttestor
from ca.istio.ca_pb2 import IstioCertificateRequest
from ca.istio.service import CertificateService
from ca.limits import Limits
from tests.fuzz.fuzzing import SECONDS, fuzz
from tests.fuzz.mutating import of_protobuf
from tests.unit.ca.clusters import TestCluster
from tests.unit.ca.istio.asking import heard, serving
from tests.unit.ca.offices import AT, TD, WEB, TestOffice, csr, office

EAST = TestCluster()
KEY = ec.generate_private_key(ec.SECP256R1())
UNLIMITED = Limits(attest_per_second=10**9, issue_per_second=10**9)


class RefusedError(Exception):
    """It was answered as it should be."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[TestOffice]:
    with office(tmp_path, istio_clusters=frozenset({"east"})) as made:
        yield made


def test_the_istio_edge_refuses_bytes_of_any_kind_by_a_code_that_is_not_internal(
    made: TestOffice, tmp_path: Path
) -> None:
    inside = replace(made.office, limits=UNLIMITED)
    tokens = KubernetesAttestor([EAST.known(tmp_path, named_in=TD)], default="east")
    samples = [
        IstioCertificateRequest(csr=csr(KEY, spiffe_id=WEB).decode(), validity_duration=3600).SerializeToString(),
        IstioCertificateRequest(csr=csr(KEY).decode()).SerializeToString(),
    ]
    named = IstioCertificateRequest(csr=csr(KEY).decode())
    named.metadata.update({"ClusterID": "east", "WorkloadName": "web", "Labels": {"a": [1, None, True]}})
    samples.append(named.SerializeToString())
    metadata = (("authorization", f"Bearer {EAST.token(at=AT)}"),)

    with asyncio.Runner() as runner:
        edge = serving(tmp_path, lambda front: CertificateService(inside, front, tokens=tokens))
        asker = runner.run(edge.__aenter__())
        channel = grpc.aio.insecure_channel(asker.address)

        def read(data: bytes) -> None:
            answer = runner.run(heard(channel, data, metadata))
            if answer.code != 0:
                # Nothing internal, and nothing that agents would try again for ever.
                assert answer.code in {3, 7, 16}, answer
                raise RefusedError(answer.text)

        read_, taken = fuzz(read, samples, of_protobuf, RefusedError)
        runner.run(channel.close())
        runner.run(edge.__aexit__(None, None, None))
    print(f"\nistio: {read_} inputs in {SECONDS:g} s, {taken} of them taken")  # noqa: T201  # what was covered
