"""`ecg-agent demo`: a record, replayed and monitored in one go."""

from pathlib import Path
from typing import Annotated

from agent.cli import bridge
from agent.cli.options import (
    USUAL_RECORD,
    AtOption,
    ConfigFileOption,
    DeviceOption,
    JsonOption,
    LeadOption,
    SecondsOption,
    StartOption,
    SvgOption,
    TruthOption,
    WebOption,
    WebTokenOption,
    WeightsOption,
    load_net_config,
    serve_web,
    usual_record_argument,
)
from agent.cli.simulate import (
    NoiseKindOption,
    NoiseSeedOption,
    SnrOption,
    SpeedOption,
    check_lead,
    check_noise,
    parse_speed,
    resolve_start,
)
from agent.core.config import Config, override_config


def play_demo(
    record: Annotated[str | None, usual_record_argument("one that has what --at names")] = None,
    start: StartOption = 0.0,
    at: AtOption = None,
    speed: SpeedOption = "1",
    noise: NoiseKindOption = None,
    snr: SnrOption = None,
    seed: NoiseSeedOption = None,
    lead: LeadOption = None,
    truth: TruthOption = False,
    web: WebOption = None,
    web_token: WebTokenOption = None,
    json: JsonOption = False,
    seconds: SecondsOption = None,
    weights: WeightsOption = None,
    device: DeviceOption = None,
    svg: SvgOption = None,
    config: ConfigFileOption = None,
) -> None:
    """Simulate and monitor a record in one go."""
    check_noise(noise, snr, seed)
    settings = serve_web(load_net_config(config, weights, device, lead), web, web_token)
    from agent.cli.monitor import MonitorOptions, run_demo
    from simulator.episode_list import choose_record

    if record is None:
        record = choose_record(at, USUAL_RECORD)
    if lead is not None:
        check_lead(record, lead)
    start = resolve_start(record, start, at)
    _check_replay(override_config(settings, "simulate", snr_db=snr, noise_seed=seed), record, start, speed, noise)
    options = MonitorOptions(
        (), json, seconds, False, svg, None, truth=bridge.open_truth(record, None, None) if truth else None
    )
    wanted = {"--noise": noise, "--snr": snr, "--seed": seed}
    extra = [word for option, value in wanted.items() if value is not None for word in (option, str(value))]
    arguments = ("--start", str(start), "--speed", speed, "--loop", "--wait", *extra)
    run_demo(settings, options, "simulate", "record", record, *arguments)


def _check_replay(config: Config, record: str, start: float, speed: str, noise: str | None) -> None:
    """Raise what the device would raise for a place, a speed or a noise that it cannot replay, before a net is loaded.

    A record of which nothing of that is asked is opened by the device alone, meanwhile: that takes its time.
    """
    from model.records.wfdb_records import embedded_records
    from simulator.record_replay import ReplayPlan
    from simulator.scheduler import PlaybackSpeed, name_beds, open_replays

    PlaybackSpeed(parse_speed(speed), wait=True)
    if start or noise or not (Path(record).is_file() or record in embedded_records()):
        simulation, name = config.simulate, name_beds([record])[0]
        plan = ReplayPlan(record, name, start, None, True, noise, simulation.snr_db, simulation.noise_seed)
        open_replays([plan], simulation.packet_ms)
