"""One file per request; `table.py` says which request goes where."""
