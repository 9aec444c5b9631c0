"""Header of SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320): the fields of SEND_MESSAGE under one-letter names."""

from __future__ import annotations

from gantry.protocol.remoting.codes import RequestCode
from gantry.protocol.remoting.header.base import RequestHeader, wire
from gantry.protocol.remoting.header.send_message import SendMessageRequestHeader


class SendMessageRequestHeaderV2(RequestHeader, code=RequestCode.SEND_MESSAGE_V2):
    """Send one message, or with `m` a batch, short field names."""

    a: str = wire("a")
    b: str = wire("b")
    c: str = wire("c")
    d: int = wire("d", bits=32)
    e: int = wire("e", bits=32)
    f: int = wire("f", bits=32)
    g: int = wire("g")
    h: int = wire("h", bits=32)
    i: str | None = wire("i", default=None)
    j: int | None = wire("j", default=None, bits=32)
    k: bool | None = wire("k", default=None)
    l: int | None = wire("l", default=None, bits=32)  # noqa: E741 - the wire's own name
    m: bool | None = wire("m", default=None)
    n: str | None = wire("n", default=None)

    def to_v1(self) -> SendMessageRequestHeader:
        """The same under long names; the broker name `n` has none there."""
        return SendMessageRequestHeader(
            producer_group=self.a,
            topic=self.b,
            default_topic=self.c,
            default_topic_queue_nums=self.d,
            queue_id=self.e,
            sys_flag=self.f,
            born_timestamp=self.g,
            flag=self.h,
            properties=self.i,
            reconsume_times=self.j,
            unit_mode=self.k,
            max_reconsume_times=self.l,
            batch=self.m,
        )

    @classmethod
    def from_v1(cls, header: SendMessageRequestHeader, broker_name: str | None = None) -> SendMessageRequestHeaderV2:
        return cls(
            a=header.producer_group,
            b=header.topic,
            c=header.default_topic,
            d=header.default_topic_queue_nums,
            e=header.queue_id,
            f=header.sys_flag,
            g=header.born_timestamp,
            h=header.flag,
            i=header.properties,
            j=header.reconsume_times,
            k=header.unit_mode,
            l=header.max_reconsume_times,
            m=header.batch,
            n=broker_name,
        )
