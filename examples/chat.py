"""Two turns; the second feeds only what is new: python examples/chat.py BUNDLE."""

import sys

from tinyaya.runtime import Chat, Sampler, drain, open_bundle

bundle = open_bundle(sys.argv[1])
chat = Chat(bundle, bundle.session(), system="Answer briefly.")
for question in ("What is the capital of Kenya?", "And of Nepal?"):
    answer = drain(chat.ask(question, max_tokens=30, sampler=Sampler(temperature=0.1)))
    print(f"{question}\n{answer.text.strip()}\n({chat.reused} tokens were there already)")
