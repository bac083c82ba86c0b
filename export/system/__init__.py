"""Asks the operating system about memory and packages, and shows progress on its terminal."""
