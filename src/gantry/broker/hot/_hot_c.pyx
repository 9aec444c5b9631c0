# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The engine compiled: `_hot_py.py` is its pure twin and says what counts as a common send.

Per read it cuts the frames, reads the headers where they lie, and lays the records out in the store's plan; no object is made
for a message. What is in any way unusual, also in how its header is written, is left to others as a frame. It makes no
system call.
"""

from bisect import bisect_left

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from gantry.broker.hot._headers_c cimport (
    BATCH,
    BORN,
    END_TRANSACTION,
    FLAG,
    GROUP,
    MAX_RECONSUME,
    PROPERTIES,
    PULL_MESSAGE,
    QUEUE_ID,
    QUEUE_NUMS,
    RECONSUME,
    SEND_BATCH_MESSAGE,
    SEND_MESSAGE,
    SEND_REQUIRED,
    SYS_FLAG,
    TOPIC,
    Header,
    get2,
    get4,
    has_high,
    is_true,
    put4,
    put8,
    put_binary_head,
    put_json_end,
    put_json_middle,
    put_number,
    put_prefix,
    put_text,
    read_binary,
    read_json,
    read_number,
)
from gantry.broker.hot._pull_c cimport PullDesk
from gantry.broker.hot._transactions_c cimport HalfText, TransactionDesk, scan_half
from gantry.broker.hot.gates cimport ends_are_common, pulls_are_common, sends_are_common
from gantry.store._append_c cimport AppendPlan, Found, Laid, Planned, QueueTail, Scan, TopicRow, is_utf8, scan_properties

from gantry.errors import MessageIllegal, RemoteProtocolError
from gantry.model import StoreMessage, topic_config, topic_validator
from gantry.protocol.message.message_id import encode_host
from gantry.protocol.remoting.frame import Frame, FrameDecoder

from ..metrics.counters import SIZE_BOUNDS
from ..transaction.half_message import HALF_TOPIC, MARKS_SIZE_MAX
from ..transaction.planned import PlannedTransactions
from ._hot_py import BATCH_COUNT_MAX, RARE_FLAGS
from ._plan_py import SendSuffix, encoded_answer, encoded_end_answer
from ._transactions_py import COMMIT as _COMMIT
from ._transactions_py import PREPARED as _PREPARED
from .delayed import place_delayed

cdef int32_t _RARE_FLAGS = RARE_FLAGS
cdef int32_t _BATCH_COUNT_MAX = BATCH_COUNT_MAX
cdef int64_t PREPARED = _PREPARED
cdef int64_t COMMIT = _COMMIT
cdef bytes _HALF_TOPIC = HALF_TOPIC.encode()
cdef Py_ssize_t HALF_PROPERTIES_MAX = 32767 - MARKS_SIZE_MAX
cdef str _SINGLE_TAG = topic_config.SINGLE_TAG

cdef Py_ssize_t PREFIX = 8
cdef Py_ssize_t BATCH_FIXED = 22
cdef Py_ssize_t PROPERTIES_SIZE_MAX = 32767
cdef int64_t QUEUE_ID_END = 1 << 16
cdef Py_ssize_t CUTTER_KEPT = 1 << 16
cdef Py_ssize_t OUT_BYTES_MAX = 1 << 20

cdef int64_t[6] SIZE_BOUND
SIZE_BOUND[0], SIZE_BOUND[1], SIZE_BOUND[2], SIZE_BOUND[3], SIZE_BOUND[4], SIZE_BOUND[5] = SIZE_BOUNDS

cdef struct Reply:
    int32_t opaque
    int32_t queue_id
    int32_t first
    int32_t count
    int32_t unique_range
    int32_t unique_size
    Py_ssize_t unique_at
    int32_t handle
    uint8_t serialize_type
    uint8_t waits
    uint8_t code_place


cdef struct Count:
    int32_t lane
    int32_t queue_id
    int64_t messages
    int64_t bytes
    int64_t requests


cdef enum:
    SIZES = 7  # as many as SIZE_BOUNDS of metrics/counters.py, and one
    KINDS = 4  # as many as HOT_KINDS there
    NORMAL_KIND = 0
    FIFO_KIND = 1
    DELAY_KIND = 2
    TRANSACTION_KIND = 3
    CODES = 4  # as many as HOT_CODES of metrics/rpc.py

cdef struct Kind:
    int64_t messages
    int64_t bytes
    int64_t means
    int64_t sizes[SIZES]


cdef struct Tally:
    # What came into a topic, by kind.
    int32_t lane
    Kind kinds[KINDS]


cdef struct QueueSlot:
    int64_t plan_number
    int32_t count_index
    bint counted
    int64_t messages
    int64_t bytes
    int64_t requests


# --- the bytes of one connection

cdef class FrameCutter:
    """What has come of a connection's bytes and is no whole frame yet, and who sends them."""

    cdef uint8_t* _held
    cdef Py_ssize_t _size
    cdef Py_ssize_t _capacity
    cdef readonly int64_t frame_bytes_max
    cdef readonly int64_t header_bytes_max
    cdef object _host
    cdef int _port
    cdef bytes _born_host

    def __cinit__(self, int64_t frame_bytes_max, int64_t header_bytes_max):
        self.frame_bytes_max = frame_bytes_max
        self.header_bytes_max = header_bytes_max

    def __dealloc__(self):
        free(self._held)

    @property
    def buffered_bytes(self):
        return self._size

    cdef int append(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity
        cdef uint8_t* grown
        if self._size + size > self._capacity:
            capacity = self._capacity if self._capacity else 4096
            while capacity < self._size + size:
                capacity *= 2
            grown = <uint8_t*>realloc(self._held, capacity)
            if grown == NULL:
                raise MemoryError
            self._held = grown
            self._capacity = capacity
        memcpy(self._held + self._size, data, size)
        self._size += size
        return 0

    cdef void keep_from(self, Py_ssize_t at) noexcept:
        """Drops what stands before `at`."""
        self._size -= at
        if self._size:
            memmove(self._held, self._held + at, self._size)
        if self._capacity > CUTTER_KEPT and self._size < CUTTER_KEPT // 2:
            # A large frame is over: what it needed is given back.
            self._shrink()

    cdef void _shrink(self) noexcept:
        cdef uint8_t* smaller
        if not self._size:
            free(self._held)
            self._held = NULL
            self._capacity = 0
            return
        smaller = <uint8_t*>realloc(self._held, CUTTER_KEPT)
        if smaller != NULL:
            self._held = smaller
            self._capacity = CUTTER_KEPT

    cdef bytes born_host(self, host, int port):
        """The sender as it stands in a record; None when it has no such form."""
        if host is not self._host or port != self._port:
            self._host, self._port = host, port
            try:
                self._born_host = encode_host((host, port))
            except (ValueError, OverflowError):
                self._born_host = None
        return self._born_host


# --- topics as the engine knows them

cdef class Lane:
    """One topic: its settings as last seen, and its queues."""

    cdef str name
    cdef object config
    cdef TopicRow row
    cdef bint usable
    cdef bint system
    cdef int64_t read_queue_nums
    cdef int64_t write_queue_nums
    cdef int64_t checked_by
    cdef int64_t queue_changes
    cdef int32_t number
    cdef list queues
    cdef QueueSlot* slots
    cdef Py_ssize_t slot_count
    cdef Kind kinds[KINDS]
    cdef bint tallied
    cdef int64_t tally_plan
    cdef Py_ssize_t tally_index

    def __cinit__(self):
        memset(&self.kinds[0], 0, KINDS * sizeof(Kind))
        self.tally_plan = -1
        self.queues = []
        self.checked_by = -1

    def __dealloc__(self):
        free(self.slots)

    cdef int reserve(self, Py_ssize_t count) except -1:
        cdef QueueSlot* grown
        cdef Py_ssize_t i
        if count > self.slot_count:
            grown = <QueueSlot*>realloc(self.slots, count * sizeof(QueueSlot))
            if grown == NULL:
                raise MemoryError
            for i in range(self.slot_count, count):
                grown[i].plan_number = -1
                grown[i].counted = False
                grown[i].messages = grown[i].bytes = grown[i].requests = 0
                self.queues.append(None)
            self.slots = grown
            self.slot_count = count
        return 0


# --- plans

cdef class HotPlan:
    """What one read asks for; see the pure twin."""

    cdef public AppendPlan store_plan
    cdef public object failure
    cdef readonly Py_ssize_t message_count
    cdef readonly list sections
    cdef readonly object suffix
    cdef int64_t number
    cdef Py_ssize_t reply_count
    cdef Reply* _replies
    cdef Py_ssize_t _reply_capacity
    cdef Count* _counts
    cdef Py_ssize_t _count_count
    cdef Py_ssize_t _count_capacity
    cdef list _lanes
    cdef list _handles
    cdef list _uniques
    cdef dict _delayed_counts
    cdef readonly Py_ssize_t waiting_count
    cdef readonly object transactions
    cdef int _ends_are_common  # not asked yet: below 0
    cdef public int64_t began_ns
    cdef Tally* _tallies
    cdef Py_ssize_t _tally_count
    cdef Py_ssize_t _tally_capacity
    cdef int64_t _oneway[CODES]

    def __cinit__(self):
        self.sections = []
        self._ends_are_common = -1

    def __dealloc__(self):
        free(self._tallies)
        free(self._replies)
        free(self._counts)

    @property
    def log_bytes(self):
        return 0 if self.store_plan is None else self.store_plan.end - self.store_plan.start

    def code_counts(self, waiting):
        """See the pure twin."""
        cdef Py_ssize_t i
        cdef int chosen = -1 if waiting is None else (1 if waiting else 0)
        cdef int64_t answered[CODES]
        memset(&answered[0], 0, CODES * sizeof(int64_t))
        for i in range(self.reply_count):
            if chosen < 0 or self._replies[i].waits == chosen:
                answered[self._replies[i].code_place] += 1
        return (
            [answered[i] for i in range(CODES)],
            [self._oneway[i] if chosen != 1 else 0 for i in range(CODES)],
        )

    def answers(self, Py_ssize_t first, Py_ssize_t end, waiting, int code, remark=None):
        """See the pure twin."""
        cdef Py_ssize_t i, size = 0
        cdef uint8_t* out
        cdef uint8_t* p
        cdef Reply* reply
        cdef int chosen = -1 if waiting is None else (1 if waiting else 0)
        cdef list parts
        cdef bytes made
        if remark is not None:
            parts = []
            for i in range(first, end):
                reply = &self._replies[i]
                if chosen < 0 or reply.waits == chosen:
                    if reply.count:
                        parts.append(encoded_answer(self.suffix, reply.opaque, reply.serialize_type, code, remark, {}))
                    else:
                        parts.append(encoded_end_answer(reply.opaque, reply.serialize_type, code, remark))
            return b"".join(parts)
        if first >= end:
            return b""
        if not self.suffix.is_plain:
            return b"".join([
                self._slow_answer(&self._replies[i], code)
                for i in range(first, end)
                if chosen < 0 or self._replies[i].waits == chosen
            ])
        cdef bytes region = self.suffix.region_bytes
        cdef bytes trace = self.suffix.trace_bytes
        cdef bytes host = self.suffix.store_host
        for i in range(first, end):
            reply = &self._replies[i]
            size += 420 + reply.unique_size + PyBytes_GET_SIZE(region) + 60 * <Py_ssize_t>reply.count
            if reply.handle >= 0:
                size += PyBytes_GET_SIZE(<bytes>self._handles[reply.handle]) + 40
        out = <uint8_t*>malloc(size)
        if out == NULL:
            raise MemoryError
        parts = None
        try:
            p = out
            for i in range(first, end):
                reply = &self._replies[i]
                if chosen >= 0 and reply.waits != chosen:
                    continue
                if not reply.count:
                    p = write_end_answer(p, reply, code)
                    continue
                if reply.serialize_type == 0 and not is_plain(self._unique_of(reply), reply.unique_size):
                    made = self._slow_answer(reply, code)
                    if parts is None:
                        parts = []
                    parts.append(PyBytes_FromStringAndSize(<char*>out, p - out))
                    parts.append(made)
                    p = out
                    continue
                p = self._write_answer(p, reply, code, region, trace, host)
            made = PyBytes_FromStringAndSize(<char*>out, p - out)
        finally:
            free(out)
        if parts is None:
            return made
        parts.append(made)
        return b"".join(parts)

    cdef uint8_t* _write_answer(self, uint8_t* begin, Reply* reply, int code, bytes region, bytes trace, bytes host) except NULL:
        cdef uint8_t* p = begin + PREFIX
        cdef uint8_t* mark
        cdef uint8_t* ext
        cdef bytes handle
        cdef const uint8_t* unique = self._unique_of(reply)
        cdef int64_t queue_offset = self.store_plan._records[reply.first].queue_offset
        if reply.serialize_type == 0:
            p = put_text(p, '{"code":', 8)
            p = put_number(p, code)
            p = put_text(p, ',"extFields":{"MSG_REGION":"', 28)
            p = put_text(p, PyBytes_AS_STRING(region), PyBytes_GET_SIZE(region))
            p = put_text(p, '","TRACE_ON":"', 14)
            p = put_text(p, PyBytes_AS_STRING(trace), PyBytes_GET_SIZE(trace))
            p = put_text(p, '","msgId":"', 11)
            p = self._write_ids(p, reply, host)
            p = put_text(p, '","queueId":"', 13)
            p = put_number(p, reply.queue_id)
            p = put_text(p, '","queueOffset":"', 17)
            p = put_number(p, queue_offset)
            if reply.handle >= 0:
                handle = <bytes>self._handles[reply.handle]
                p = put_text(p, '","recallHandle":"', 18)
                p = put_text(p, PyBytes_AS_STRING(handle), PyBytes_GET_SIZE(handle))
            p = put_text(p, '","transactionId":"', 19)
            p = put_text(p, <const char*>unique, reply.unique_size)
            p = put_text(p, '"}', 2)
            p = put_json_end(put_json_middle(p, reply.opaque))
        else:
            p = put_binary_head(p, code, reply.opaque)
            p = put4(p, 0)
            ext = p
            p += 4
            p = put_text(p, "\x00\x05msgId", 7)
            mark = p
            p = self._write_ids(p + 4, reply, host)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x07queueId", 9)
            mark = p
            p = put_number(p + 4, reply.queue_id)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0bqueueOffset", 13)
            mark = p
            p = put_number(p + 4, queue_offset)
            put4(mark, <uint32_t>(p - mark - 4))
            p = put_text(p, "\x00\x0dtransactionId", 15)
            p = put4(p, <uint32_t>reply.unique_size)
            p = put_text(p, <const char*>unique, reply.unique_size)
            if reply.handle >= 0:
                handle = <bytes>self._handles[reply.handle]
                p = put_text(p, "\x00\x0crecallHandle", 14)
                p = put4(p, <uint32_t>PyBytes_GET_SIZE(handle))
                p = put_text(p, PyBytes_AS_STRING(handle), PyBytes_GET_SIZE(handle))
            p = put_text(p, "\x00\x0aMSG_REGION", 12)
            p = put4(p, <uint32_t>PyBytes_GET_SIZE(region))
            p = put_text(p, PyBytes_AS_STRING(region), PyBytes_GET_SIZE(region))
            p = put_text(p, "\x00\x08TRACE_ON", 10)
            p = put4(p, <uint32_t>PyBytes_GET_SIZE(trace))
            p = put_text(p, PyBytes_AS_STRING(trace), PyBytes_GET_SIZE(trace))
            put4(ext, <uint32_t>(p - ext - 4))
        put_prefix(begin, p, 0, reply.serialize_type)
        return p

    cdef uint8_t* _write_ids(self, uint8_t* p, Reply* reply, bytes host) noexcept:
        cdef Py_ssize_t i, k, n = PyBytes_GET_SIZE(host)
        cdef const uint8_t* h = <const uint8_t*>PyBytes_AS_STRING(host)
        cdef const char* digits = "0123456789ABCDEF"
        cdef int64_t place
        cdef int shift
        for i in range(reply.first, reply.first + reply.count):
            if i > reply.first:
                p[0] = c','
                p += 1
            for k in range(n):
                p[0] = <uint8_t>digits[h[k] >> 4]
                p[1] = <uint8_t>digits[h[k] & 15]
                p += 2
            place = self.store_plan._records[i].physical_offset
            shift = 60
            while shift >= 0:
                p[0] = <uint8_t>digits[(place >> shift) & 15]
                p += 1
                shift -= 4
        return p

    cdef bytes _slow_answer(self, Reply* reply, int code):
        if not reply.count:
            return encoded_end_answer(reply.opaque, reply.serialize_type, code)
        cdef bytes unique = PyBytes_FromStringAndSize(<char*>self._unique_of(reply), reply.unique_size)
        cdef bytes host = self.suffix.store_host
        ids = [
            (host + int(self.store_plan._records[i].physical_offset).to_bytes(8, "big")).hex().upper()
            for i in range(reply.first, reply.first + reply.count)
        ]
        fields = {
            "msgId": ",".join(ids),
            "queueId": str(reply.queue_id),
            "queueOffset": str(self.store_plan._records[reply.first].queue_offset),
            "transactionId": unique.decode("utf-8", "replace"),
        }
        if reply.handle >= 0:
            fields["recallHandle"] = (<bytes>self._handles[reply.handle]).decode()
        return encoded_answer(self.suffix, reply.opaque, reply.serialize_type, code, None, fields)

    cdef const uint8_t* _unique_of(self, Reply* reply) except NULL:
        if reply.unique_range < 0:
            return <const uint8_t*>PyBytes_AS_STRING(<bytes>self._uniques[reply.unique_at])
        return self.store_plan.text_at(reply.unique_range, reply.unique_at)

    cdef int _keep_unique(self, Found* unique) except -1:
        """The last reply says a unique key that no record of it has: that of a batch."""
        if self._uniques is None:
            self._uniques = []
        self._replies[self.reply_count - 1].unique_range = -1
        self._replies[self.reply_count - 1].unique_at = len(self._uniques)
        self._uniques.append(PyBytes_FromStringAndSize(<char*>unique.at, unique.size))
        return 0

    cdef bint _add_reply(self, Header* header, uint8_t serialize_type, int32_t queue_id, Py_ssize_t first, bint waits,
                         Py_ssize_t unique_at, Py_ssize_t unique_size) except -1:
        """False when no answer is wanted; such requests are counted only."""
        cdef Py_ssize_t capacity
        cdef Reply* grown
        cdef Reply* reply
        if header.flag & 2:
            self._oneway[code_place(header.code)] += 1
            return False
        if self.reply_count == self._reply_capacity:
            capacity = self._reply_capacity * 2 if self._reply_capacity else 8
            grown = <Reply*>realloc(self._replies, capacity * sizeof(Reply))
            if grown == NULL:
                raise MemoryError
            self._replies = grown
            self._reply_capacity = capacity
        reply = &self._replies[self.reply_count]
        reply.opaque = header.opaque
        reply.queue_id = queue_id
        reply.first = <int32_t>first
        reply.count = <int32_t>(self.store_plan.count - first)
        reply.unique_range = self.store_plan._records[first].range_number if reply.count else 0
        reply.unique_at = unique_at
        reply.unique_size = <int32_t>unique_size
        reply.handle = -1
        reply.serialize_type = serialize_type
        reply.waits = waits
        reply.code_place = code_place(header.code)
        self.reply_count += 1
        if waits:
            self.waiting_count += 1
        return True

    cdef int _give_handle(self, bytes handle) except -1:
        """The last reply says it."""
        if self._handles is None:
            self._handles = []
        self._replies[self.reply_count - 1].handle = <int32_t>len(self._handles)
        self._handles.append(handle)
        return 0

    cdef int _count_delayed(self, str topic, int32_t queue_id, int kind, int64_t size) except -1:
        """Counted under where it waits, and the queue that was asked for."""
        if self._delayed_counts is None:
            self._delayed_counts = {}
        self._delayed_counts.setdefault((topic, queue_id, kind), []).append(size)
        return 0

    cdef int _count(self, Lane lane, int32_t queue_id, int64_t messages, int64_t size, int64_t number) except -1:
        cdef Count* grown
        cdef Py_ssize_t capacity
        cdef QueueSlot* slot = &lane.slots[queue_id]
        cdef Count* count
        if slot.plan_number != number:
            if self._count_count == self._count_capacity:
                capacity = self._count_capacity * 2 if self._count_capacity else 8
                grown = <Count*>realloc(self._counts, capacity * sizeof(Count))
                if grown == NULL:
                    raise MemoryError
                self._counts = grown
                self._count_capacity = capacity
            if self._lanes is None:
                self._lanes = []
            if not self._lanes or self._lanes[len(self._lanes) - 1] is not lane:
                self._lanes.append(lane)
            slot.plan_number = number
            slot.count_index = <int32_t>self._count_count
            count = &self._counts[self._count_count]
            count.lane = <int32_t>(len(self._lanes) - 1)
            count.queue_id = queue_id
            count.messages = count.bytes = count.requests = 0
            self._count_count += 1
            # The plan's records point to the queue.
            self.store_plan.keep(lane.queues[queue_id])
        count = &self._counts[slot.count_index]
        count.messages += messages
        count.bytes += size
        count.requests += 1
        return 0

    cdef int _tally(self, Lane lane, int32_t queue_id, int kind_place, int64_t messages, int64_t size, int64_t number) except -1:
        """Counts a request for its topic, behind _count()."""
        cdef Tally* grown
        cdef Py_ssize_t capacity, at
        cdef Kind* kind
        cdef int64_t mean = size // messages
        if lane.tally_plan != number:
            if self._tally_count == self._tally_capacity:
                capacity = self._tally_capacity * 2 if self._tally_capacity else 4
                grown = <Tally*>realloc(self._tallies, capacity * sizeof(Tally))
                if grown == NULL:
                    raise MemoryError
                self._tallies = grown
                self._tally_capacity = capacity
            lane.tally_plan = number
            lane.tally_index = self._tally_count
            memset(&self._tallies[self._tally_count], 0, sizeof(Tally))
            self._tallies[self._tally_count].lane = self._counts[lane.slots[queue_id].count_index].lane
            self._tally_count += 1
        kind = &self._tallies[lane.tally_index].kinds[kind_place]
        kind.messages += messages
        kind.bytes += size
        kind.means += mean
        at = 0
        while at < SIZES - 1 and mean > SIZE_BOUND[at]:
            at += 1
        kind.sizes[at] += 1
        return 0


cdef uint8_t code_place(int32_t code) noexcept nogil:
    """As in HOT_CODES of metrics/rpc.py."""
    if code == SEND_BATCH_MESSAGE:
        return 2
    if code == END_TRANSACTION:
        return 3
    return 0 if code == SEND_MESSAGE else 1


cdef uint8_t* write_end_answer(uint8_t* begin, Reply* reply, int code) noexcept:
    """An answer that has no fields, as the codecs write it."""
    cdef uint8_t* p = begin + PREFIX
    if reply.serialize_type == 0:
        p = put_text(p, '{"code":', 8)
        p = put_number(p, code)
        p = put_json_end(put_json_middle(p, reply.opaque))
    else:
        p = put_binary_head(p, code, reply.opaque)
        p = put4(p, 0)
        p = put4(p, 0)
    put_prefix(begin, p, 0, reply.serialize_type)
    return p


cdef bint is_plain(const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """Stands in a JSON string as it is: letters, digits, - and _, at least one letter or digit."""
    cdef Py_ssize_t i
    cdef uint8_t c
    cdef bint any_letter = False
    for i in range(size):
        c = p[i]
        if (c >= 48 and c <= 57) or (c >= 65 and c <= 90) or (c >= 97 and c <= 122):
            any_letter = True
        elif c != c'-' and c != c'_':
            return False
    return any_letter


cdef void add_kind(Kind* to, Kind* more) noexcept nogil:
    cdef int i
    if more.messages:
        to.messages += more.messages
        to.bytes += more.bytes
        to.means += more.means
        for i in range(SIZES):
            to.sizes[i] += more.sizes[i]


# --- the engine

cdef class HotEngine:
    """One per broker. Topics, queues and settings stay with their owners and are read where they are."""

    cdef readonly object name
    cdef object _broker
    cdef object _suffix
    cdef bytes _suffix_bytes
    cdef dict _lanes
    cdef list _counted
    cdef dict _delayed_counts
    cdef dict _delayed_ins
    cdef list _tallied
    cdef int64_t[5] _totals
    cdef Lane _last
    cdef bytes _last_name
    cdef int64_t _plan_number
    cdef uint8_t* _scratch
    cdef Py_ssize_t _scratch_size
    cdef Scan* _scans
    cdef int32_t _scan_count
    cdef object _table
    cdef object _queues
    cdef bytes _store_host
    cdef int64_t _batch_bytes_max
    cdef PullDesk _desk
    cdef TransactionDesk _transactions
    cdef Lane _half_lane
    cdef readonly int64_t pulls_answered
    cdef readonly int64_t halves_taken
    cdef readonly int64_t ends_taken

    def __cinit__(self):
        self.name = "c"
        self._lanes = {}
        self._counted = []
        self._delayed_counts = {}
        self._delayed_ins = {}
        self._tallied = []

    def __init__(self, broker):
        self._broker = broker
        self._suffix = SendSuffix()
        self._desk = PullDesk(broker)
        self._transactions = TransactionDesk(broker)

    def __dealloc__(self):
        free(self._scratch)
        free(self._scans)

    def decoder(self, frame_bytes_max, header_bytes_max):
        """What keeps the bytes of one connection."""
        return FrameCutter(frame_bytes_max, header_bytes_max)

    def count(self, HotPlan plan not None):
        """See the pure twin."""
        cdef Py_ssize_t i
        cdef int k
        cdef Count* count
        cdef Lane lane
        cdef QueueSlot* slot
        for i in range(plan._count_count):
            count = &plan._counts[i]
            lane = <Lane>plan._lanes[count.lane]
            slot = &lane.slots[count.queue_id]
            slot.messages += count.messages
            slot.bytes += count.bytes
            slot.requests += count.requests
            if not slot.counted:
                slot.counted = True
                self._counted.append((lane, count.queue_id))
            self._totals[0] += count.messages
            self._totals[1] += count.bytes
            self._totals[2] += count.requests
            if lane.system:
                self._totals[3] += count.messages
                self._totals[4] += count.requests
        if plan._delayed_counts is not None:
            self._take_delayed(plan)
        for i in range(plan._tally_count):
            lane = <Lane>plan._lanes[plan._tallies[i].lane]
            for k in range(KINDS):
                add_kind(&lane.kinds[k], &plan._tallies[i].kinds[k])
            if not lane.tallied:
                lane.tallied = True
                self._tallied.append(lane)

    cdef int _take_delayed(self, HotPlan plan) except -1:
        for (topic, queue_id, kind), sizes in plan._delayed_counts.items():
            messages, size = len(sizes), sum(sizes)
            row = self._delayed_counts.setdefault((topic, queue_id), [0, 0])
            row[0] += messages
            row[1] += size
            ins = self._delayed_ins.setdefault((topic, kind), [0, 0, 0, [0] * SIZES])
            ins[0] += messages
            ins[1] += size
            ins[2] += size
            for each in sizes:
                ins[3][bisect_left(SIZE_BOUNDS, each)] += 1
            self._totals[0] += messages
            self._totals[1] += size
            self._totals[2] += messages
            if self._broker.topics.is_system_topic(topic):
                self._totals[3] += messages
                self._totals[4] += messages
        return 0

    def take_ins(self):
        """See the pure twin."""
        cdef Lane lane
        cdef int k, i
        cdef list taken = []
        for lane in self._tallied:
            lane.tallied = False
            for k in range(KINDS):
                if lane.kinds[k].messages:
                    taken.append((
                        lane.name, k, lane.kinds[k].messages, lane.kinds[k].bytes, lane.kinds[k].means,
                        [lane.kinds[k].sizes[i] for i in range(SIZES)],
                    ))
            memset(&lane.kinds[0], 0, KINDS * sizeof(Kind))
        self._tallied = []
        for (topic, kind), row in self._delayed_ins.items():
            taken.append((topic, kind, row[0], row[1], row[2], row[3]))
        self._delayed_ins = {}
        return taken

    def take_totals(self):
        """See the pure twin."""
        cdef int i
        totals = (self._totals[0], self._totals[1], self._totals[2], self._totals[3], self._totals[4])
        for i in range(5):
            self._totals[i] = 0
        return totals

    def take_counts(self):
        """See the pure twin."""
        cdef Lane lane
        cdef QueueSlot* slot
        cdef int32_t queue_id
        cdef list taken = []
        if self._delayed_counts:
            for (topic, asked), (messages, size) in self._delayed_counts.items():
                taken.append((topic, asked, messages, size, messages))
            self._delayed_counts = {}
        if not self._counted:
            return taken
        for lane, queue_id in self._counted:
            slot = &lane.slots[queue_id]
            taken.append((lane.name, queue_id, slot.messages, slot.bytes, slot.requests))
            slot.counted = False
            slot.messages = slot.bytes = slot.requests = 0
        self._counted = []
        return taken

    def take_gets(self):
        """Group, topic, queue id, messages, bytes and requests of answered pulls since the last call."""
        return self._desk.take_gets()

    def answer_held(self, held):
        """See the pure twin."""
        answer = self._desk.answer_held(held)
        if answer is not None:
            self.pulls_answered += 1
        return answer

    def plan(self):
        """An empty plan."""
        cdef HotPlan plan = HotPlan.__new__(HotPlan)
        self._plan_number += 1
        plan.number = self._plan_number
        return plan

    def ingest(self, HotPlan plan not None, FrameCutter cutter not None, channel, bytes data not None):
        """Cuts frames, lays out the common sends in the plan, answers the common pulls, and returns the others.

        Raises: RemoteProtocolError when the bytes begin with something that is no frame; behind whole frames it is
                left in the plan's `failure`.
        """
        cdef list out = None
        cdef bytes answer
        cdef Header header
        cdef int pulls = -1
        cdef Py_ssize_t out_bytes = 0
        cdef bint served
        cdef list frames = []
        cdef Py_ssize_t first = plan.reply_count, messages = plan.message_count
        cdef const uint8_t* p
        cdef Py_ssize_t size, at = 0, have
        cdef int64_t total
        cdef int32_t length
        cdef Py_ssize_t header_size
        cdef bint from_cutter = cutter._size > 0, bad = False
        cdef bytes born
        if from_cutter:
            cutter.append(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
            p = cutter._held
            size = cutter._size
            if size >= 4 and size - 4 < <int32_t>get4(p) and <int32_t>get4(p) <= cutter.frame_bytes_max - 4 and size >= 8:
                # Still the same unfinished frame, and its beginning was looked at before.
                if PyBytes_GET_SIZE(data) < size - 8:
                    return frames
        else:
            p = <const uint8_t*>PyBytes_AS_STRING(data)
            size = PyBytes_GET_SIZE(data)
        born = cutter.born_host(channel.remote_host, channel.remote_port)
        try:
            while True:
                have = size - at
                if have < 4:
                    break
                length = <int32_t>get4(p + at)
                total = length
                if total > cutter.frame_bytes_max - 4 or total < 4:
                    bad = True
                    break
                if have < PREFIX:
                    break
                header_size = get4(p + at + 4) & 0xFFFFFF
                if header_size > total - 4 or header_size > cutter.header_bytes_max or p[at + 4] > 1:
                    bad = True
                    break
                if have < 4 + total:
                    break
                served = False
                if born is not None and self._read_header(p[at + 4], p + at + PREFIX, header_size, &header):
                    if header.code == END_TRANSACTION:
                        served = self._end(plan, p[at + 4], &header)
                    elif header.code != PULL_MESSAGE:
                        served = self._send(
                            plan, p[at + 4], &header, p + at + PREFIX + header_size, <Py_ssize_t>(total - 4 - header_size), born,
                            cutter,
                        )
                    elif out_bytes < OUT_BYTES_MAX:
                        if pulls < 0:
                            pulls = pulls_are_common(self._broker) and not channel.write_paused
                        if pulls:
                            answer = self._desk.answer(&header, p[at + 4], channel)
                            if answer is not None:
                                served = True
                                self.pulls_answered += 1
                                out_bytes += PyBytes_GET_SIZE(answer)
                                if out is None:
                                    out = [answer]
                                else:
                                    out.append(answer)
                if not served:
                    frames.append(
                        Frame(
                            <int>p[at + 4],
                            PyBytes_FromStringAndSize(<char*>p + at + PREFIX, header_size),
                            PyBytes_FromStringAndSize(
                                <char*>p + at + PREFIX + header_size, <Py_ssize_t>(total - 4 - header_size)
                            ),
                        )
                    )
                at += <Py_ssize_t>(4 + total)
            if bad:
                self._fail(
                    cutter, plan, PyBytes_FromStringAndSize(<char*>p + at, min(size - at, PREFIX)),
                    not frames and plan.message_count == messages,
                )
        finally:
            if plan.reply_count > first:
                plan.sections.append((channel, first, plan.reply_count))
            if out is not None:
                channel.write(out[0] if len(out) == 1 else b"".join(out))
        if from_cutter:
            cutter.keep_from(at)
        elif at < size:
            cutter.append(p + at, size - at)
        return frames

    def _fail(self, FrameCutter cutter, HotPlan plan, bytes beginning, bint at_once):
        """What is wrong is for the one decoder that has words for it to say."""
        decoder = FrameDecoder(cutter.frame_bytes_max, cutter.header_bytes_max)
        decoder.receive_data(beginning)
        try:
            decoder.next_frame()
        except RemoteProtocolError as error:
            if at_once:
                raise
            plan.failure = error

    # -- inside

    cdef bint _accepts(self, HotPlan plan) except -1:
        broker = self._broker
        if plan.suffix is not None:
            return True
        if not sends_are_common(broker):
            return False
        suffix = self._suffix.of(broker)
        if suffix is not self._suffix or self._table is None:
            self._suffix = suffix
            self._suffix_bytes = suffix.properties
            self._store_host = suffix.store_host
            self._table = broker.topics.table
            self._queues = broker.store.queue_table
            self._batch_bytes_max = broker.config.mapped_file_size_commit_log >> 1
        if self._store_host is None:
            return False
        plan.suffix = suffix
        return True

    cdef Lane _lane(self, Found* topic, int64_t plan_number):
        """The topic's lane, its settings as they are now; None when its sends go the long way."""
        cdef Lane lane = self._last
        cdef bytes key
        if lane is None or topic.size != PyBytes_GET_SIZE(self._last_name) or memcmp(
            topic.at, PyBytes_AS_STRING(self._last_name), topic.size
        ) != 0:
            key = PyBytes_FromStringAndSize(<char*>topic.at, topic.size)
            lane = <Lane>self._lanes.get(key)
            if lane is None:
                lane = self._new_lane(key)
                if lane is None:
                    return None
            self._last = lane
            self._last_name = key
        if lane.checked_by != plan_number:
            lane.checked_by = plan_number
            config = self._table.get(lane.name)
            if config is not lane.config:
                if config is None:
                    self._lanes.pop(self._last_name, None)
                    self._last = None
                    return None
                self._adopt(lane, config)
            if lane.queue_changes != <int64_t>self._queues.changes:
                lane.queue_changes = self._queues.changes
                lane.queues = [None] * lane.slot_count
        return lane if lane.usable else None

    cdef Lane _lane_of(self, Found* topic, int64_t queue_id, int64_t plan_number):
        """As _lane(); None, too, when the topic has no such queue."""
        cdef Lane lane = self._lane(topic, plan_number)
        if lane is None or queue_id >= QUEUE_ID_END or (
            queue_id >= lane.write_queue_nums and queue_id >= lane.read_queue_nums
        ):
            return None
        return lane

    cdef Lane _new_lane(self, bytes key):
        cdef Lane lane
        cdef str name = key.decode()
        config = self._table.get(name)
        if config is None or not name or name[0] == "%":
            return None
        lane = Lane()
        lane.name = name
        lane.system = self._broker.topics.is_system_topic(name)
        lane.queue_changes = -1
        self._adopt(lane, config)
        self._lanes[key] = lane
        return lane

    cdef int _adopt(self, Lane lane, config) except -1:
        lane.config = config
        lane.read_queue_nums = config.read_queue_nums
        lane.write_queue_nums = config.write_queue_nums
        lane.usable = (
            config.topic_filter_type == _SINGLE_TAG and config.other_keeping is None and not topic_validator.is_not_allowed_send_topic(lane.name)
        )
        return 0

    cdef bint _read_header(self, uint8_t serialize_type, const uint8_t* p, Py_ssize_t size, Header* header) except -1:
        if serialize_type == 1:
            return read_binary(p, size, header)
        if size > self._scratch_size:
            free(self._scratch)
            self._scratch_size = 0
            self._scratch = <uint8_t*>malloc(size * 2)
            if self._scratch == NULL:
                raise MemoryError
            self._scratch_size = size * 2
        return read_json(p, size, self._scratch, header)

    cdef bint _send(self, HotPlan plan, uint8_t serialize_type, Header* header, const uint8_t* body, Py_ssize_t body_size,
                    bytes born, FrameCutter cutter) except -1:
        """Lays out one send; False leaves the frame to others, and the plan as it was."""
        cdef Scan scan
        cdef Laid laid
        cdef Lane lane
        cdef QueueTail queue
        cdef AppendPlan store_plan
        cdef int64_t queue_id, flags, flag, reconsume, born_timestamp, ignored
        cdef int i
        cdef bint waits, batch
        cdef Found* text
        cdef Py_ssize_t first, record_bytes, shared_size
        cdef bint open_end
        if header.flag & 1:
            return False
        for i in range(SEND_REQUIRED):
            if header.field[i].at == NULL:
                return False
        text = &header.field[PROPERTIES]
        if text.at == NULL or text.size == 0:
            return False
        if (
            not read_number(&header.field[QUEUE_ID], &queue_id, 9)
            or not read_number(&header.field[SYS_FLAG], &flags, 9)
            or not read_number(&header.field[FLAG], &flag, 9)
            or not read_number(&header.field[BORN], &born_timestamp, 18)
            or not read_number(&header.field[QUEUE_NUMS], &ignored, 9)
        ):
            return False
        reconsume = 0
        if header.field[RECONSUME].at != NULL and not read_number(&header.field[RECONSUME], &reconsume, 9):
            return False
        if header.field[MAX_RECONSUME].at != NULL and not read_number(&header.field[MAX_RECONSUME], &ignored, 9):
            return False
        if flags & _RARE_FLAGS:
            if flags & _RARE_FLAGS != PREPARED or header.code == SEND_BATCH_MESSAGE or is_true(&header.field[BATCH]):
                return False
            laid.flag = <int32_t>flag
            laid.sys_flag = <int32_t>(flags & ~PREPARED)
            laid.reconsume_times = <int32_t>reconsume
            laid.born_timestamp = born_timestamp
            laid.born_host = <const uint8_t*>PyBytes_AS_STRING(born)
            laid.born_host_size = PyBytes_GET_SIZE(born)
            laid.body = body
            laid.body_size = body_size
            return self._half(plan, serialize_type, header, queue_id, &laid)
        scan_properties(text.at, text.size, &scan)
        if not scan.names_unique or scan.unique.at == NULL:
            return False
        if not self._accepts(plan):
            return False
        lane = self._lane_of(&header.field[TOPIC], queue_id, plan.number)
        if lane is None:
            return False
        if scan.rare:
            return self._send_delayed(
                plan, serialize_type, header, lane, <int32_t>queue_id, flags, flag, born_timestamp, reconsume,
                PyBytes_FromStringAndSize(<char*>body, body_size), cutter, scan.is_fifo,
            )
        waits = scan.wait.at == NULL or is_true(&scan.wait)
        batch = header.code == SEND_BATCH_MESSAGE or is_true(&header.field[BATCH])
        store_plan = self._open(plan, lane)
        if store_plan is None:
            return False
        open_end = text.at[text.size - 1] != 2
        shared_size = text.size + open_end + PyBytes_GET_SIZE(self._suffix_bytes)
        if batch:
            if not self._members_fit(store_plan, lane.row, body, body_size):
                return False
        elif not store_plan.fits(body_size, shared_size, lane.row):
            return False
        queue = self._queue_of(lane, queue_id)
        # From here on nothing refuses it.
        laid.born_host = <const uint8_t*>PyBytes_AS_STRING(born)
        laid.born_host_size = PyBytes_GET_SIZE(born)
        laid.store_host = <const uint8_t*>PyBytes_AS_STRING(self._store_host)
        laid.store_host_size = PyBytes_GET_SIZE(self._store_host)
        laid.born_timestamp = born_timestamp
        laid.queue_id = <int32_t>queue_id
        laid.sys_flag = <int32_t>flags
        laid.reconsume_times = <int32_t>reconsume
        laid.unique = scan.unique
        first = store_plan.count
        if batch:
            # Members have their own properties only, as with 5.5.0.
            record_bytes = self._lay_out_members(store_plan, lane.row, queue, &laid, body, body_size)
        else:
            laid.body = body
            laid.body_size = body_size
            laid.flag = <int32_t>flag
            laid.own = text.at
            laid.own_size = text.size
            laid.own_open = open_end
            laid.shared = <const uint8_t*>PyBytes_AS_STRING(self._suffix_bytes)
            laid.shared_size = PyBytes_GET_SIZE(self._suffix_bytes)
            laid.tags = scan.tags
            laid.keys = scan.keys
            store_plan.lay_out(lane.row, queue, &laid)
            record_bytes = store_plan._records[first].size
        if waits:
            store_plan.must_wait = True
        plan.message_count += store_plan.count - first
        plan._count(lane, <int32_t>queue_id, store_plan.count - first, record_bytes, plan.number)
        plan._tally(lane, <int32_t>queue_id, FIFO_KIND if scan.is_fifo else NORMAL_KIND, store_plan.count - first, record_bytes, plan.number)
        if plan._add_reply(
            header, serialize_type, <int32_t>queue_id, first, waits,
            store_plan._records[first].properties_at + (scan.unique.at - text.at), scan.unique.size,
        ) and batch:
            plan._keep_unique(&scan.unique)
        return True

    # -- transactions

    cdef bint _half(self, HotPlan plan, uint8_t serialize_type, Header* header, int64_t queue_id, Laid* laid) except -1:
        """Lays out a half for this queue of its topic; False leaves the frame to others, and the plan as it was."""
        cdef HalfText half
        cdef Found* text = &header.field[PROPERTIES]
        cdef Lane lane, half_lane
        cdef QueueTail queue
        cdef AppendPlan store_plan
        cdef Py_ssize_t first
        cdef bint waits
        if not scan_half(text.at, text.size, &half) or half.not_from_senders or half.unique.at == NULL or not is_true(&half.mark):
            return False
        if not self._transactions.accepts_halves() or not self._accepts(plan):
            return False
        lane = self._lane_of(&header.field[TOPIC], queue_id, plan.number)
        if lane is None:
            return False
        half_lane = self._half_lane
        if half_lane is None:
            half_lane = self._half_lane = self._new_lane(_HALF_TOPIC)
            if half_lane is None:
                return False
        store_plan = self._open(plan, half_lane)
        if store_plan is None:
            return False
        laid.own = text.at
        laid.own_size = text.size
        laid.own_open = text.at[text.size - 1] != 2
        laid.shared = self._transactions.marks(
            self._suffix_bytes, &half, &header.field[GROUP], &header.field[TOPIC], queue_id, &laid.shared_size
        )
        if laid.own_size + laid.own_open + laid.shared_size > HALF_PROPERTIES_MAX or not store_plan.fits(
            laid.body_size, laid.own_size + laid.own_open + laid.shared_size, half_lane.row
        ):
            return False
        if half_lane.slot_count <= queue_id:
            half_lane.reserve(<Py_ssize_t>queue_id + 1)
        queue = self._transactions.half_queue()
        # From here on nothing refuses it.
        laid.store_host = <const uint8_t*>PyBytes_AS_STRING(self._store_host)
        laid.store_host_size = PyBytes_GET_SIZE(self._store_host)
        laid.queue_id = 0
        laid.unique = half.unique
        laid.tags = half.tags
        laid.keys = half.keys
        waits = half.wait.at == NULL or is_true(&half.wait)
        if half_lane.slots[queue_id].plan_number != plan.number:
            store_plan.keep(queue)
        first = store_plan.count
        store_plan.lay_out(half_lane.row, queue, laid)
        if waits:
            store_plan.must_wait = True
        plan.message_count += 1
        plan._count(half_lane, <int32_t>queue_id, 1, store_plan._records[first].size, plan.number)
        plan._tally(half_lane, <int32_t>queue_id, TRANSACTION_KIND, 1, store_plan._records[first].size, plan.number)
        plan._add_reply(
            header, serialize_type, <int32_t>queue_id, first, waits,
            store_plan._records[first].properties_at + (half.unique.at - text.at), half.unique.size,
        )
        halves = self._planned(plan).halves
        halves[lane.name] = halves.get(lane.name, 0) + 1
        self.halves_taken += 1
        return True

    cdef bint _end(self, HotPlan plan, uint8_t serialize_type, Header* header) except -1:
        """Lays out what one end of a transaction asks for; False leaves the frame to others, and the plan as it was."""
        cdef HalfText half
        cdef Laid laid
        cdef Lane lane
        cdef QueueTail queue
        cdef AppendPlan store_plan
        cdef Planned* record
        cdef int64_t outcome, queue_offset, physical_offset, half_ms
        cdef Py_ssize_t first
        if not self._transactions.find(header, &half, &laid, &outcome, &queue_offset, &physical_offset):
            return False
        if plan._ends_are_common < 0:
            plan._ends_are_common = ends_are_common(self._broker)
        if not plan._ends_are_common or not self._accepts(plan) or not self._transactions.is_open(queue_offset):
            return False
        planned = self._planned(plan)
        if queue_offset in planned.ended:
            return False
        lane = self._lane_of(&half.real_topic, laid.queue_id, plan.number)
        if lane is None:
            return False
        store_plan = self._open(plan, lane)
        if store_plan is None or not store_plan.fits(laid.body_size, laid.own_size, lane.row):
            return False
        first = store_plan.count
        if outcome == COMMIT:
            queue = self._queue_of(lane, laid.queue_id)
            store_plan.lay_out(lane.row, queue, &laid)
            record = &store_plan._records[first]
            record.transaction_type = <int32_t>COMMIT
            # The place of its half in the log, in front of the length of its body.
            put8(
                store_plan._rules._buffer + store_plan._used - record.size
                + 60 + laid.born_host_size + laid.store_host_size,
                physical_offset,
            )
            store_plan.must_wait = True
            plan._count(lane, laid.queue_id, 1, record.size, plan.number)
            half_ms = store_plan.store_timestamp - laid.born_timestamp
            if half_ms < 0:
                half_ms -= 999
            key = (lane.name, half_ms // 1000)
            planned.committed[key] = planned.committed.get(key, 0) + 1
        else:
            planned.rolled_back[lane.name] = planned.rolled_back.get(lane.name, 0) + 1
        planned.ended[queue_offset] = None
        plan.message_count += 1
        plan._add_reply(header, serialize_type, 0, store_plan.count, True, 0, 0)
        self.ends_taken += 1
        return True

    cdef object _planned(self, HotPlan plan):
        if plan.transactions is None:
            plan.transactions = PlannedTransactions()
        return plan.transactions

    cdef AppendPlan _store_plan(self, HotPlan plan):
        """Whether something is laid out in it or not, the caller ends it."""
        if plan.store_plan is None:
            plan.store_plan = self._broker.store.appender.new_plan()
        return plan.store_plan

    cdef AppendPlan _open(self, HotPlan plan, Lane lane):
        """The plan's own of the store; the lane has its row then. None when messages of its topic cannot be stored."""
        cdef AppendPlan store_plan = self._store_plan(plan)
        if lane.row is None:
            try:
                lane.row = store_plan._rules.row(lane.name)
            except MessageIllegal:
                return None
        return store_plan

    cdef QueueTail _queue_of(self, Lane lane, int64_t queue_id):
        cdef QueueTail queue
        if lane.slot_count <= queue_id:
            lane.reserve(<Py_ssize_t>queue_id + 1)
        queue = <QueueTail>lane.queues[<Py_ssize_t>queue_id]
        if queue is None:
            queue = self._queues.find_or_create(lane.name, queue_id)
            lane.queue_changes = self._queues.changes
            lane.queues[<Py_ssize_t>queue_id] = queue
        return queue

    cdef bint _send_delayed(self, HotPlan plan, uint8_t serialize_type, Header* header, Lane lane, int32_t queue_id,
                            int64_t flags, int64_t flag, int64_t born_timestamp, int64_t reconsume, bytes body,
                            FrameCutter cutter, bint is_fifo) except -1:
        """Lays out a send that waits in the timer or a delay level; False as in _send()."""
        cdef AppendPlan store_plan
        cdef Py_ssize_t first
        cdef bytes text
        if header.code == SEND_BATCH_MESSAGE or is_true(&header.field[BATCH]):
            return False
        text = PyBytes_FromStringAndSize(<char*>header.field[PROPERTIES].at, header.field[PROPERTIES].size)
        placed = place_delayed(self._broker, lane.name, queue_id, text)
        if placed is None:
            return False
        topic, waits_at, properties, unique_at, unique_key, handle, waits = placed
        store_plan = self._store_plan(plan)
        first = store_plan.count
        try:
            store_plan.add(
                StoreMessage(
                    topic, waits_at, body, properties, flag, flags, born_timestamp, (cutter._host, cutter._port),
                    self._broker.store_host, reconsume, 0, waits,
                )
            )
        except MessageIllegal:
            return False
        plan.message_count += 1
        plan._count_delayed(topic, queue_id, FIFO_KIND if is_fifo else DELAY_KIND, store_plan._records[first].size)
        if plan._add_reply(
            header, serialize_type, queue_id, first, waits,
            store_plan._records[first].properties_at + <Py_ssize_t>unique_at, len(unique_key),
        ) and handle:
            plan._give_handle(handle)
        return True

    cdef int _more_scans(self) except -1:
        cdef Py_ssize_t count = max(64, 2 * self._scan_count)
        cdef Scan* scans = <Scan*>realloc(self._scans, count * sizeof(Scan))
        if scans == NULL:
            raise MemoryError
        self._scans = scans
        self._scan_count = count
        return 0

    cdef bint _members_fit(self, AppendPlan plan, TopicRow row, const uint8_t* body, Py_ssize_t size) except -1:
        """Whether a batch is whole, nothing in it is unusual, and it is within all limits."""
        cdef Py_ssize_t at = 0, body_at, properties_at
        cdef int64_t total = 0
        cdef int32_t member_size, member_body, count = 0, own_size
        cdef Scan* scan
        if size == 0 or size > self._batch_bytes_max:
            return False
        while at < size:
            count += 1
            if count > _BATCH_COUNT_MAX or size - at < BATCH_FIXED:
                return False
            member_size = <int32_t>get4(body + at)
            member_body = <int32_t>get4(body + at + 16)
            body_at = at + 20
            if member_body < 0 or member_body > size - body_at - 2:
                return False
            own_size = <int32_t>get2(body + body_at + member_body)
            properties_at = body_at + member_body + 2
            if own_size > 32767 or own_size > size - properties_at or member_size != properties_at + own_size - at:
                return False
            if count > self._scan_count:
                self._more_scans()
            scan = &self._scans[count - 1]
            scan_properties(body + properties_at, own_size, scan)
            if scan.rare:
                return False
            if has_high(body + properties_at, own_size) and not is_utf8(body + properties_at, own_size):
                return False
            if own_size > 0 and body[properties_at + own_size - 1] == 0:
                return False  # it would look torn: the processors refuse it
            if not plan.fits(member_body, own_size, row):
                return False
            total += member_body + own_size
            if total > plan._size_max:
                return False
            at = properties_at + own_size
        return True

    cdef Py_ssize_t _lay_out_members(self, AppendPlan plan, TopicRow row, QueueTail queue, Laid* laid,
                                     const uint8_t* body, Py_ssize_t size) except -1:
        """Lays out a batch that fits; returns the bytes of its records."""
        cdef Py_ssize_t at = 0, record_bytes = 0
        cdef int32_t member_body, own_size
        cdef Scan* own = self._scans  # as _members_fit left them
        laid.own_open = False
        laid.shared = body
        laid.shared_size = 0
        while at < size:
            member_body = <int32_t>get4(body + at + 16)
            own_size = <int32_t>get2(body + at + 20 + member_body)
            laid.flag = <int32_t>get4(body + at + 12)
            laid.body = body + at + 20
            laid.body_size = member_body
            laid.own = body + at + 22 + member_body
            laid.own_size = own_size
            laid.unique = own.unique
            laid.tags = own.tags
            laid.keys = own.keys
            plan.lay_out(row, queue, laid)
            record_bytes += plan._records[plan.count - 1].size
            own += 1
            at += 22 + member_body + own_size
        return record_bytes
