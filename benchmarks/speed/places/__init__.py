"""Where bundles are measured: here, on a board by ssh, on a phone by adb."""
