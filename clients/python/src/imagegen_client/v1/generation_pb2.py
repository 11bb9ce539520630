"""Messages of generation.proto."""

from imagegen.v1.generation_pb2 import *  # noqa: F403 - a wheel has the generated module itself
