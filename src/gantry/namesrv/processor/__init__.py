"""One file per request; `table` says which code leads to which."""
