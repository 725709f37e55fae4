"""Options that several commands have in common, as Typer declares them."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFileOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file whose keys replace those of config.toml.")
]
EndpointOption = Annotated[str | None, typer.Option(help="ZeroMQ endpoint, such as tcp://127.0.0.1:5555.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, mps, cuda or cpu.")]
WeightsOption = Annotated[str | None, typer.Option(help="Shipped weights by name, or a .safetensors file.")]
LeadOption = Annotated[str | None, typer.Option(help="Lead to analyse; auto: MLII, then II, then the first.")]
JsonOption = Annotated[bool, typer.Option("--json", help="A JSON object a line instead of the dashboard.")]
SecondsOption = Annotated[float | None, typer.Option(help="End after so many seconds.", min=0.0)]
SvgOption = Annotated[Path | None, typer.Option(help="At the end write a picture of the dashboard here.")]
KeyOption = Annotated[
    str | None, typer.Option(help="File of our secret key (ecg-agent keys new): encrypt and authenticate.")
]
ServerKeyOption = Annotated[
    str | None, typer.Option(help="File of the device's public key: listen to no other device.")
]
ClientsOption = Annotated[str | None, typer.Option(help="Folder of the public keys of the monitors that are let in.")]
InsecureOption = Annotated[
    bool | None,
    typer.Option("--insecure", help="Use addresses beyond this machine without keys: all may read and forge."),
]
StartOption = Annotated[float, typer.Option(help="Seconds into the record to start at.")]
OutOption = Annotated[Path | None, typer.Option(help="File to write, NAME.onnx or NAME.int8.onnx if left out.")]
