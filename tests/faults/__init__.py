"""`make faults`: see __main__.py."""

import os

# Before anything imports grpc: the handlers that it runs around fork() crash the child of a process whose threads call
# it just then, and programs are started while clients call.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
