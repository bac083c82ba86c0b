"""Runs other programs on the same weights, behind the benchmark's own interface."""

GLOBAL_EVERY = 4  # what llama.cpp assumes of cohere2: the last of each four layers sees all
