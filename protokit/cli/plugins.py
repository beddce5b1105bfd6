"""``protokit plugins``: what is installed, and what is broken."""

from __future__ import annotations

import json
from typing import Any

import click

from protokit.cli.grade import check
from protokit.plugins import Plugin, load


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def plugins(context: click.Context, *, as_json: bool) -> None:
    """List the installed plugins; broken ones with the reason."""
    if context.invoked_subcommand is not None:
        return
    found = load().plugins
    if as_json:
        click.echo(json.dumps([_row(plugin) for plugin in found], indent=2))
        return
    if not found:
        click.echo("no plugin is installed; for Dubbo: pip install protokit-dubbo")
    for plugin in found:
        click.echo(f"{plugin.name:<12} {plugin.distribution} {plugin.version}".rstrip())
        for line in _lines(plugin):
            click.echo(f"{'':<12} {line}")


plugins.add_command(check)


def _lines(plugin: Plugin) -> list[str]:
    lines = [f"BROKEN: {plugin.failure}"] if plugin.failure else []
    lines += [f"protocol {one.name} ({one.tier}): {one.description}" for one in plugin.protocols.values()]
    lines += [f"filter {name}" for name in sorted(plugin.filters)]
    lines += [f"limiter {name}" for name in sorted(plugin.limiters)]
    return lines + [f"command {name}" for name in sorted(plugin.commands)]


def _row(plugin: Plugin) -> dict[str, Any]:
    return {
        "names": plugin.names,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "protocols": [
            {"name": protocol.name, "tier": protocol.tier, "description": protocol.description}
            for protocol in plugin.protocols.values()
        ],
        "filters": sorted(plugin.filters),
        "limiters": sorted(plugin.limiters),
        "commands": sorted(plugin.commands),
        "failure": plugin.failure,
    }
