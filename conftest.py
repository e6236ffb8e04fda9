"""Registers the sweep with pytest; what it does is in dynact/sweep/plugin.py."""

pytest_plugins = ["dynact.sweep.plugin"]
