"""All consume queues of the store, by topic and queue id."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gantry.protocol.disk.consume_queue_unit import UNIT_SIZE

from .config import StoreConfig, StorePaths
from .consume_queue import ConsumeQueue
from .open_file import OpenFileCache


class QueueTable:
    """Finds and makes queues. `expired` remembers the next offset of queues that were removed when they had no message left."""

    def __init__(self, config: StoreConfig, paths: StorePaths, files: OpenFileCache) -> None:
        self._directory = paths.consume_queue
        self._file_units = config.mapped_file_size_consume_queue // UNIT_SIZE
        self.files = files
        self.topics: dict[str, dict[int, ConsumeQueue]] = {}
        self.expired: dict[str, dict[int, int]] = {}
        self._by_key: dict[tuple[str, int], ConsumeQueue] = {}
        self._watched: set[tuple[str, int]] = set()
        self.changes = 0
        """How often a queue was made or removed."""
        self.before_removal: Callable[[], None] = lambda: None
        """Ends the plan that is open: it may mean to add to the queue."""

    def __iter__(self) -> Iterator[ConsumeQueue]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, topic: str, queue_id: int) -> ConsumeQueue | None:
        return self._by_key.get((topic, queue_id))

    def find_or_create(self, topic: str, queue_id: int) -> ConsumeQueue:
        queue = self._by_key.get((topic, queue_id))
        if queue is None:
            queue = ConsumeQueue(topic, queue_id, f"{self._directory}/{topic}/{queue_id}", self._file_units)
            queue.watched = (topic, queue_id) in self._watched
            self._by_key[topic, queue_id] = queue
            self.changes += 1
            self.topics.setdefault(topic, {})[queue_id] = queue
            next_offset = self.expired.get(topic, {}).pop(queue_id, 0)
            if next_offset:
                queue.start_at(next_offset)
                queue.min_offset = next_offset
        return queue

    def watch(self, topic: str, queue_id: int, watched: bool) -> None:
        """Marks a queue, also one that is not there yet, as one whose new messages somebody waits for."""
        if watched:
            self._watched.add((topic, queue_id))
        else:
            self._watched.discard((topic, queue_id))
        queue = self._by_key.get((topic, queue_id))
        if queue is not None:
            queue.watched = watched

    def remove(self, queue: ConsumeQueue) -> None:
        self.before_removal()
        self._by_key.pop((queue.topic, queue.queue_id), None)
        self.changes += 1
        queues = self.topics.get(queue.topic)
        if queues is not None:
            queues.pop(queue.queue_id, None)
            if not queues:
                del self.topics[queue.topic]
        for file_start in queue.file_starts:
            self.files.drop(queue.path_of(file_start))

    def remove_topic(self, topic: str) -> None:
        for queue in list(self.topics.get(topic, {}).values()):
            self.remove(queue)
        self.expired.pop(topic, None)

    def remove_expired(self, queue: ConsumeQueue) -> None:
        """Removes a queue that has no message left; its next offset stays."""
        self.expired.setdefault(queue.topic, {})[queue.queue_id] = queue.max_offset
        self.remove(queue)

    def queue_ids(self, topic: str) -> list[int]:
        return sorted(self.topics.get(topic, ()))

    def next_offsets(self) -> dict[str, dict[int, int]]:
        return {
            topic: {queue_id: queue.max_offset for queue_id, queue in queues.items() if queue.max_offset}
            for topic, queues in self.topics.items()
        }
