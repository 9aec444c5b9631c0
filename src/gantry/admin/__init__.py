"""Questions and orders of operators: `AdminClient`, and what is made of its answers.

from gantry.admin import AdminClient

async with AdminClient(name_servers="127.0.0.1:9876") as admin:
    report = await admin.examine_group("orders")
"""

from .admin_client import AdminClient
from .group_doctor import Finding, GroupReport, Severity
from .offset_reset import EARLIEST_MS, LATEST_MS, QueueMove, ResetReport
from .timers import BrokerChange, BrokerRecurring, BrokerTimer, TimerAdmin

__all__ = [
    "EARLIEST_MS",
    "LATEST_MS",
    "AdminClient",
    "BrokerChange",
    "BrokerRecurring",
    "BrokerTimer",
    "Finding",
    "GroupReport",
    "QueueMove",
    "ResetReport",
    "Severity",
    "TimerAdmin",
]
