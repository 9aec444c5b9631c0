# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Halves and their ends compiled: `_transactions_py.py` is the pure twin and says which of them are common."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from "gantry/_core/fast_bytes.h":
    size_t gantry_next_separator(const uint8_t* p, size_t at, size_t size) nogil

from gantry.broker.hot._headers_c cimport (
    GROUP,
    LOG_OFFSET,
    MSG_ID,
    OUTCOME,
    TABLE_OFFSET,
    Header,
    get2,
    get4,
    get8,
    is_true,
    put_number,
    put_text,
    read_number,
)
from gantry.store._append_c cimport Found, HotTail, Laid, QueueTail

from gantry.model import message_const, sys_flag

from ..transaction.half_message import HALF_TOPIC, QUEUE_ID
from ._transactions_py import COMMIT as _COMMIT
from ._transactions_py import NOT_FROM_SENDERS
from ._transactions_py import ROLLBACK as _ROLLBACK

cdef int64_t COMMIT = _COMMIT
cdef int64_t ROLLBACK = _ROLLBACK
cdef int BORN_HOST_V6 = sys_flag.BORN_HOST_V6
cdef int STORE_HOST_V6 = sys_flag.STORE_HOST_V6
cdef uint32_t MAGIC_V1 = 0xDAA320A7
cdef uint32_t MAGIC_V2 = 0xDAA320AB
cdef Py_ssize_t RECORD_SIZE_MIN = 91

cdef enum:
    PAIRS_MAX = 64
    NAMES_MAX = 32

cdef struct Name:
    const char* text
    Py_ssize_t size

cdef Name not_from_senders[NAMES_MAX]
cdef int not_from_senders_count = 0
cdef list _kept_names = sorted(name.encode() for name in NOT_FROM_SENDERS)


cdef int _take_names() except -1:
    global not_from_senders_count
    cdef bytes name
    if len(_kept_names) > NAMES_MAX:
        raise ValueError("more names than there is room for")
    for name in _kept_names:
        not_from_senders[not_from_senders_count].text = PyBytes_AS_STRING(name)
        not_from_senders[not_from_senders_count].size = PyBytes_GET_SIZE(name)
        not_from_senders_count += 1
    return 0


_take_names()


cdef bint scan_half(const uint8_t* text, Py_ssize_t size, HalfText* found) noexcept nogil:
    """False when the properties are not written as this broker writes them: each name once, each with a value."""
    cdef Found names[PAIRS_MAX]
    cdef int count = 0, i
    cdef Py_ssize_t at = 0, end, stop, n
    cdef const uint8_t* name
    cdef Found* which
    memset(found, 0, sizeof(found[0]))
    if memchr(text, 0, size) != NULL:
        return False
    while at < size:
        if count == PAIRS_MAX:
            return False
        end = <Py_ssize_t>gantry_next_separator(text, <size_t>at, <size_t>size)
        if end >= size or text[end] != 1 or end == at:
            return False
        stop = <Py_ssize_t>gantry_next_separator(text, <size_t>(end + 1), <size_t>size)
        if stop == end + 1 or (stop < size and text[stop] != 2):
            return False
        name = text + at
        n = end - at
        for i in range(count):
            if names[i].size == n and memcmp(names[i].at, name, n) == 0:
                return False
        names[count].at = name
        names[count].size = n
        count += 1
        which = NULL
        if n == 8:
            if memcmp(name, "UNIQ_KEY", 8) == 0:
                which = &found.unique
            elif memcmp(name, "TRAN_MSG", 8) == 0:
                which = &found.mark
            elif memcmp(name, "REAL_QID", 8) == 0:
                which = &found.real_queue
        elif n == 4:
            if memcmp(name, "WAIT", 4) == 0:
                which = &found.wait
            elif memcmp(name, "TAGS", 4) == 0:
                which = &found.tags
            elif memcmp(name, "KEYS", 4) == 0:
                which = &found.keys
        elif n == 6:
            if memcmp(name, "PGROUP", 6) == 0:
                which = &found.group
        elif n == 10:
            if memcmp(name, "REAL_TOPIC", 10) == 0:
                which = &found.real_topic
        elif n == 30:
            if memcmp(name, "CHECK_IMMUNITY_TIME_IN_SECONDS", 30) == 0:
                found.immunity = True
        if which != NULL:
            which.at = text + end + 1
            which.size = stop - end - 1
        for i in range(not_from_senders_count):
            if not_from_senders[i].size == n and memcmp(not_from_senders[i].text, name, n) == 0:
                found.not_from_senders = True
                break
        at = stop + 1
    return True


cdef class TransactionDesk:
    """Reads what is asked for halves of one broker; what is laid out for them, the engine lays out."""

    def __init__(self, broker):
        self._broker = broker
        self._queue_table = broker.store.queue_table
        self._hot_tail = broker.store.commit_log.hot_tail
        self._is_open = broker.transactions.ledger.is_open_in_place
        self._queue_changes = -1

    def __dealloc__(self):
        free(self._marks)

    cdef bint accepts_halves(self) except -1:
        return not self._broker.config.reject_transaction_message

    cdef QueueTail half_queue(self):
        """The queue of halves; made when it is not there."""
        if self._queue is None or self._queue_changes != <int64_t>self._queue_table.changes:
            self._queue = self._queue_table.find_or_create(HALF_TOPIC, QUEUE_ID)
            self._queue_changes = self._queue_table.changes
        return self._queue

    cdef const uint8_t* marks(self, bytes suffix, HalfText* half, Found* group, Found* topic, int64_t queue_id,
                              Py_ssize_t* size) except NULL:
        """What stands behind a half's own properties: what each message gets, and whose half it is. Valid until the next call."""
        cdef Py_ssize_t most = PyBytes_GET_SIZE(suffix) + half.unique.size + group.size + topic.size + 128
        cdef uint8_t* p
        if self._marks_capacity < most:
            p = <uint8_t*>realloc(self._marks, most)
            if p == NULL:
                raise MemoryError
            self._marks = p
            self._marks_capacity = most
        p = put_text(self._marks, PyBytes_AS_STRING(suffix), PyBytes_GET_SIZE(suffix))
        p = put_text(p, "__transactionId__\x01", 18)
        p = put_text(p, <const char*>half.unique.at, half.unique.size)
        if half.group.at == NULL:
            p = put_text(p, "\x02PGROUP\x01", 8)
            p = put_text(p, <const char*>group.at, group.size)
        p = put_text(p, "\x02REAL_TOPIC\x01", 12)
        p = put_text(p, <const char*>topic.at, topic.size)
        p = put_text(p, "\x02REAL_QID\x01", 10)
        p = put_number(p, queue_id)
        p = put_text(p, "\x02", 1)
        size[0] = p - self._marks
        return self._marks

    cdef bint find(self, Header* header, HalfText* half, Laid* laid, int64_t* outcome, int64_t* queue_offset,
                   int64_t* physical_offset) except -1:
        """The half that an end names, as its commit is laid out; False leaves the end to others.

        What `laid` and `half` point to is valid until the next call.
        """
        cdef QueueTail queue
        cdef const uint8_t* unit
        cdef const uint8_t* p
        cdef Py_ssize_t count, begin = 0, size, at, topic_at
        cdef int32_t flags
        cdef uint32_t magic
        cdef int64_t queue_id
        if header.flag & 1 or header.field[GROUP].at == NULL or header.field[MSG_ID].at == NULL:
            return False
        if (
            not read_number(&header.field[TABLE_OFFSET], queue_offset, 18)
            or not read_number(&header.field[LOG_OFFSET], physical_offset, 18)
            or not read_number(&header.field[OUTCOME], outcome, 9)
        ):
            return False
        if outcome[0] != COMMIT and outcome[0] != ROLLBACK:
            return False
        # What the queue says is a half is one; what a sender names may lie inside a message.
        queue = self.half_queue()
        if queue_offset[0] >= queue.visible_offset:
            return False
        unit = queue.units(queue_offset[0], &count)
        if unit == NULL or <int64_t>get8(unit) != physical_offset[0]:
            return False
        size = <int32_t>get4(unit + 8)
        self._held = self._hot_tail.chunk_of(physical_offset[0], size, &begin)
        if self._held is None or size < RECORD_SIZE_MIN:
            return False
        p = <const uint8_t*>PyBytes_AS_STRING(self._held) + begin
        magic = get4(p + 4)
        if <int32_t>get4(p) != size or (magic != MAGIC_V1 and magic != MAGIC_V2):
            return False
        flags = <int32_t>get4(p + 36)
        laid.flag = <int32_t>get4(p + 16)
        laid.born_timestamp = <int64_t>get8(p + 40)
        laid.born_host = p + 48
        laid.born_host_size = 20 if flags & BORN_HOST_V6 else 8
        at = 56 + laid.born_host_size
        laid.store_host = p + at
        laid.store_host_size = 20 if flags & STORE_HOST_V6 else 8
        at += laid.store_host_size
        laid.reconsume_times = <int32_t>get4(p + at)
        at += 12
        if at + 4 > size:
            return False
        laid.body_size = <int32_t>get4(p + at)
        at += 4
        if laid.body_size < 0 or laid.body_size > size - at - 4:
            return False
        laid.body = p + at
        topic_at = at + laid.body_size
        at = topic_at + (2 + get2(p + topic_at) if magic == MAGIC_V2 else 1 + p[topic_at])
        if at + 2 > size:
            return False
        laid.own = p + at + 2
        laid.own_size = get2(p + at)
        laid.own_open = False
        if at + 2 + laid.own_size != size:
            return False
        laid.shared = p
        laid.shared_size = 0
        laid.sys_flag = <int32_t>((flags & ~<int32_t>ROLLBACK) | <int32_t>COMMIT)
        if not scan_half(laid.own, laid.own_size, half):
            return False
        if half.immunity or half.real_topic.at == NULL or half.group.at == NULL or not read_number(&half.real_queue, &queue_id, 9):
            return False
        if half.group.size != header.field[GROUP].size or memcmp(half.group.at, header.field[GROUP].at, half.group.size) != 0:
            return False
        laid.queue_id = <int32_t>queue_id
        laid.unique = half.unique
        laid.tags = half.tags
        laid.keys = half.keys
        return True

    cdef bint is_open(self, int64_t queue_offset) except -1:
        return self._is_open(queue_offset)
