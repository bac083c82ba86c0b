"""Finds models on the Hugging Face Hub."""
