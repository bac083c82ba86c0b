"""Makes many exports: of checkpoints, recipes, backends and languages in one file."""
