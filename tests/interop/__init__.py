"""Others agree: unmodified official clients and servers against ours."""
