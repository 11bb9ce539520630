"""Services of generation.proto."""

from imagegen.v1.generation_pb2_grpc import *  # noqa: F403 - a wheel has the generated module itself
