"""Generate streams: admission, the queue in memory, and the leases of accounts with limits."""
