"""Observes the machine while it measures: cores, clocks, temperatures, memory."""
