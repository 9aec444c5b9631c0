"""Body of CHECK_CLIENT_CONFIG."""

from __future__ import annotations

import msgspec

from gantry.model.heartbeat import SubscriptionData


class CheckClientRequestBody(msgspec.Struct, rename="camel"):
    client_id: str = ""
    group: str = ""
    namespace: str | None = None
    subscription_data: SubscriptionData | None = None
