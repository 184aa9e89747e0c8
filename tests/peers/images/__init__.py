"""Container images that are written by hand: a frozen one, and random ones.

Each member of a layer's archive is written as it is said, also where no honest
writer would.
"""
