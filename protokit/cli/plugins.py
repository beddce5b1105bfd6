"""``protokit plugins``: what is installed, and what is broken."""

from __future__ import annotations

import json
from typing import Any

import click

from protokit.plugins import load


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def plugins(*, as_json: bool) -> None:
    """List the installed plugins."""
    rows: list[dict[str, Any]] = [
        {
            "name": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "protocols": [
                {"name": protocol.name, "tier": protocol.tier, "description": protocol.description}
                for protocol in plugin.protocols.values()
            ],
            "filters": sorted(plugin.filters),
            "failure": plugin.failure,
        }
        for plugin in load().plugins
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    if not rows:
        click.echo("no plugin is installed; for Dubbo: pip install protokit-dubbo")
    for row in rows:
        click.echo(f"{row['name']:<12} {row['distribution']} {row['version']}")
        if row["failure"]:
            click.echo(f"{'':<12} BROKEN: {row['failure']}")
        for protocol in row["protocols"]:
            click.echo(
                f"{'':<12} protocol {protocol['name']} ({protocol['tier']}): {protocol['description']}"
            )
        for name in row["filters"]:
            click.echo(f"{'':<12} filter {name}")
