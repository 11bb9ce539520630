"""Fresh machines: root folders of other systems, in which README's lines are followed as a new user would.

`make test-fresh` runs every case; `--short` runs on this machine what CI has time for. __main__.py says more.
"""
