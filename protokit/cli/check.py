"""``protokit check``: everything that is wrong with a configuration, at once."""

from __future__ import annotations

import asyncio
import sys

import click

from protokit import config as configuration
from protokit.config.check import same_ports, same_servers
from protokit.control import build_snapshot, names
from protokit.dataplane.compile import Identities, compile_snapshot
from protokit.errors import ConfigError, ConfigErrors

_NAMES_S = 5.0  # for all host names together


@click.command()
@click.argument("config")
def check(config: str) -> None:
    """Check a configuration file without running it."""
    try:
        loaded = configuration.load(config)
        addresses, unknown = names.look_up_all({use.host for use in loaded.hosts}, _NAMES_S)
        asyncio.run(_compile(loaded, addresses))
        clashes = [ConfigError(text, config) for text, _ in same_ports(loaded.config, addresses)]
        if clashes:
            raise ConfigErrors(clashes)
    except ConfigError as error:
        count = len(getattr(error, "errors", [error]))
        click.echo(str(error), err=True)
        click.echo(f"{count} error{'s' if count > 1 else ''}", err=True)
        sys.exit(1)
    same = [ConfigError(text, config) for text in same_servers(loaded.config, addresses)]
    for warning in [*loaded.warnings, *same]:
        click.echo(f"warning: {warning}", err=True)
    for use in loaded.hosts:
        if use.host in unknown:
            text = f"the host name {use.host!r} has no address here and now ({unknown[use.host]})"
            click.echo(f"warning: {use.error(text)}", err=True)
    found = loaded.config
    rules = sum(len(table.rules) for table in found.routes)
    endpoints = sum(len(cluster.endpoints) for cluster in found.clusters)
    click.echo(
        f"{config}: ok: {len(found.listeners)} listeners, {rules} rules,"
        f" {len(found.clusters)} clusters with {endpoints} endpoints"
    )


async def _compile(loaded: configuration.Loaded, addresses: dict[str, names.Found]) -> None:
    """In a loop, as filters are made when the proxy runs."""
    snapshot = build_snapshot(loaded, addresses)
    compile_snapshot(snapshot, Identities(), Identities(), seed=1).table.free()
