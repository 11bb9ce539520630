"""Services of accounts.proto."""

from imagegen.v1.accounts_pb2_grpc import *  # noqa: F403 - a wheel has the generated module itself
