"""Tools that make, export and measure networks. Nothing that serves requests imports this package."""
