"""Plans: a room or a file for each phase, the layout search, and what all phases share.

Called `planner`, because `outlay.plan` is the function a person calls (docs/adr/0002).
"""
