"""The commands: `gantry` and the `mq*` family. They parse, build and run; everything else lives in the rooms."""
