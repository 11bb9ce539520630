"""Where pictures are kept: the result store, and the storages of accounts."""
