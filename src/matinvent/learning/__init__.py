"""How rewards change the agent: objective, timestep schedules, learner."""
