"""Train the small reference model (Cohere2 architecture, 67 languages) that tests and quality figures use.

python train.py --text DIR --out DIR --minutes 60 [--resume] [--batch 4]

DIR of texts holds train/<lang>.txt and valid/<lang>.txt. Out gets config.json, model.safetensors (bf16), training.json;
tokenizer.json must be there already. One sequence in five holds facts
`# name = number` that are asked for again hundreds of tokens later, so that global layers learn to recall past the window.
Uses CUDA with bf16 autocast where there is one: then --batch 64 and 20 minutes give a far better model than an hour on 2 cores.
"""
# ruff: noqa
# fmt: off

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import Cohere2Config, Cohere2ForCausalLM

SEQUENCE = 512
NAMES = "amber basil cedar delta ember fjord glade hazel ivory jade karst lotus maple nectar olive pearl quartz raven sable topaz umber violet willow yarrow zephyr".split()


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--text", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--bytes-per-language", type=int, default=1_500_000)
    p.add_argument("--resume", action="store_true")
    p.add_argument("--recall-share", type=float, default=0.2)
    p.add_argument("--most-facts", type=int, default=5)
    return p.parse_args()


class Texts:
    recall_share, most_facts = 0.2, 5

    def __init__(self, folder, tokenizer, limit, seed):
        self.tokenizer, self.random, self.np = tokenizer, random.Random(seed), np.random.default_rng(seed)
        self.ids = {}
        for path in sorted(folder.glob("*.txt")):
            lines = path.read_text(encoding="utf-8")[:limit].split("\n")
            blocks = ["\n".join(lines[i : i + 200]) + "\n" for i in range(0, len(lines), 200)]
            self.ids[path.stem] = np.concatenate([np.array(e.ids, np.int32) for e in tokenizer.encode_batch(blocks, add_special_tokens=False)])
        self.languages = sorted(self.ids)
        weight = np.array([len(self.ids[x]) ** 0.5 for x in self.languages])
        self.weight = weight / weight.sum()

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def prose(self, n):
        ids = self.ids[self.languages[self.np.choice(len(self.languages), p=self.weight)]]
        start = self.random.randrange(0, max(1, len(ids) - n - 1))
        return ids[start : start + n].tolist()

    def recall(self, n):
        k = self.random.randint(2, self.most_facts)
        facts = [(a, str(self.random.randrange(100, 1000))) for a in self.random.sample(NAMES, k)]
        head = self.encode("".join(f"\n# {a} = {b}" for a, b in facts) + "\n")
        self.random.shuffle(facts)
        tail = self.encode("".join(f"\n# {a} = {b}" for a, b in facts) + "\n")
        middle = self.prose(self.random.randint(0, n - len(head) - len(tail) - 1))
        return [2, *head, *middle, *tail]

    def sequence(self, n):
        out = self.recall(n) if self.random.random() < self.recall_share else [2] if self.random.random() < 0.5 else []
        while len(out) < n:
            out += self.prose(n - len(out))
        return out[:n]


def build(vocabulary):
    return Cohere2ForCausalLM(
        Cohere2Config(
            vocab_size=vocabulary, hidden_size=256, intermediate_size=768, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=2,
            sliding_window=128, sliding_window_pattern=4, rope_parameters={"rope_type": "default", "rope_theta": 50000.0}, logit_scale=1.0,
            max_position_embeddings=1024, bos_token_id=2, eos_token_id=3, pad_token_id=0, layer_norm_eps=1e-5, tie_word_embeddings=True,
        )
    )


@torch.no_grad()
def evaluate(model, texts, folder, device):
    model.eval()
    nats = {}
    for path in sorted(folder.glob("*.txt")):
        ids = np.array(texts.encode(path.read_text(encoding="utf-8")), np.int64)[: SEQUENCE * 4 + 1]
        n = (len(ids) - 1) // SEQUENCE
        if n:
            x, y = (torch.tensor(ids[o : o + n * SEQUENCE].reshape(n, SEQUENCE), device=device) for o in (0, 1))
            nats[path.stem] = round(F.cross_entropy(model(input_ids=x, use_cache=False).logits.float().flatten(0, 1), y.flatten()).item(), 4)
    rng, right = random.Random(1), 0
    for _ in range(100):
        name, number = rng.choice(NAMES), str(rng.randrange(100, 1000))
        ask = [2, *texts.encode(f"\n# {name} = {number}\n"), *texts.prose(300), *texts.encode(f"\n# {name} =")]
        answer = texts.encode(f" {number}")
        guess = model(input_ids=torch.tensor([ask + answer], device=device), use_cache=False).logits[0].argmax(-1)
        right += guess[len(ask) - 1 : len(ask) + len(answer) - 1].tolist() == answer
    model.train()
    return nats, right / 100


def main():
    args = parse()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(args.seed)
    tokenizer = Tokenizer.from_file(str(args.out / "tokenizer.json"))
    texts = Texts(args.text / "train", tokenizer, args.bytes_per_language, args.seed + int(args.resume) * int(time.time()))
    texts.recall_share, texts.most_facts = args.recall_share, args.most_facts
    model = Cohere2ForCausalLM.from_pretrained(args.out, dtype=torch.float32) if args.resume else build(tokenizer.get_vocab_size())
    model.to(device).train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = [(torch.optim.Muon(matrices, lr=0.012, weight_decay=0.01), 0.012), (torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.95), weight_decay=0.0), 3e-3)]
    start, step, mean = time.time(), 0, None
    while (done := (time.time() - start) / (args.minutes * 60)) < 1:
        rate = min(1, (step + 1) / 60) * (1 if done < 0.5 else max(0.02, (1 - done) / 0.5))
        for optimizer, base in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = base * rate
        x = torch.tensor([texts.sequence(SEQUENCE + 1) for _ in range(args.batch)], device=device)
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = model(input_ids=x[:, :-1], use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), x[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, mean = step + 1, loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        if step % 50 == 0:
            print(f"step {step} loss {mean:.3f} tokens/s {step * args.batch * SEQUENCE / (time.time() - start):.0f}", flush=True)
    nats, recall = evaluate(model, texts, args.text / "valid", device)
    record = {"steps": step, "tokens": step * args.batch * SEQUENCE, "resumed": args.resume, "recall_past_window": recall, "valid_nats_per_token": nats}
    print(json.dumps(record))
    generation = args.out / "generation_config.json"
    kept = generation.read_text() if generation.exists() else None
    model.to("cpu", torch.bfloat16).save_pretrained(args.out)
    if kept:  # save_pretrained would drop the set of stop ids
        generation.write_text(kept)
    (args.out / "training.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
