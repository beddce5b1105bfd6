"""``protokit check``: everything that is wrong with a configuration, at once."""

from __future__ import annotations

import sys

import click

from protokit import config as configuration
from protokit.errors import ConfigError


@click.command()
@click.argument("config")
def check(config: str) -> None:
    """Check a configuration file without running it."""
    try:
        loaded = configuration.load(config)
    except ConfigError as error:
        count = len(getattr(error, "errors", [error]))
        click.echo(str(error), err=True)
        click.echo(f"{count} error{'s' if count > 1 else ''}", err=True)
        sys.exit(1)
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    found = loaded.config
    rules = sum(len(table.rules) for table in found.routes)
    endpoints = sum(len(cluster.endpoints) for cluster in found.clusters)
    click.echo(
        f"{config}: ok: {len(found.listeners)} listeners, {rules} rules,"
        f" {len(found.clusters)} clusters with {endpoints} endpoints"
    )
