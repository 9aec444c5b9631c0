"""Bytes in, values out: every format Gantry speaks, without sockets, files, clocks or threads."""
