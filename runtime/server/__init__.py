"""Serves a bundle locally by OpenAI's protocol. Needs the extra `serve`."""
