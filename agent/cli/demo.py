"""`ecg-agent demo`: a record, replayed and monitored in one go."""

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
    resolve_start,
)


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
    check_noise(noise, snr)
    settings = serve_web(load_net_config(config, weights, device, lead), web, web_token)
    from agent.cli.monitor import MonitorOptions, run_demo
    from simulator.episode_list import choose_record

    if record is None:
        record = choose_record(at, USUAL_RECORD)
    if lead is not None:
        check_lead(record, lead)
    start = resolve_start(record, start, at)
    options = MonitorOptions(
        (), json, seconds, False, svg, None, truth=bridge.open_truth(record, None, None) if truth else None
    )
    wanted = {"--noise": noise, "--snr": snr, "--seed": seed}
    extra = [word for option, value in wanted.items() if value is not None for word in (option, str(value))]
    arguments = ("--start", str(start), "--speed", speed, "--loop", "--wait", *extra)
    run_demo(settings, options, "simulate", "record", record, *arguments)
