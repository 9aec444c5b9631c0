"""Layouts of the store's files: pure codecs, drawn as tables in `docs/format/`."""
