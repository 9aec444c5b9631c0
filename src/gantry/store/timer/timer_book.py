"""What waits until when: wheel, timer log and the account of both, without clock or log of messages.

Theory. A message that waits is a record of the timer's topic. Entering it adds an entry to the timer log and links it into the
slot of its time: the slot knows its newest entry, each entry the one before. Two numbers say how far the timer has come:
`queue_offset`, below which the records of its topic are entered, and `read_time_ms`, before which slots have fired. All of it
is derived; a checkpoint makes it certain, in this order:

    1  timer log synced                  every entry the wheel will speak of is on the disk
    2  (the caller: log of messages synced, for nothing may be said of what a power cut can take)
    3  own state replaced                the one moment that counts: old account or new one
    4  wheel written and synced, timercheck too

A crash before 3 finds the old account: entries behind it are cut off and entered again from the topic. A crash behind 3 may
find a wheel of any mixture of old and new slots; entries from `base_position` on are linked once more where the slot does
not know them yet, which is exact, because a slot that knows an entry knows all before it, too.
"""

from __future__ import annotations

import enum
import logging
import posixpath
from array import array
from typing import NamedTuple

from gantry.errors import StoreError
from gantry.protocol.disk.timer_checkpoint_layout import (
    TIMER_CHECKPOINT_FILE_SIZE,
    TIMER_CHECKPOINT_SIZE,
    TimerCheckpoint,
    decode_timer_checkpoint,
    encode_timer_checkpoint,
)
from gantry.protocol.disk.timer_log_unit import (
    DELAY_MS_MAX,
    MAGIC_DEFAULT,
    MAGIC_DELETE,
    MAGIC_ROLL,
    NO_POSITION,
    UNIT_SIZE,
    TimerLogUnit,
)
from gantry.protocol.disk.timer_wheel_slot import WHEEL_SLOTS
from gantry.runtime.disk import Disk
from gantry.runtime.replace import load_file, make_dirs_synced, replace_file

from .own_state import TimerState, decode_timer_state, encode_timer_state
from .timer_log import TimerLog
from .timer_wheel import TimerWheel

log = logging.getLogger(__name__)

_SPARE_SLOTS = 60
_ROLL_SLOTS_MIN = 2


class Found(enum.Enum):
    """What a start found."""

    NOTHING = "nothing"
    OWN = "own"
    """Files of ours, or of a Java broker that this one continued."""
    FOREIGN = "foreign"
    """A Java broker wrote last."""
    LOST = "lost"
    """Files are missing or do not fit: everything is entered again from the topic."""


class Collected(NamedTuple):
    """Positions of a slot's entries, oldest first, those of the marks that recall, and the newest of all."""

    positions: array[int]
    marks: array[int]
    last_position: int


class TimerBook:
    """Owned by one task. Calls said to be blocking go through Disk.run, and nothing else is called meanwhile.

    `slot_count` is for tests; the official wheel has one size.
    """

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        precision_ms: int,
        roll_window_slots: int,
        log_file_size: int,
        slot_count: int = WHEEL_SLOTS,
    ) -> None:
        self.precision_ms = precision_ms
        most = slot_count // 2 - _SPARE_SLOTS
        self.roll_window_slots = (
            roll_window_slots if _ROLL_SLOTS_MIN <= roll_window_slots <= most else max(most, _ROLL_SLOTS_MIN)
        )
        self.wheel = TimerWheel(disk, f"{root}/timerwheel", slot_count=slot_count, precision_ms=precision_ms)
        self.log = TimerLog(disk, f"{root}/timerlog", file_size=log_file_size)
        self.read_time_ms = 0
        self.queue_offset = 0
        self.moved_below = 0
        self.moving_to = 0
        self.first_position = 0
        """Files of the timer log that end at or before it are not needed any more."""
        self.state: TimerState | None = None
        """The account as it was saved last."""
        self._disk = disk
        self._check_path = f"{root}/config/timercheck"
        self._state_path = f"{root}/gantry/timerState.json"
        self._version = 0
        self._wheel_position = 0
        self._check = ""
        """What timercheck holds, as hex digits."""

    # -- start and stop

    def load(self, now_ms: int) -> Found:
        """Reads what is there and repairs it; afterwards `read_time_ms` and `queue_offset` are set. Blocking.

        Raises: DiskError. FOREIGN leaves `queue_offset` as timercheck says; the caller may know better from `last_entry()`.
        """
        state = self._load_state()
        check = self._load_check()
        self._check = check.hex() if check is not None else ""
        ours = state is not None and (check is None or _is_ours(check, state.checks))
        has_log = self.log.load(state.log_position if state is not None and ours else None)
        has_wheel = self.wheel.load()
        found = self._judge(state, check, has_log, has_wheel)
        if state is not None:
            self._version = state.version_counter
            self.moved_below, self.moving_to = state.moved_below, state.moving_to
            self.first_position = state.first_position
        self.read_time_ms = self.floor(now_ms)
        if found is Found.OWN and state is not None:
            self.state = state
            self.read_time_ms, self.queue_offset = state.read_time_ms, state.queue_offset
            self.log.cut(state.log_position)
            self._link_again(state.base_position, state.log_position)
        elif found is Found.FOREIGN and check is not None:
            self.first_position = self.log.first
            decoded = decode_timer_checkpoint(check)
            assert decoded is not None
            self._adopt(decoded)
            if any(slot.last_position >= self.log.end for slot in self.wheel.pending(self.read_time_ms)):
                log.warning(
                    "the wheel speaks of entries that the timer log does not have; all are entered again from the topic"
                )
                found = Found.LOST
        if found is Found.LOST:
            self.log.remove()
            self.wheel.remove()
            self.queue_offset = self.first_position = 0
        self._wheel_position = self.log.end
        return found

    def close(self) -> None:
        self.wheel.close()
        self.log.close()

    def last_entry(self) -> TimerLogUnit | None:
        """The newest entry of the timer log. Blocking."""
        room = self.log.file_size
        position = self.log.end
        if position <= self.log.first:
            return None
        if position % room == 0:  # behind a blank: the file before ends with it
            last = None
            for _, unit in self.log.units(position - room, position):
                last = unit
            return last
        return self.log.read(position - UNIT_SIZE)

    # -- entering

    def floor(self, time_ms: int) -> int:
        return time_ms - time_ms % self.precision_ms

    def count_at(self, time_ms: int) -> int:
        """How many messages wait for this time."""
        slot = self.wheel.get(time_ms)
        return slot.message_count if slot is not None else 0

    def place(
        self, out_ms: int, floor_ms: int, physical_offset: int, record_size: int, topic_hash: int, *, recalls: bool = False
    ) -> TimerLogUnit:
        """Enters a message (or, `recalls`, the mark that recalls one) that is due when the slot of `out_ms` is over.

        `floor_ms` is the time now, in whole slots. What should have fired already fires with the next look: the slot before
        `read_time_ms` is opened anew for it.
        """
        step = self.precision_ms
        slot_ms, magic, fresh = self.floor(out_ms), MAGIC_DEFAULT, False
        if slot_ms < self.read_time_ms:
            slot_ms = self.read_time_ms
            if slot_ms >= floor_ms:
                slot_ms = self.read_time_ms = slot_ms - step
                fresh = True
        else:
            window = self.roll_window_slots * step
            base = max(min(self.read_time_ms + step, floor_ms), self.read_time_ms)
            over = slot_ms - base - window
            if over >= 0:
                magic |= MAGIC_ROLL
                near = over < self.roll_window_slots // 3 * step
                slot_ms = base + (self.roll_window_slots // 2 * step if near else window)
        slot = self.wheel.raw(slot_ms)
        while not fresh and slot.tick != slot_ms // step and slot.tick * step >= self.read_time_ms:
            # Another time that is still to come has the place: only after the wall clock was wrong by weeks.
            slot_ms += step
            magic |= MAGIC_ROLL
            slot = self.wheel.raw(slot_ms)
        linked = not fresh and slot.tick == slot_ms // step
        if recalls:
            magic |= MAGIC_DELETE
        late = not 0 <= slot_ms - floor_ms <= DELAY_MS_MAX
        unit = TimerLogUnit(
            UNIT_SIZE,
            slot.last_position if linked else NO_POSITION,
            magic,
            slot_ms if late else floor_ms,
            0 if late else slot_ms - floor_ms,
            physical_offset,
            record_size,
            topic_hash,
        )
        self._link(self.log.append(unit), unit)
        return unit

    def _link(self, position: int, unit: TimerLogUnit) -> None:
        slot_ms = unit.slot_time_ms
        slot = self.wheel.get(slot_ms)
        change = -1 if unit.recalls else 1
        if slot is not None and unit.previous_position != NO_POSITION:
            self.wheel.put(slot_ms, slot.first_position, position, slot.message_count + change)
            return
        first, count = position, change
        while unit.previous_position != NO_POSITION:
            # A Java broker was killed before its wheel had this slot; the chain says where it begins.
            before = self.log.read(unit.previous_position)
            if before is None or unit.previous_position >= first:
                break
            first, unit = unit.previous_position, before
            count += -1 if unit.recalls else 1
        self.wheel.put(slot_ms, first, position, count)

    def _link_again(self, begin: int, end: int) -> None:
        """Links entries that their slots do not know yet. Blocking."""
        for position, unit in self.log.units(begin, end):
            if unit.slot_time_ms < self.read_time_ms:
                continue
            slot = self.wheel.get(unit.slot_time_ms)
            if slot is None or slot.last_position < position:
                self._link(position, unit)

    # -- firing

    def collect(self, slot_ms: int, above: int = NO_POSITION) -> Collected:
        """The slot's entries behind position `above`. Blocking. Memory: 8 bytes an entry."""
        positions, marks = array("q"), array("q")
        slot = self.wheel.get(slot_ms)
        if slot is None:
            return Collected(positions, marks, above)
        position = slot.last_position
        while position > above:
            unit = self.log.read(position)
            if unit is None:
                break  # older entries went with the part of the log they spoke of
            (marks if unit.recalls and not unit.rolls else positions).append(position)
            if unit.previous_position >= position:
                log.error(
                    "the entry at %d of the timer log says that %d came before it; its slot ends here",
                    position,
                    unit.previous_position,
                )
                break
            position = unit.previous_position
        positions.reverse()
        marks.reverse()
        return Collected(positions, marks, slot.last_position)

    def entries(self, positions: array[int]) -> list[tuple[int, TimerLogUnit]]:
        """The entries at ascending positions. Blocking."""
        found = [(position, self.log.read(position)) for position in reversed(positions)]
        found.reverse()
        if any(unit is None for _, unit in found):
            raise StoreError(f"the timer log has no entry at one of the positions {positions[0]} to {positions[-1]}")
        return [(position, unit) for position, unit in found if unit is not None]

    def next_slot(self, upto_ms: int, count_max: int) -> int | None:
        """Time of the first slot in [read_time_ms, upto_ms) that has entries, looking at `count_max` at most; moves
        `read_time_ms` there, or behind what was looked at."""
        step = self.precision_ms
        while self.read_time_ms < upto_ms and count_max:
            count_max -= 1
            blank_upto = self.wheel.skip_blank(self.read_time_ms)
            if blank_upto > self.read_time_ms:
                self.read_time_ms = min(blank_upto, upto_ms)
                continue
            if self.wheel.get(self.read_time_ms) is not None:
                return self.read_time_ms
            self.read_time_ms += step
        return None

    def is_pending(self, position: int, unit: TimerLogUnit) -> bool:
        """The entry has not fired yet."""
        if unit.slot_time_ms < self.read_time_ms:
            return False
        slot = self.wheel.get(unit.slot_time_ms)
        return slot is not None and slot.first_position <= position <= slot.last_position

    def pending_below(
        self, offset: int, start_position: int, count_max: int
    ) -> tuple[list[tuple[int, TimerLogUnit]], int | None]:
        """Entries not fired yet whose records lie below an offset of the log of messages, from a position of the timer log on.

        Returns up to `count_max` of them and where to go on; None when there are no more. Blocking; write() before. The timer
        log has its entries in the order of their records, so this reads one stretch of it.
        """
        found: list[tuple[int, TimerLogUnit]] = []
        for start in self.log.starts:
            file_end = min(start + self.log.file_size, self.log.end)
            if file_end <= start_position:
                continue
            for position, unit in self.log.units(max(start, start_position), file_end):
                if unit.physical_offset >= offset:
                    return found, None
                if self.is_pending(position, unit):
                    found.append((position, unit))
                    if len(found) >= count_max:
                        return found, position + UNIT_SIZE
        return found, None

    def forget_below(self, physical_offset: int) -> bool:
        """Moves `first_position` behind entries that all speak of records below this offset; True when it moved. Blocking.

        remove_files() deletes what lies before it, once a checkpoint has noted it.
        """
        before = self.first_position
        for start, following in zip(self.log.starts, self.log.starts[1:], strict=False):
            first = next(self.log.units(following, following + UNIT_SIZE), None)
            if first is None or first[1].physical_offset > physical_offset:
                break
            self.first_position = max(start + self.log.file_size, self.first_position)
        return self.first_position > before

    def remove_files(self) -> int:
        """Blocking. Returns how many files of the timer log were deleted."""
        return self.log.remove_before(self.first_position)

    # -- checkpoint

    @property
    def has_files(self) -> bool:
        """Something waits or waited: there is an account to keep."""
        return self.log.end > 0 or self.queue_offset > 0 or self.state is not None

    def sync_log(self) -> None:
        """Step 1. Blocking."""
        self.log.write()
        self.log.sync()

    def save(self, state: TimerState) -> None:
        """Steps 3 and 4, of an account taken before the caller synced the log of messages. Blocking. Raises: DiskError."""
        self._version += 1
        check = encode_timer_checkpoint(_checkpoint_of(state, self._version))
        state.version_counter = self._version
        state.checks = [check.hex(), *([self._check] if self._check else [])]
        make_dirs_synced(self._disk, posixpath.dirname(self._state_path))
        replace_file(self._disk, self._state_path, encode_timer_state(state))
        self.state = state
        self._write_check(check)
        self._check = check.hex()
        self.wheel.flush()
        self._wheel_position = state.log_position

    def account(self) -> TimerState:
        """The account as it is now, but for `scan_offset` and counts, which the caller knows."""
        return TimerState(
            precision_ms=self.precision_ms,
            log_position=self.log.end,
            base_position=self._wheel_position,
            queue_offset=self.queue_offset,
            read_time_ms=self.read_time_ms,
            moved_below=self.moved_below,
            moving_to=self.moving_to,
            first_position=self.first_position,
        )

    def checkpoint(self) -> TimerCheckpoint:
        """How far it has come, as timercheck has it."""
        return _checkpoint_of(self.account(), self._version)

    # -- inside

    def _judge(self, state: TimerState | None, check: bytes | None, has_log: bool, has_wheel: bool) -> Found:
        any_file = self._disk.is_dir(self.log.directory) or self._disk.exists(self.wheel.path) or check is not None
        if not any_file and state is None:
            return Found.NOTHING
        if not has_log:
            log.warning("the files of the timer log in %s do not fit together", self.log.directory)
            return Found.LOST
        if check is None:
            # A crash may come before timercheck was written for the first time.
            if state is None or len(state.checks) > 1:
                return Found.LOST
        elif state is None or not _is_ours(check, state.checks):
            return Found.FOREIGN if has_wheel else Found.LOST
        if state is None or state.precision_ms != self.precision_ms or self.log.end < state.log_position:
            return Found.LOST
        if self.log.starts and self.log.first > state.first_position:
            log.warning("the timer log begins at %d, it should at %d", self.log.first, state.first_position)
            return Found.LOST
        if not has_wheel and state.base_position:
            return Found.LOST
        return Found.OWN

    def _adopt(self, check: TimerCheckpoint) -> None:
        """Takes over what a Java broker left: its log ends at the first bytes that are no entry.

        Source: TimerMessageStore.recover (5.5).
        """
        if check.last_read_time_ms > 0:
            self.read_time_ms = self.floor(check.last_read_time_ms)
        self.queue_offset = max(check.last_timer_queue_offset, 0)
        begin = max(check.last_timer_log_flush_pos - self.log.file_size, self.log.first)
        begin -= begin % self.log.file_size
        end = begin
        for position, _ in self.log.units(begin, self.log.end):
            end = position + UNIT_SIZE
        self.log.cut(end)
        self._link_again(begin, end)

    def _load_state(self) -> TimerState | None:
        try:
            return load_file(self._disk, self._state_path, decode_timer_state)
        except ValueError as error:
            log.warning("the timer's own account is lost: %s", error)
            return None

    def _load_check(self) -> bytes | None:
        if not self._disk.exists(self._check_path):
            return None
        data = self._disk.read_file(self._check_path)[:TIMER_CHECKPOINT_SIZE]
        return data if decode_timer_checkpoint(data) is not None else None

    def _write_check(self, check: bytes) -> None:
        new = not self._disk.exists(self._check_path)
        if new:
            make_dirs_synced(self._disk, posixpath.dirname(self._check_path))
        file = self._disk.open(self._check_path, create=True, size=TIMER_CHECKPOINT_FILE_SIZE)
        try:
            file.pwrite(check, 0)
            file.sync()
        finally:
            file.close()
        if new:
            self._disk.sync_dir(posixpath.dirname(self._check_path))


def _is_ours(check: bytes, known: list[str]) -> bool:
    """What timercheck holds is what we wrote: the newer or the older of two, or a mixture where a crash cut the writing."""
    candidates = [bytes.fromhex(each) for each in known]
    if len(candidates) == 1:
        candidates.append(bytes(len(check)))  # made, and not written yet
    return all(any(byte == each[at] for each in candidates) for at, byte in enumerate(check))


def _checkpoint_of(state: TimerState, version: int) -> TimerCheckpoint:
    return TimerCheckpoint(
        last_read_time_ms=state.read_time_ms,
        last_timer_log_flush_pos=state.log_position,
        last_timer_queue_offset=state.queue_offset,
        master_timer_queue_offset=state.queue_offset,
        version_timestamp=state.read_time_ms,
        version_counter=version,
    )
