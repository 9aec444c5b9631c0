"""A whole cluster in one process, on virtual time: one seed decides load, faults and their moments."""
