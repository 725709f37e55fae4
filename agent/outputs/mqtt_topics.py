"""What is said about a bed over MQTT: messages as JSON, its state, and how Home Assistant discovers it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from agent.core.alarm_times import alarm_onset_s
from agent.core.clock import format_wall_time
from agent.core.messages import PRIORITIES, Alarm
from agent.outputs.mqtt_address import topic_identifier, topic_level

ONLINE, OFFLINE = "online", "offline"
NO_ALARM = "none"


class MqttMessage(NamedTuple):
    """A message: whether the broker keeps it for those who subscribe later (`retain`)."""

    topic: str
    payload: bytes
    retain: bool = False


def status_topic(prefix: str) -> str:
    """Return the topic that says whether the monitor is there."""
    return f"{prefix}/status"


def result_message(prefix: str, bed: str, what: str, content: dict[str, Any]) -> MqttMessage:
    """Return a beat or an alarm, as a JSON line has it."""
    return MqttMessage(f"{prefix}/{topic_level(bed)}/{what}", msgspec.json.encode(content))


def state_message(prefix: str, bed: str, heart_rate: float | None, alarms: Mapping[Alarm, float | None]) -> MqttMessage:
    """Return how a bed is now: its heart rate, and the worst of the `alarms` that are shown.

    Each has the Unix time at which it began, None where no clock of its run is known.
    """
    worst = min(alarms, key=lambda alarm: (PRIORITIES.index(alarm.priority), -alarm.announced_s), default=None)
    since_s = None if worst is None else alarms[worst] or alarm_onset_s(worst)
    state = {
        "heart_rate": None if heart_rate is None else round(heart_rate),
        "alarm": worst.condition if worst else NO_ALARM,
        "priority": worst.priority if worst else None,
        "text": worst.text if worst else None,
        "since": format_wall_time(since_s),
    }
    return MqttMessage(f"{prefix}/{topic_level(bed)}/state", msgspec.json.encode(state), retain=True)


def discovery_messages(discovery: str, prefix: str, bed: str, version: str) -> list[MqttMessage]:
    """Return what makes Home Assistant show a bed as a device with heart rate and alarm; none without a prefix."""
    if not discovery:
        return []
    node = f"{topic_identifier(prefix.replace('/', '_'))}_{topic_identifier(bed)}"
    device = {
        "identifiers": [node],
        "name": f"ECG {bed}",
        "manufacturer": "ecg-agent",
        "model": "ECG monitor, not a medical device",
        "sw_version": version,
    }
    sensors: dict[str, dict[str, Any]] = {
        "heart_rate": {"name": "Heart rate", "unit_of_measurement": "bpm", "state_class": "measurement"},
        "alarm": {"name": "Alarm"},
    }
    icons = {"heart_rate": "mdi:heart-pulse", "alarm": "mdi:alert"}
    topic = f"{prefix}/{topic_level(bed)}/state"
    return [
        MqttMessage(
            f"{discovery}/sensor/{node}/{sensor}/config",
            msgspec.json.encode(
                {
                    **fields,
                    "unique_id": f"{node}_{sensor}",
                    "icon": icons[sensor],
                    "state_topic": topic,
                    "value_template": f"{{{{ value_json.{sensor} }}}}",
                    "json_attributes_topic": topic,
                    "availability_topic": status_topic(prefix),
                    "device": device,
                }
            ),
            retain=True,
        )
        for sensor, fields in sensors.items()
    ]
