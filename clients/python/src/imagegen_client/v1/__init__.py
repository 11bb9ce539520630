"""Generated code of the schema. In a source tree it is the server's own; a wheel has a copy: hatch_build.py."""
