"""Damages a manifest in many ways; Congruent and the second reader must refuse each.

Some changes are no damage; both must accept these.
"""
