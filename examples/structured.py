"""An answer that always parses: python examples/structured.py BUNDLE."""

import json
import sys

from tinyaya.runtime import AnswerOptions, Sampler, complete, open_bundle

SCHEMA = {
    "type": "object",
    "properties": {
        "language": {"enum": ["Swahili", "Hindi", "Turkish", "English"]},
        "greeting": {"type": "boolean"},
    },
    "required": ["language", "greeting"],
    "additionalProperties": False,
}
bundle = open_bundle(sys.argv[1])
constraint = bundle.grammars.constraint("json_schema", json.dumps(SCHEMA))
answer = complete(
    bundle.session(),
    "Habari ya asubuhi",
    sampler=Sampler(temperature=0.0),
    options=AnswerOptions(constraint=constraint),
)
print(json.loads(answer.text))
