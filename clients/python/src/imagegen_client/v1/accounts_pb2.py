"""Messages of accounts.proto."""

from imagegen.v1.accounts_pb2 import *  # noqa: F403 - a wheel has the generated module itself
