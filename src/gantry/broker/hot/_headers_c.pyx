# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Headers of the requests that the compiled engine serves, read where they lie, and what all of its answers share.

A reader answers False for what others are to read: another request, a malformed header, or one that is written in an
unusual way. What it takes, the codecs of `gantry.protocol.remoting` read the same.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from "gantry/_core/fast_bytes.h":
    size_t gantry_next_special(const uint8_t* p, size_t at, size_t size) nogil

from gantry.store._append_c cimport Found, is_utf8

from gantry.protocol.remoting.codes import CURRENT_VERSION, LanguageCode

cdef int FIELDS_MAX = 1024
cdef int VERSION = CURRENT_VERSION
cdef int LANGUAGE = int(LanguageCode.PYTHON)
cdef bytes _language = LanguageCode.PYTHON.name.encode()
cdef const char* language_name = _language
cdef Py_ssize_t language_name_size = len(_language)


cdef uint8_t* put_number(uint8_t* p, int64_t value) noexcept nogil:
    cdef char digits[24]
    cdef int n = 0
    cdef uint64_t rest
    if value < 0:
        p[0] = c'-'
        p += 1
        rest = <uint64_t>(-(value + 1)) + 1
    else:
        rest = <uint64_t>value
    while True:
        digits[n] = <char>(48 + rest % 10)
        n += 1
        rest = rest // 10
        if rest == 0:
            break
    while n > 0:
        n -= 1
        p[0] = <uint8_t>digits[n]
        p += 1
    return p


# --- answers

cdef uint8_t* put_binary_head(uint8_t* p, int code, int32_t opaque) noexcept nogil:
    """Of an answer: everything in front of the remark."""
    p[0] = <uint8_t>(code >> 8)
    p[1] = <uint8_t>code
    p[2] = <uint8_t>LANGUAGE
    p[3] = <uint8_t>(VERSION >> 8)
    p[4] = <uint8_t>VERSION
    return put4(put4(p + 5, <uint32_t>opaque), 1)


cdef uint8_t* put_json_middle(uint8_t* p, int32_t opaque) noexcept nogil:
    """Of an answer: what stands behind code and extFields, up to the remark."""
    p = put_text(p, ',"flag":1,"language":"', 22)
    p = put_text(p, language_name, language_name_size)
    p = put_text(p, '","opaque":', 11)
    return put_number(p, opaque)


cdef uint8_t* put_json_end(uint8_t* p) noexcept nogil:
    """Of an answer: what stands behind the remark."""
    p = put_text(p, ',"serializeTypeCurrentRPC":"JSON","version":', 44)
    p = put_number(p, VERSION)
    return put_text(p, '}', 1)


cdef void put_prefix(uint8_t* begin, uint8_t* header_end, Py_ssize_t body_size, uint8_t serialize_type) noexcept nogil:
    """The two lengths in front of a header that begins eight bytes behind `begin`."""
    put4(begin, <uint32_t>(header_end - begin - 4 + body_size))
    put4(begin + 4, <uint32_t>(header_end - begin - 8) | (<uint32_t>serialize_type << 24))


cdef bint has_high(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    cdef uint64_t word
    cdef Py_ssize_t i = 0
    while i + 8 <= n:
        memcpy(&word, p + i, 8)
        if word & <uint64_t>0x8080808080808080:
            return True
        i += 8
    while i < n:
        if p[i] & 0x80:
            return True
        i += 1
    return False


cdef bint read_number(Found* text, int64_t* value, Py_ssize_t digits_max) noexcept nogil:
    """Plain digits only, as the pure twin takes them."""
    cdef Py_ssize_t i
    cdef int64_t result = 0
    cdef uint8_t c
    if text.at == NULL or text.size == 0 or text.size > digits_max:
        return False
    for i in range(text.size):
        c = text.at[i]
        if c < 48 or c > 57:
            return False
        result = result * 10 + (c - 48)
    value[0] = result
    return True


cdef bint is_true(Found* text) noexcept nogil:
    return (
        text.at != NULL
        and text.size == 4
        and (text.at[0] | 32) == c't'
        and (text.at[1] | 32) == c'r'
        and (text.at[2] | 32) == c'u'
        and (text.at[3] | 32) == c'e'
    )


cdef int pull_name(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if n == 5:
        if memcmp(p, "topic", 5) == 0:
            return TOPIC
    elif n == 7:
        if memcmp(p, "queueId", 7) == 0:
            return QUEUE_ID
        if memcmp(p, "sysFlag", 7) == 0:
            return SYS_FLAG
    elif n == 10:
        if memcmp(p, "maxMsgNums", 10) == 0:
            return MAX_NUMS
        if memcmp(p, "subVersion", 10) == 0:
            return SUB_VERSION
    elif n == 11:
        if memcmp(p, "queueOffset", 11) == 0:
            return QUEUE_OFFSET
        if memcmp(p, "maxMsgBytes", 11) == 0:
            return MAX_BYTES
    elif n == 12:
        if memcmp(p, "commitOffset", 12) == 0:
            return COMMIT_OFFSET
        if memcmp(p, "subscription", 12) == 0:
            return SUBSCRIPTION
    elif n == 13:
        if memcmp(p, "consumerGroup", 13) == 0:
            return GROUP
    elif n == 14:
        if memcmp(p, "expressionType", 14) == 0:
            return EXPRESSION_TYPE
    elif n == 20:
        if memcmp(p, "suspendTimeoutMillis", 20) == 0:
            return SUSPEND_MS
        if memcmp(p, "proxyFrowardClientId", 20) == 0:
            return PROXY_CLIENT
    return UNKNOWN


cdef int end_name(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if n == 5:
        if memcmp(p, "msgId", 5) == 0:
            return MSG_ID
    elif n == 13:
        if memcmp(p, "producerGroup", 13) == 0:
            return GROUP
    elif n == 15:
        if memcmp(p, "commitLogOffset", 15) == 0:
            return LOG_OFFSET
    elif n == 16:
        if memcmp(p, "commitOrRollback", 16) == 0:
            return OUTCOME
    elif n == 20:
        if memcmp(p, "tranStateTableOffset", 20) == 0:
            return TABLE_OFFSET
    return UNKNOWN


cdef int long_name(const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if n == 5:
        if memcmp(p, "topic", 5) == 0:
            return TOPIC
        if memcmp(p, "batch", 5) == 0:
            return BATCH
    elif n == 4:
        if memcmp(p, "flag", 4) == 0:
            return FLAG
    elif n == 7:
        if memcmp(p, "queueId", 7) == 0:
            return QUEUE_ID
        if memcmp(p, "sysFlag", 7) == 0:
            return SYS_FLAG
    elif n == 8:
        if memcmp(p, "unitMode", 8) == 0:
            return UNIT_MODE
    elif n == 10:
        if memcmp(p, "properties", 10) == 0:
            return PROPERTIES
    elif n == 12:
        if memcmp(p, "defaultTopic", 12) == 0:
            return DEFAULT_TOPIC
    elif n == 13:
        if memcmp(p, "producerGroup", 13) == 0:
            return GROUP
        if memcmp(p, "bornTimestamp", 13) == 0:
            return BORN
    elif n == 14:
        if memcmp(p, "reconsumeTimes", 14) == 0:
            return RECONSUME
    elif n == 17:
        if memcmp(p, "maxReconsumeTimes", 17) == 0:
            return MAX_RECONSUME
    elif n == 21:
        if memcmp(p, "defaultTopicQueueNums", 21) == 0:
            return QUEUE_NUMS
    return UNKNOWN


cdef inline int short_name(uint8_t c) noexcept nogil:
    # a to m stand for the fields in the order of the enumeration, but reconsume times, unit mode, max and batch: j k l m
    if c >= c'a' and c <= c'm':
        return c - c'a'
    return UNKNOWN


cdef inline int name_of(int32_t code, const uint8_t* p, Py_ssize_t n) noexcept nogil:
    if code == PULL_MESSAGE:
        return pull_name(p, n)
    if code == SEND_MESSAGE:
        return long_name(p, n)
    if code == END_TRANSACTION:
        return end_name(p, n)
    return short_name(p[0]) if n == 1 else UNKNOWN


cdef inline bint is_served(int32_t code) noexcept nogil:
    return (
        code == SEND_MESSAGE_V2
        or code == SEND_MESSAGE
        or code == SEND_BATCH_MESSAGE
        or code == PULL_MESSAGE
        or code == END_TRANSACTION
    )


# --- binary headers

cdef bint read_binary(const uint8_t* p, Py_ssize_t size, Header* header) noexcept nogil:
    """False for a header that others are to read: malformed, of another kind, or unusual."""
    cdef Py_ssize_t at, end, n
    cdef int which, count = 0
    cdef bint high
    cdef const uint8_t* name
    if size < 25:
        return False
    header.code = <int32_t>get2(p)
    if not is_served(header.code):
        return False
    header.opaque = <int32_t>get4(p + 5)
    header.flag = <int32_t>get4(p + 9)
    if get4(p + 13) != 0:
        return False
    n = get4(p + 17)
    if n > size - 21:
        return False
    memset(&header.field[0], 0, sizeof(header.field))
    high = has_high(p + 21, n)
    at = 21
    end = 21 + n
    while at < end:
        count += 1
        if count > FIELDS_MAX or end - at < 6:
            return False
        n = get2(p + at)
        at += 2
        if n > 32767 or n > end - at - 4:
            return False
        name = p + at
        if high and not is_utf8(name, n):
            return False
        which = name_of(header.code, name, n)
        at += n
        n = <int32_t>get4(p + at)
        at += 4
        if n < 0 or n > end - at:
            return False
        if high and not is_utf8(p + at, n):
            return False
        if which != UNKNOWN:
            header.field[which].at = p + at
            header.field[which].size = n
        at += n
    return True


# --- JSON headers

cdef struct Text:
    const uint8_t* p
    Py_ssize_t at
    Py_ssize_t size
    uint8_t* scratch
    Py_ssize_t used


cdef inline uint8_t peek(Text* t) noexcept nogil:
    """The next character that is no space; 0 at the end."""
    cdef uint8_t c
    while t.at < t.size:
        c = t.p[t.at]
        if c != 32 and c != 9 and c != 10 and c != 13:
            return c
        t.at += 1
    return 0


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if c >= 48 and c <= 57:
        return c - 48
    c |= 32
    if c >= 97 and c <= 102:
        return c - 87
    return -1


cdef bint read_string(Text* t, Found* found) noexcept nogil:
    """A string; its text is where it lies, or in the scratch when something in it is escaped."""
    cdef const uint8_t* p = t.p
    cdef Py_ssize_t i = t.at, begin, size = t.size
    cdef uint8_t c
    cdef uint8_t* out
    cdef int k, digit
    cdef uint32_t unit
    if i >= size or p[i] != c'"':
        return False
    i += 1
    begin = i
    i = <Py_ssize_t>gantry_next_special(p, <size_t>i, <size_t>size)
    if i >= size or p[i] < 32:
        return False
    if p[i] == c'"':
        found.at = p + begin
        found.size = i - begin
        t.at = i + 1
        return True
    # The scratch is as long as the header, and an escape is never shorter than what it stands for.
    out = t.scratch + t.used
    found.at = out
    memcpy(out, p + begin, i - begin)
    out += i - begin
    while True:
        if i >= size:
            return False
        c = p[i]
        if c == c'"':
            break
        if c < 32:
            return False
        if c != c'\\':
            begin = i
            i = <Py_ssize_t>gantry_next_special(p, <size_t>i, <size_t>size)
            memcpy(out, p + begin, i - begin)
            out += i - begin
            continue
        if i + 1 >= size:
            return False
        c = p[i + 1]
        i += 2
        if c == c'u':
            if i + 4 > size:
                return False
            if p[i] == c'0' and p[i + 1] == c'0' and p[i + 2] == c'0':
                # The separators of properties are written so.
                digit = hex_digit(p[i + 3])
                if digit < 0:
                    return False
                out[0] = <uint8_t>digit
                out += 1
                i += 4
                continue
            unit = 0
            for k in range(4):
                digit = hex_digit(p[i + k])
                if digit < 0:
                    return False
                unit = (unit << 4) | <uint32_t>digit
            i += 4
            if unit >= 0xD800 and unit < 0xE000:
                return False
            if unit < 0x80:
                out[0] = <uint8_t>unit
                out += 1
            elif unit < 0x800:
                out[0] = <uint8_t>(0xC0 | (unit >> 6))
                out[1] = <uint8_t>(0x80 | (unit & 0x3F))
                out += 2
            else:
                out[0] = <uint8_t>(0xE0 | (unit >> 12))
                out[1] = <uint8_t>(0x80 | ((unit >> 6) & 0x3F))
                out[2] = <uint8_t>(0x80 | (unit & 0x3F))
                out += 3
            continue
        if c == c'"' or c == c'\\' or c == c'/':
            pass
        elif c == c'n':
            c = 10
        elif c == c't':
            c = 9
        elif c == c'r':
            c = 13
        elif c == c'b':
            c = 8
        elif c == c'f':
            c = 12
        else:
            return False
        out[0] = c
        out += 1
    found.size = out - found.at
    t.used = out - t.scratch
    t.at = i + 1
    return True


cdef bint read_int32(Text* t, int32_t* value) noexcept nogil:
    cdef int64_t result = 0
    cdef bint negative = False
    cdef Py_ssize_t begin
    cdef uint8_t c
    if t.at < t.size and t.p[t.at] == c'-':
        negative = True
        t.at += 1
    begin = t.at
    while t.at < t.size:
        c = t.p[t.at]
        if c < 48 or c > 57:
            break
        result = result * 10 + (c - 48)
        t.at += 1
        if t.at - begin > 10:
            return False
    if t.at == begin or (t.p[begin] == 48 and t.at - begin > 1):
        return False
    if t.at < t.size and (t.p[t.at] == c'.' or (t.p[t.at] | 32) == c'e'):
        return False
    if negative:
        result = -result
    if result < -2147483648 or result > 2147483647:
        return False
    value[0] = <int32_t>result
    return True


cdef bint read_fields(Text* t, Header* header, Found* names) noexcept nogil:
    """The object of extension fields: names and values kept in pairs until the code is known."""
    cdef int count = 0
    cdef uint8_t c
    t.at += 1
    if peek(t) == c'}':
        t.at += 1
        names[0].at = NULL
        return True
    while True:
        if count >= 32:
            return False
        if peek(t) != c'"' or not read_string(t, &names[2 * count]):
            return False
        if peek(t) != c':':
            return False
        t.at += 1
        if peek(t) == c'n':
            if t.size - t.at < 4 or memcmp(t.p + t.at, "null", 4) != 0:
                return False
            t.at += 4
            # A name whose value is null is not there; but it may repeat one that was.
            return False
        if not read_string(t, &names[2 * count + 1]):
            return False
        count += 1
        c = peek(t)
        t.at += 1
        if c == c',':
            continue
        if c != c'}':
            return False
        names[2 * count].at = NULL
        return True


cdef bint read_json(const uint8_t* p, Py_ssize_t size, uint8_t* scratch, Header* header) noexcept nogil:
    """False for a header that others are to read."""
    cdef Text t
    cdef Found name
    cdef Found ignored
    cdef Found names[66]
    cdef bint has_code = False, has_fields = False
    cdef int32_t number
    cdef uint8_t c
    cdef int which, i
    t.p = p
    t.at = 0
    t.size = size
    t.scratch = scratch
    t.used = 0
    header.code = header.opaque = header.flag = 0
    if has_high(p, size) and not is_utf8(p, size):
        return False
    if peek(&t) != c'{':
        return False
    t.at += 1
    while True:
        if peek(&t) != c'"' or not read_string(&t, &name):
            return False
        if peek(&t) != c':':
            return False
        t.at += 1
        c = peek(&t)
        if c == c'{':
            if has_fields or name.size != 9 or memcmp(name.at, "extFields", 9) != 0:
                return False
            has_fields = True
            if not read_fields(&t, header, &names[0]):
                return False
        elif c == c'"':
            # Only members that are texts: language, remark, serializeTypeCurrentRPC, and what nobody knows.
            if not read_string(&t, &ignored):
                return False
            if name.size == 4 and (memcmp(name.at, "code", 4) == 0 or memcmp(name.at, "flag", 4) == 0):
                return False
            if name.size == 6 and memcmp(name.at, "opaque", 6) == 0:
                return False
            if name.size == 7 and memcmp(name.at, "version", 7) == 0:
                return False
            if name.size == 9 and memcmp(name.at, "extFields", 9) == 0:
                return False
        else:
            if not read_int32(&t, &number):
                return False
            if name.size == 4 and memcmp(name.at, "code", 4) == 0:
                header.code = number
                has_code = True
            elif name.size == 4 and memcmp(name.at, "flag", 4) == 0:
                header.flag = number
            elif name.size == 6 and memcmp(name.at, "opaque", 6) == 0:
                header.opaque = number
            elif name.size == 9 and memcmp(name.at, "extFields", 9) == 0:
                return False
        c = peek(&t)
        t.at += 1
        if c == c',':
            continue
        if c != c'}':
            return False
        break
    if peek(&t) != 0 or t.at != size:
        return False
    if not has_code or not has_fields or not is_served(header.code):
        return False
    memset(&header.field[0], 0, sizeof(header.field))
    i = 0
    while names[i].at != NULL:
        which = name_of(header.code, names[i].at, names[i].size)
        if which != UNKNOWN:
            header.field[which] = names[i + 1]
        i += 2
    return True
