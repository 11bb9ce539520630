"""Other servers on the web: which may be asked, and how."""
