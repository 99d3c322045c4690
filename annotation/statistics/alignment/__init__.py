"""How far a metric's improvement agrees with people (definitions §5 "Alignment" and §8): from a table of answers to one
dictionary that JSON can hold. Pure functions; a worker runs them, and large libraries are imported inside functions.
"""
