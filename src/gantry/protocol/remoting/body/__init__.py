"""Bodies of requests and responses, one file per shape, over `gantry.protocol.json_dialect`."""
