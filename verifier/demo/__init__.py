"""`verifier demo`: the main job on a temporary embedded registry, narrated, with attacks that are refused."""
