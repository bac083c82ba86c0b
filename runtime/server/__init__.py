"""A bundle in, a local server that speaks OpenAI's protocol out. Needs the extra `serve`."""
