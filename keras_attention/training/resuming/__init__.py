"""Trainings that go on where a kill, a full disk or a preemption ended them."""
