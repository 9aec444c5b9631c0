def crc32(buffer: bytes | bytearray | memoryview) -> int: ...
def java_string_hash(text: str) -> int: ...
def scan_records(
    buffer: bytes | bytearray | memoryview, start: int, end: int, check_crc: bool
) -> tuple[list[int], int, int]: ...

END_OF_BUFFER: int
END_BLANK: int
END_ZERO: int
END_BAD_MAGIC: int
END_BAD_SIZE: int
END_BAD_CRC: int
