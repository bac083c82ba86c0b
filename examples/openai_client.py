"""Ask a running `tinyaya-export serve`: python examples/openai_client.py http://127.0.0.1:8080."""

import sys

import openai

client = openai.OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none")
stream = client.chat.completions.create(
    model=client.models.list().data[0].id,
    messages=[{"role": "user", "content": "Habari ya asubuhi?"}],
    max_tokens=30,
    stream=True,
)
for event in stream:
    print(event.choices[0].delta.content or "", end="")
print()
