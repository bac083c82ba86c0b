"""Proves that a program computes what its model computes."""
