"""What ``bench serve --fault`` can play."""

from typing import Literal

FaultName = Literal[
    "malformed",
    "messages",
    "bombs",
    "stalled-readers",
    "slow-senders",
    "vanishing",
    "idle-streams",
    "throttled",
    "engine",
    "kill",
    "swaps",
    "holds",
]
