"""Writes the gateway's files for this machine: Envoy without a container.

``python -m deploy.envoy.local OUT --tls FOLDER HOST:PORT...`` writes into OUT what the gateway's
image has in /etc/envoy, with the certificates of FOLDER and the facades that are named. All else is
what is deployed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from deploy.envoy.descriptors import descriptor_set

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Change = Callable[[dict[str, Any]], None]
    """Changes the bootstrap before it is written."""

HERE: Final = Path(__file__).parent
DESCRIPTORS: Final = "product_search.binpb"
PORTS: Final = {"callers": 8443, "telemetry": 9902, "admin": 9901}


def write(
    out: Path,
    tls: Path,
    facades: Sequence[str],
    *changes: Change,
    ports: dict[str, int] = PORTS,
    listen: str = "127.0.0.1",
) -> Path:
    """Write the files into ``out`` and return the bootstrap's path.

    tls: the folder with tls.crt, tls.key and ca.crt. facades: HOST:PORT each; hosts are names or
    addresses. ports: of the listeners, by name, and of the admin port, which cannot be 0.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / DESCRIPTORS).write_bytes(descriptor_set().SerializeToString())
    for name in ("envoy.yaml", "certificate.yaml", "callers.yaml"):
        text = (HERE / name).read_text("utf-8")
        text = text.replace("/etc/envoy/tls", str(tls.resolve()))
        (out / name).write_text(text.replace("/etc/envoy", str(out.resolve())), "utf-8")
    bootstrap = out / "envoy.yaml"
    config = yaml.safe_load(bootstrap.read_text("utf-8"))
    config["admin"]["address"]["socket_address"]["port_value"] = ports["admin"]
    for listener in config["static_resources"]["listeners"]:
        place = {"address": listen, "port_value": ports[listener["name"]]}
        listener["address"]["socket_address"] = place
    # The telemetry listener sends to the admin port.
    own = f"127.0.0.1:{ports['admin']}"
    cluster(config, "admin")["load_assignment"]["endpoints"] = [_endpoints(own)]
    cluster(config, "facades")["load_assignment"]["endpoints"] = [_endpoints(*facades)]
    for change in changes:
        change(config)
    bootstrap.write_text(yaml.safe_dump(config), "utf-8")
    return bootstrap


def cluster(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the cluster of a bootstrap that has this name."""
    clusters: list[dict[str, Any]] = config["static_resources"]["clusters"]
    return next(each for each in clusters if each["name"] == name)


def _endpoints(*addresses: str) -> dict[str, Any]:
    places = (address.rpartition(":") for address in addresses)
    return {
        "lb_endpoints": [
            {
                "endpoint": {
                    "address": {"socket_address": {"address": host, "port_value": int(port)}}
                }
            }
            for host, _, port in places
        ]
    }


def main() -> None:
    """Read the command line and write the files."""
    reader = argparse.ArgumentParser(prog="python -m deploy.envoy.local", description=__doc__)
    reader.add_argument("out", type=Path, metavar="OUT")
    reader.add_argument("facades", nargs="+", metavar="HOST:PORT")
    reader.add_argument("--tls", type=Path, required=True, metavar="FOLDER")
    reader.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    for name, port in PORTS.items():
        reader.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT")
    given = reader.parse_args()
    ports = {name: getattr(given, f"{name}_port") for name in PORTS}
    print(write(given.out, given.tls, given.facades, ports=ports, listen=given.listen))


if __name__ == "__main__":
    main()
