"""Many exports: a file of checkpoints, recipes, backends and languages in, bundles out."""
