"""Bit positions of the original's bloom filter, for consumerFilter.json.

A Java broker takes the whole file for foreign, and forgets it, when one entry's bloom data does not fit its own settings; so
entries written here carry what it would have written. Nothing here is filtered by it.
"""

from __future__ import annotations

import math

import msgspec

_MASK = (1 << 64) - 1
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F


class BloomFilterData(msgspec.Struct, rename="camel"):
    """`bit_pos` are positions within `bit_num` bits. Source: BloomFilterData (5.5)."""

    bit_pos: tuple[int, ...] = ()
    bit_num: int = 0


class BloomFilter:
    """Sizes from an error rate in percent and the expected number of members. Source: BloomFilter (rocketmq-filter 5.5.0)."""

    def __init__(self, error_rate: int, count: int) -> None:
        rate = error_rate / 100.0
        self.hashes = math.ceil(math.log(rate) / math.log(0.5))
        bits = math.ceil(count * (math.log(1 / rate) / math.log(2)) * (math.log(math.e) / math.log(2)))
        self.bits = 8 * math.ceil(bits / 8.0)

    def generate(self, key: str) -> BloomFilterData:
        """Where the bits of a member are."""
        low = murmur3_128_low(key.encode("utf-8", "replace"))
        first, second = _int32(low), _int32(low >> 32)
        positions = []
        for number in range(1, self.hashes + 1):
            combined = _int32(first + number * second)
            positions.append((~combined if combined < 0 else combined) % self.bits)
        return BloomFilterData(tuple(positions), self.bits)

    def is_valid(self, data: BloomFilterData | None) -> bool:
        """Whether the data was made by a filter of these sizes."""
        return data is not None and data.bit_num == self.bits and len(data.bit_pos) == self.hashes


def murmur3_128_low(data: bytes) -> int:
    """The low 64 bits of MurmurHash3 x64 128 with seed 0, unsigned."""
    first = second = 0
    whole = len(data) - len(data) % 16
    for at in range(0, whole, 16):
        first ^= _mix_first(int.from_bytes(data[at : at + 8], "little"))
        first = ((_rotated(first, 27) + second) * 5 + 0x52DCE729) & _MASK
        second ^= _mix_second(int.from_bytes(data[at + 8 : at + 16], "little"))
        second = ((_rotated(second, 31) + first) * 5 + 0x38495AB5) & _MASK
    rest = data[whole:]
    second ^= _mix_second(int.from_bytes(rest[8:], "little"))
    first ^= _mix_first(int.from_bytes(rest[:8], "little"))
    first ^= len(data)
    second ^= len(data)
    first = (first + second) & _MASK
    second = (second + first) & _MASK
    return (_final(first) + _final(second)) & _MASK


def _mix_first(value: int) -> int:
    return _rotated(value * _C1 & _MASK, 31) * _C2 & _MASK


def _mix_second(value: int) -> int:
    return _rotated(value * _C2 & _MASK, 33) * _C1 & _MASK


def _final(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _MASK


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >= 1 << 31 else value
