"""Plans: one file a phase, the layout search, the calendar, and what lies near.

Called `planner`, because `outlay.plan` is the function a person calls (docs/adr/0002).
"""
