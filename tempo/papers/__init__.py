"""Papers in numbers: the variants and settings of their recipes, and the results they report.

Files of `configs/` take their variants from here, and `experiments/` the numbers to compare with.
They import this package and not each other: a config is loaded by its path, from any folder.
"""
