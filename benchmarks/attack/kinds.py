"""The kinds of attack by name: against a monitor, and against a device."""

from collections.abc import Callable
from functools import partial

from benchmarks.attack import connection_attacks, device_attacks, reply_attacks, stream_attacks
from benchmarks.attack.device_run import DeviceAttack
from benchmarks.attack.frame_proxy import BYTE_CHANGES
from benchmarks.attack.monitor_run import MonitorAttack, MonitorScene
from benchmarks.attack.verdict import STRICT, AttackLimits

BROKEN = AttackLimits(delay_s=8.0)
"""The connection breaks: beats come again once it is there again, all of them, and those after that in time."""
RECONNECTED_S = 8.0
IMPOSTOR = AttackLimits(delay_s=2.0, extra=True)
CUT_SHORT = AttackLimits(beats=False)
CHANGED = {"stream": (0,), "channel": (1,), "both": (0, 1)}
"""The sockets on which a byte is changed."""
GREEDY: dict[str, Callable[[MonitorScene], None]] = {
    "greedy 1": partial(stream_attacks.send_greedy_ward, beds=1),
    "greedy 9": partial(stream_attacks.send_greedy_ward, beds=9),
    "greedy 200": partial(stream_attacks.send_greedy_ward, beds=200),
    "flood valid": stream_attacks.flood_valid_packets,
    "flood small": stream_attacks.flood_small_packets,
    "flood 1 MiB": stream_attacks.flood_large_packets,
    "flood nested": stream_attacks.flood_nested_json,
    "comb": stream_attacks.send_comb,
    "comb then 1 MiB": stream_attacks.send_comb_and_flood,
    "reply large": reply_attacks.send_large_reply,
}
"""Attacks that want all of the monitor: each also with Ctrl-C in the middle."""
MONITOR_ATTACKS: tuple[MonitorAttack, ...] = (
    MonitorAttack("clean", stream_attacks.send_nothing),
    MonitorAttack("frames", stream_attacks.send_malformed_frames),
    MonitorAttack("headers", stream_attacks.send_malformed_headers),
    MonitorAttack("extremes", stream_attacks.send_legal_extremes),
    MonitorAttack("names", stream_attacks.send_hostile_names),
    MonitorAttack("jumps", stream_attacks.send_jumps),
    MonitorAttack("time back", stream_attacks.turn_time_back),
    MonitorAttack("overlap", stream_attacks.overlap_packets),
    MonitorAttack("two devices", stream_attacks.send_as_two_devices),
    MonitorAttack("impostor", stream_attacks.take_good_name, IMPOSTOR),
    MonitorAttack("runs", stream_attacks.begin_many_runs),
    MonitorAttack("many names", stream_attacks.send_many_names),
    *(MonitorAttack(name, begin) for name, begin in GREEDY.items()),
    *(MonitorAttack(f"{name} Ctrl-C", begin, CUT_SHORT, interrupts=True) for name, begin in GREEDY.items()),
    MonitorAttack("replies", reply_attacks.send_malformed_replies),
    MonitorAttack("reply as sent", reply_attacks.send_packets_as_sent, fetched=reply_attacks.ALL_SENT),
    MonitorAttack("clocks", reply_attacks.lie_about_clocks),
    MonitorAttack("too large", connection_attacks.send_too_large_frames, BROKEN, settled_s=RECONNECTED_S),
    MonitorAttack("many frames", connection_attacks.send_many_frames, BROKEN, settled_s=RECONNECTED_S),
    MonitorAttack("reply many frames", connection_attacks.reply_with_many_frames),
    *(
        MonitorAttack(
            f"endless {place}",
            partial(connection_attacks.send_endless_message, channel=channel),
            BROKEN if channel == 0 else STRICT,
            proxied=True,
            in_the_clear=True,
            settled_s=RECONNECTED_S,
        )
        for channel, place in enumerate(("stream", "channel"))
    ),
    MonitorAttack("refused at the end", stream_attacks.send_nothing, proxied=True, refuses=True),
    *(
        MonitorAttack(
            f"byte {name} {place}{' up' if up else ''}",
            partial(connection_attacks.change_bytes, name=name, channels=channels, up=up),
            BROKEN,
            proxied=True,
            settled_s=RECONNECTED_S,
        )
        for name in BYTE_CHANGES
        for place, channels in CHANGED.items()
        for up in ((False, True) if place == "channel" else (False,))
    ),
)
DEVICE_ATTACKS: tuple[DeviceAttack, ...] = (
    DeviceAttack("device clean", device_attacks.listen_only),
    DeviceAttack("device endless stream", partial(device_attacks.send_endless_message, channel=0)),
    DeviceAttack("device endless channel", partial(device_attacks.send_endless_message, channel=1)),
    DeviceAttack("device long topics", device_attacks.subscribe_long_topics),
    DeviceAttack("device many topics", device_attacks.subscribe_many_topics),
    DeviceAttack("device upstream", device_attacks.send_upstream),
    DeviceAttack("device resubscribe", device_attacks.change_subscriptions),
    DeviceAttack("device hellos", device_attacks.flood_hellos),
    DeviceAttack("device fetches", device_attacks.flood_fetches),
    DeviceAttack("device 50 never read", partial(device_attacks.never_read_replies, monitors=50)),
    DeviceAttack("device 500 never read", partial(device_attacks.never_read_replies, monitors=500)),
    DeviceAttack("device identities", device_attacks.use_many_identities),
    DeviceAttack("device slow handshakes", device_attacks.open_slowly),
    DeviceAttack("device strange bytes", device_attacks.send_strange_bytes),
    DeviceAttack("device requests", device_attacks.send_malformed_requests),
    DeviceAttack("device too large", device_attacks.send_too_large_frames),
)
ATTACKS: dict[str, MonitorAttack | DeviceAttack] = {
    **{attack.name: attack for attack in MONITOR_ATTACKS},
    **{attack.name: attack for attack in DEVICE_ATTACKS},
}
