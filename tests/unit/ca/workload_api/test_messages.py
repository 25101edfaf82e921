"""The messages are those of the standard, and what is checked in is made of what can be read."""

import runpy
from pathlib import Path

from google.protobuf.descriptor import Descriptor
from spiffe._proto import workload_pb2

from ca.workload_api.messages import POOL, SERVICE

ROOT = Path(__file__).parents[4]


def test_what_is_checked_in_is_made_of_the_proto_beside_it(tmp_path: Path) -> None:
    made = tmp_path / "workload.binpb"
    assert runpy.run_path(str(ROOT / "tools" / "workload_proto.py"))["compile_to"](made) == 0
    assert made.read_bytes() == (ROOT / "ca" / "workload_api" / "workload.binpb").read_bytes()


def test_py_spiffe_has_the_same_messages_written_by_others() -> None:
    def fields(message: Descriptor | None) -> dict[str, object]:
        assert message is not None
        return {each.name: (each.number, each.type, each.is_repeated) for each in message.fields}

    theirs = workload_pb2.DESCRIPTOR.services_by_name[SERVICE].methods_by_name
    methods = POOL.FindServiceByName(SERVICE).methods
    assert len(methods) == 5
    for ours in methods:
        other = theirs[ours.name]
        assert ours.server_streaming == other.server_streaming
        for mine, their in ((ours.input_type, other.input_type), (ours.output_type, other.output_type)):
            assert (mine.full_name, fields(mine)) == (their.full_name, fields(their))
            for field in mine.fields:
                if field.message_type is not None:
                    assert fields(field.message_type) == fields(their.fields_by_name[field.name].message_type)
