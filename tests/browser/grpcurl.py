"""What the page prints for grpcurl, run where grpcurl itself is not installed: its arguments, JSON and reflection.

python -m tests.browser.grpcurl -plaintext -H "x-api-key: …" -d @ HOST:PORT imagegen.v1.SERVICE/METHOD < JSON
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, cast

import grpc
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main(arguments: Sequence[str]) -> None:
    """Call one method that answers one message or a stream, and print the answers as JSON."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-plaintext", action="store_true", required=True)
    parser.add_argument("-H", dest="header", required=True)
    parser.add_argument("-d", dest="data", choices=["@"], required=True)
    parser.add_argument("address")
    parser.add_argument("method")
    given = parser.parse_args(arguments)
    service, _, method = given.method.partition("/")
    name, _, value = given.header.partition(": ")
    with grpc.insecure_channel(given.address) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        found = pool.FindServiceByName(service).FindMethodByName(method)
        request = message_factory.GetMessageClass(found.input_type)()
        json_format.Parse(sys.stdin.read(), request)
        call: Any = channel.unary_stream if found.server_streaming else channel.unary_unary
        answers = call(
            f"/{given.method}",
            request_serializer=lambda message: cast("bytes", message.SerializeToString()),
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
        )(request, metadata=((name, value),), timeout=300)
        for answer in answers if found.server_streaming else [answers]:
            print(json_format.MessageToJson(answer))  # noqa: T201 - as grpcurl does


if __name__ == "__main__":
    main(sys.argv[1:])
