"""Messages of jobs.proto."""

from imagegen.v1.jobs_pb2 import *  # noqa: F403 - a wheel has the generated module itself
