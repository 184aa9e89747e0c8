"""Holds random trees to random contracts, by Congruent and by the second reader.

Each case is made from the seed and its number alone: a tree, a contract, now
and then add-ons, changes, a ledger, further changes.
"""
