"""What networks cost, as measured, and which request may use an engine now: pure, on a clock that is passed in."""
