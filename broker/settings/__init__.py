"""Floor 0: what may stand in the broker's YAML and in the inventory's, what it means, and what is wrong with it.

Models and rules only; `cli` reads the files and gives every finding its line and column.
"""
