"""Measures bundles where they run: here, on a board by ssh, on a phone by adb."""
