"""Transactional messages: halves that wait for their end, and are asked for when it does not come.

`half_message`, `check`, `ledger`, `offset_set`, `op_message` and `check_back` are pure; `endings`, `op_writer`, `copies` and
`check_service` read and append; `TransactionService` is the door.
"""

from .transaction_metrics import TransactionMetrics
from .transaction_service import TransactionService

__all__ = ["TransactionMetrics", "TransactionService"]
