"""What the derived files say of a record: a pure function of its bytes, the same when appending and when rebuilding."""

from __future__ import annotations

from gantry.model import message_const, sys_flag
from gantry.model.topic_validator import SCHEDULE_TOPIC
from gantry.protocol.message.properties import find_property
from gantry.protocol.message.tags import tags_code

from .delay_levels import DelayLevels

TAG_KEY_PREFIX = b"T#"
_TAGS = message_const.TAGS.encode()
_KEYS = message_const.KEYS.encode()
_UNIQ_KEY = message_const.UNIQ_CLIENT_MESSAGE_ID_KEYIDX.encode()
_DELAY = message_const.DELAY_TIME_LEVEL.encode()


def enters_queue(transaction_type: int) -> bool:
    """Prepared and rolled back records are not consumed: they get no queue entry and no queue offset."""
    return transaction_type in (sys_flag.TRANSACTION_NOT, sys_flag.TRANSACTION_COMMIT)


def queue_tags_code(topic: str, properties: bytes, store_timestamp: int, delay_levels: DelayLevels) -> int:
    """The tagsCode column of the record's queue entry.

    The tag's hash; for a delayed message waiting in SCHEDULE_TOPIC_XXXX the time it is due (ms).
    Source: CommitLog.checkMessageAndReturnSize (5.3).
    """
    if topic == SCHEDULE_TOPIC:
        level = find_property(properties, _DELAY)
        if level is not None:
            try:
                number = int(level)
            except ValueError:
                number = 0
            if number > 0:
                return delay_levels.deliver_timestamp(number, store_timestamp)
    tags = find_property(properties, _TAGS)
    return tags_code(tags.decode("utf-8", "replace")) if tags is not None else 0


def index_keys(properties: bytes, transaction_type: int, with_tag: bool) -> list[bytes]:
    """Keys under which the record is indexed, in order: the unique id, each word of KEYS, then `T#` and the tag.

    Rolled back records are not indexed. 5.3 has no entry for the tag: `with_tag` says which of the two is wanted.
    Source: IndexService.buildIndex (5.3); index files of 5.5.0.
    """
    if transaction_type == sys_flag.TRANSACTION_ROLLBACK:
        return []
    unique = find_property(properties, _UNIQ_KEY)
    keys = [unique] if unique is not None else []
    words = find_property(properties, _KEYS)
    if words is not None:
        keys += [word for word in words.split(b" ") if word]
    if with_tag:
        tag = find_property(properties, _TAGS)
        if tag is not None:
            keys.append(TAG_KEY_PREFIX + tag)
    return keys
