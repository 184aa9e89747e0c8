# Congruent: exactly what was baked, and all of it was seen.
package congruent.rules.congruent

verdict := {"action": "none", "severity": "none", "reasons": set()}
