"""Services of jobs.proto."""

from imagegen.v1.jobs_pb2_grpc import *  # noqa: F403 - a wheel has the generated module itself
